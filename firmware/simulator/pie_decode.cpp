// Decoding of PIE words from the generated instruction table.
#include <algorithm>
#include <cstdio>

#include "pie.h"

namespace p4 {
namespace {

enum class PieKind : uint8_t { kQ, kXPie, kXAny, kSimm, kUimm, kPcrel, kSat, kRm };
enum class Proven : uint8_t { kAlways, kNever, kTruncating, kRoundingDown };
enum class Unit : uint8_t { kPie, kScalar, kLoop };
enum class Latency : uint8_t {
  kPlain,
  kLoop,
  kQaccMac,
  kXaccMac,
  kQaccLoad,
  kXaccLoad,
  kQaccRead,
  kXaccRead,
  kQaccMove,
};

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
  Proven proven;
  bool saturates;    // without an operand for it
  uint8_t rounding;  // likewise
  Latency latency;
  Unit unit;
  const char* roles;  // per operand: r read, w written, l loaded, b read and written, - neither
  uint8_t operand_count;
  uint8_t operands[9];
};

#define P4_PIE_FIELDS
constexpr Field kFields[] = {
#include "pie_table.inc"
};
#undef P4_PIE_FIELDS
#define P4_PIE_21
constexpr Instruction kLevel21[] = {
#include "pie_table.inc"
};
#undef P4_PIE_21
#define P4_PIE_22
constexpr Instruction kLevel22[] = {
#include "pie_table.inc"
};
#undef P4_PIE_22

template <size_t kCount>
const Instruction* FindIn(const Instruction (&table)[kCount], uint32_t word) {
  for (const Instruction& each : table) {
    if ((word & each.mask) == each.match) return &each;
  }
  return nullptr;
}

const Instruction* Find(int level, uint32_t word) {
  return level == 22 ? FindIn(kLevel22, word) : FindIn(kLevel21, word);
}
const Instruction* Find(const Core& core, uint32_t word) { return Find(core.machine->espv, word); }

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

// The register of the timing model that an operand names.
int TimedRegister(const Field& field, int32_t value) {
  return field.kind == PieKind::kQ ? kVectorBase + value : value;
}

// Multiply-accumulates follow each other at a rate of their own; other readers wait longer.
void SetMacTiming(int accumulator, int pipe, double use, double interval, Timing& timing) {
  timing.Read(pipe);
  timing.WriteLate(pipe, interval < 1 ? 0 : interval - 1);
  timing.WriteLate(accumulator, use);
}

void SetTiming(const Instruction& instruction, uint32_t word, const Parameters& parameters,
               Timing& timing) {
  for (int i = 0; instruction.roles[i] != 0; ++i) {
    const Field& field = kFields[instruction.operands[i]];
    const int reg = TimedRegister(field, FieldValue(field, word));
    const char role = instruction.roles[i];
    if (role == 'r' || role == 'b') timing.Read(reg);
    if (role == 'l') timing.Write(reg);
  }
  timing.latency = static_cast<uint8_t>(parameters.load_use);
  switch (instruction.latency) {
    case Latency::kQaccRead:
    case Latency::kQaccMove:
      timing.Read(kQacc);
      break;
    case Latency::kXaccRead:
      timing.Read(kXacc);
      break;
    case Latency::kQaccLoad:
      timing.WriteLate(kQacc, parameters.qacc_load_use);
      break;
    case Latency::kXaccLoad:
      timing.WriteLate(kXacc, parameters.xacc_load_use);
      break;
    case Latency::kQaccMac:
      SetMacTiming(kQacc, kQaccMac, parameters.qacc_mac_use, parameters.qacc_mac_interval, timing);
      break;
    case Latency::kXaccMac:
      SetMacTiming(kXacc, kXaccMac, parameters.xacc_mac_use, parameters.xacc_mac_interval, timing);
      break;
    case Latency::kLoop:
      timing.cycles = static_cast<uint8_t>(parameters.loop_setup);
      break;
    case Latency::kPlain:
      break;
  }
  timing.terminator = instruction.unit == Unit::kLoop;
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
  } else if (field.kind == PieKind::kSat) {
    op.rs3 = static_cast<uint8_t>((op.rs3 & ~pie::kSaturates) | (value != 0 ? pie::kSaturates : 0));
  } else if (field.kind == PieKind::kRm) {
    op.rs3 = static_cast<uint8_t>((op.rs3 & ~pie::kRoundingBits) | value);
  } else if (name == "sel8_1" || name == "s30") {  // second select of ldxq / stxq
    op.sel2 = byte;
  } else {
    op.sel = byte;
  }
}

bool HasLanes(const Instruction& instruction, uint32_t word) {
  for (int i = 0; i < instruction.operand_count; ++i) {
    const Field& field = kFields[instruction.operands[i]];
    if (field.kind == PieKind::kUimm && FieldValue(field, word) > field.maximum) return false;
  }
  return true;
}

