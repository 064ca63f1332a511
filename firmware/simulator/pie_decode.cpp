// Decoding of PIE words from the generated instruction table.
#include <algorithm>
#include <cstdio>

#include "pie.h"

namespace p4 {
namespace {

enum class PieKind : uint8_t { kQ, kXPie, kXAny, kSimm, kUimm, kPcrel };

struct BitRow {
  uint8_t value_low, count, word_low;
};
struct Field {
  const char* name;
  PieKind kind;
  uint8_t shift;
  uint16_t maximum;  // of selects and counts
  uint8_t row_count;
  BitRow rows[4];
};
struct Instruction {
  const char* name;
  uint32_t match, mask;
  bool verified;
  uint8_t operand_count;
  uint8_t operands[8];
};

#define P4_PIE_FIELDS
constexpr Field kFields[] = {
#include "pie_table.inc"
};
#undef P4_PIE_FIELDS
constexpr Instruction kInstructions[] = {
#include "pie_table.inc"
};

const Instruction* Find(uint32_t word) {
  for (const Instruction& each : kInstructions) {
    if ((word & each.mask) == each.match) return &each;
  }
  return nullptr;
}

int32_t FieldValue(const Field& field, uint32_t word) {
  uint32_t value = 0;
  int top = 0;
  for (int i = 0; i < field.row_count; ++i) {
    const BitRow& row = field.rows[i];
    value |= ((word >> row.word_low) & ((1u << row.count) - 1)) << row.value_low;
    top = std::max(top, row.value_low + row.count);
  }
  if (field.kind == PieKind::kXPie) value |= 8;
  if (field.kind == PieKind::kSimm && (value & (1u << (top - 1))) != 0) {
    value |= ~0u << top;
  }
  return static_cast<int32_t>(value << field.shift);
}

const pie::Registry& Handlers() {
  static const pie::Registry registry = [] {
    pie::Registry all;
    pie::RegisterMac(all);
    pie::RegisterArithmetic(all);
    pie::RegisterMultiply(all);
    pie::RegisterCompare(all);
    pie::RegisterMemory(all);
    pie::RegisterLayout(all);
    pie::RegisterAccumulator(all);
    pie::RegisterScalar(all);
    pie::RegisterLoops(all);
    return all;
  }();
  return registry;
}

void SetTiming(uint32_t use, const Parameters& parameters, const Op& op, Timing& timing) {
  const uint8_t vectors[6] = {op.qu, op.qv, op.qx, op.qy, op.qz, op.qw};
  for (uint32_t i = 0; i < 6; ++i) {
    if ((use >> i & 1) != 0) timing.Read(kVectorBase + vectors[i]);
  }
  if ((use & pie::kReadsRs1) != 0) timing.Read(op.rs1);
  if ((use & pie::kReadsRs2) != 0) timing.Read(op.rs2);
  if ((use & pie::kReadsQacc) != 0) timing.Read(kQacc);
  if ((use & pie::kReadsXacc) != 0) timing.Read(kXacc);
  if ((use & pie::kLoadsQu) != 0) timing.Write(kVectorBase + op.qu);
  if ((use & pie::kLoadsQz) != 0) timing.Write(kVectorBase + op.qz);
  timing.latency = static_cast<uint8_t>(parameters.load_use);
  if ((use & pie::kLoadsQacc) != 0) timing.Write(kQacc);
  if ((use & pie::kLoadsXacc) != 0) timing.Write(kXacc);
  if ((use & (pie::kLoadsQacc | pie::kLoadsXacc)) != 0) {
    timing.latency = static_cast<uint8_t>(parameters.qacc_load_use);
  }
  timing.terminator = (use & pie::kIsTerminator) != 0;
}

// Puts an operand where the handlers expect it.
void Assign(const Field& field, int32_t value, Op& op) {
  const std::string name = field.name;
  const auto byte = static_cast<uint8_t>(value);
  if (field.kind == PieKind::kQ) {
    uint8_t Op::* const members[6] = {&Op::qu, &Op::qv, &Op::qx, &Op::qy, &Op::qz, &Op::qw};
    constexpr char kLetters[] = "uvxyzw";
    for (int i = 0; i < 6; ++i) {
      if (name[1] == kLetters[i]) op.*members[i] = byte;
    }
  } else if (name == "rs1" || name == "frs1") {
    op.rs1 = byte;
  } else if (name == "rs2" || name == "frs2") {
    op.rs2 = byte;
  } else if (name == "rd" || name == "frd") {
    op.rd = byte == 0 ? 32 : byte;
  } else if (name == "lpcount") {
    op.qu = byte;
    op.qv = static_cast<uint8_t>(value >> 8);
  } else if (name == "lpid") {
    op.sel = byte;
  } else if (field.kind == PieKind::kSimm || field.kind == PieKind::kPcrel) {
    op.imm = value;
  } else if (name.rfind("sel8_1", 0) == 0) {  // second select of ldxq / stxq
    op.sel2 = byte;
  } else {
    op.sel = byte;
  }
}

}  // namespace

const char* PieName(uint32_t word) {
  const Instruction* instruction = Find(word);
  return instruction == nullptr ? nullptr : instruction->name;
}

bool DecodePie(Core& core, uint32_t pc, uint32_t word, const Parameters& parameters, Op& op,
               Timing& timing) {
  const Instruction* instruction = Find(word);
  if (instruction == nullptr || !instruction->verified) return false;
  const auto entry = Handlers().find(instruction->name);
  if (entry == Handlers().end()) return false;
  const bool is_loop = std::string(instruction->name).rfind("esp.lp.", 0) == 0;
  if (!core.pie_on && !is_loop) return false;
  const uint16_t offset = op.offset;
  op = Op();
  op.word = word;
  op.offset = offset;
  timing = Timing();
  for (int i = 0; i < instruction->operand_count; ++i) {
    const Field& field = kFields[instruction->operands[i]];
    const int32_t value = FieldValue(field, word);
    if (field.kind == PieKind::kUimm && value > field.maximum) return false;  // no such lane
    Assign(field, value, op);
    if (field.kind == PieKind::kPcrel && std::string(instruction->name) != "esp.lp.starti") {
      core.machine->NoteLoopEnd(pc + static_cast<uint32_t>(value));
    }
  }
  op.handler = entry->second.handler;
  SetTiming(entry->second.use, parameters, op, timing);
  return true;
}

void StopHandler(Core& core, const Op* op) {
  core.leaving = op;
  const uint32_t address = core.Address(op);
  Stop stop;
  stop.address = address;
  stop.has_address = true;
  char text[160];
  const char* name = PieName(op->word);
  const bool mapped = core.machine->Translate(address, false) != nullptr && (address & 1) == 0;
  if (!mapped) {
    snprintf(text, sizeof text, "instruction fetch from unmapped address 0x%08x", address);
  } else if (name != nullptr) {
    const char* why = !Find(op->word)->verified ? "its semantics are not verified"
                      : !core.pie_on            ? "PIE is off (csrsi 0x7f2, 1)"
                                                : "the register has no such lane";
    snprintf(text, sizeof text, "%s at 0x%08x (word 0x%08x): %s", name, address, op->word, why);
  } else {
    const uint32_t opcode = op->word & 0x7F;
    const bool is_float =
        opcode == 0x07 || opcode == 0x27 || (opcode >= 0x43 && opcode <= 0x53 && (opcode & 3) == 3);
    const char* what = op->word == 0x00100073 || op->word == 0x9002 ? "ebreak"
                       : op->word == 0x00000073                     ? "ecall"
                       : is_float && !core.FloatOn() ? "float instruction while mstatus.FS is off"
                                                     : "unknown instruction";
    snprintf(text, sizeof text, "%s at 0x%08x, word 0x%08x", what, address, op->word);
  }
  stop.error = text;
  throw stop;
}

std::string Disassemble(uint32_t word, uint32_t) {
  const Instruction* instruction = Find(word);
  if (instruction == nullptr) return std::string();
  static const char* const kNames[32] = {"zero", "ra", "sp",  "gp",  "tp", "t0", "t1", "t2",
                                         "s0",   "s1", "a0",  "a1",  "a2", "a3", "a4", "a5",
                                         "a6",   "a7", "s2",  "s3",  "s4", "s5", "s6", "s7",
                                         "s8",   "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
  std::string text = instruction->name;
  for (int i = 0; i < instruction->operand_count; ++i) {
    const Field& field = kFields[instruction->operands[i]];
    const int32_t value = FieldValue(field, word);
    text += i == 0 ? " " : ", ";
    if (field.kind == PieKind::kQ) {
      text += "q" + std::to_string(value);
    } else if (field.kind == PieKind::kXPie || field.kind == PieKind::kXAny) {
      text += kNames[value & 31];
    } else {
      text += std::to_string(value);
    }
  }
  return text;
}

}  // namespace p4