// Whether the sources prove what the instruction does with these operands. CFG may still ask for
// a rounding mode that they do not: that shows when it runs.
bool IsProven(const Instruction& instruction, const Op& op) {
  const uint8_t rounding = op.rs3 & pie::kRoundingBits;
  switch (instruction.proven) {
    case Proven::kAlways:
      return true;
    case Proven::kNever:
      return false;
    case Proven::kTruncating:
      return !pie::Saturates(&op);
    case Proven::kRoundingDown:
      return rounding == 0 || rounding == pie::kRoundingOfCfg;
  }
  return false;
}

void SetOperands(const Instruction& instruction, uint32_t word, Op& op) {
  op.rs3 =
      static_cast<uint8_t>(instruction.rounding | (instruction.saturates ? pie::kSaturates : 0));
  for (int i = 0; i < instruction.operand_count; ++i) {
    const Field& field = kFields[instruction.operands[i]];
    Assign(field, FieldValue(field, word), op);
  }
}

const char* WhyNot(const Core& core, const Instruction& instruction, uint32_t word) {
  Op op;
  SetOperands(instruction, word, op);
  if (instruction.proven == Proven::kNever) return "its semantics are not verified";
  if (!IsProven(instruction, op)) return "its semantics are not verified for these operands";
  if (!core.pie_on) return "PIE is off (csrsi 0x7f2, 1)";
  return "the register has no such lane";
}

}  // namespace

const char* PieName(const Core& core, uint32_t word) {
  const Instruction* instruction = Find(core, word);
  return instruction == nullptr ? nullptr : instruction->name;
}

bool DecodePie(Core& core, uint32_t pc, uint32_t word, const Parameters& parameters, Op& op,
               Timing& timing) {
  const Instruction* instruction = Find(core, word);
  if (instruction == nullptr || !HasLanes(*instruction, word)) return false;
  const auto entry = Handlers().find(instruction->name);
  if (entry == Handlers().end()) return false;
  const bool is_loop = instruction->unit == Unit::kLoop;
  if (!core.pie_on && !is_loop) return false;
  Op decoded;
  decoded.word = word;
  decoded.offset = op.offset;
  SetOperands(*instruction, word, decoded);
  if (!IsProven(*instruction, decoded)) return false;
  op = decoded;
  timing = Timing();
  for (int i = 0; i < instruction->operand_count; ++i) {
    const Field& field = kFields[instruction->operands[i]];
    if (field.kind == PieKind::kPcrel && std::string(instruction->name) != "esp.lp.starti") {
      core.machine->NoteLoopEnd(pc + static_cast<uint32_t>(FieldValue(field, word)));
    }
  }
  const bool wraps = !pie::Saturates(&op) && entry->second.wrapping != nullptr;
  op.handler = wraps ? entry->second.wrapping : entry->second.handler;
  SetTiming(*instruction, word, parameters, timing);
  return true;
}

void StopHandler(Core& core, const Op* op) {
  core.leaving = op;
  const uint32_t address = core.Address(op);
  Stop stop;
  stop.address = address;
  stop.has_address = true;
  char text[160];
  const Instruction* instruction = Find(core, op->word);
  const char* name = instruction == nullptr ? nullptr : instruction->name;
  const bool mapped = core.machine->Translate(address, false) != nullptr && (address & 1) == 0;
  if (!mapped) {
    snprintf(text, sizeof text, "instruction fetch from unmapped address 0x%08x", address);
  } else if (name != nullptr) {
    const char* why = WhyNot(core, *instruction, op->word);
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

std::string Disassemble(int level, uint32_t word) {
  const Instruction* instruction = Find(level, word);
  if (instruction == nullptr) return std::string();
  static const char* const kNames[32] = {"zero", "ra", "sp",  "gp",  "tp", "t0", "t1", "t2",
                                         "s0",   "s1", "a0",  "a1",  "a2", "a3", "a4", "a5",
                                         "a6",   "a7", "s2",  "s3",  "s4", "s5", "s6", "s7",
                                         "s8",   "s9", "s10", "s11", "t3", "t4", "t5", "t6"};
  static const char* const kRoundingNames[8] = {"rdn",  "rup",  "raz", "rtz",
                                                "rhaz", "rhtz", "rne", "dyn"};
  std::string text = instruction->name;
  for (int i = 0; i < instruction->operand_count; ++i) {
    const Field& field = kFields[instruction->operands[i]];
    const int32_t value = FieldValue(field, word);
    text += i == 0 ? " " : ", ";
    if (field.kind == PieKind::kQ) {
      text += "q" + std::to_string(value);
    } else if (field.kind == PieKind::kSat && level == 22) {
      text += value != 0 ? "sat" : "trunc";
    } else if (field.kind == PieKind::kRm) {
      text += kRoundingNames[value & 7];
    } else if (field.kind == PieKind::kXPie || field.kind == PieKind::kXAny) {
      text += kNames[value & 31];
    } else {
      text += std::to_string(value);
    }
  }
  return text;
}

}  // namespace p4
