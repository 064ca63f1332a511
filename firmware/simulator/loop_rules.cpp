// What silicon asks of a hardware loop: broken, an interrupt at its end corrupts the counter.
#include <cstdio>

#include "machine.h"

namespace p4 {
namespace {

constexpr uint32_t kLeastBody = 4;
constexpr uint32_t kLongestBody = 1 << 16;  // bytes; beyond it the registers hold no loop

bool IsFloat(uint32_t word, uint32_t length) {
  if (length == 2) {  // c.flw, c.fsw, c.flwsp, c.fswsp
    const uint32_t kind = word >> 13 & 3;
    return kind == 3 && (word & 3) != 1;
  }
  const uint32_t opcode = word & 0x7F;
  return opcode == 0x07 || opcode == 0x27 || opcode == 0x53 || (opcode & 0x73) == 0x43;
}

struct Body {
  uint32_t wide = 0;  // 32-bit instructions
  uint32_t last_word = 0, last_length = 0;
  bool ends = false;  // the end address is an instruction of the body
};

Body Walk(const Machine& machine, uint32_t start, uint32_t end) {
  Body body;
  for (uint32_t pc = start; pc <= end && end - start < kLongestBody;) {
    const uint8_t* host = machine.Translate(pc, false);
    const uint8_t* next = machine.Translate(pc + 2, false);
    if (host == nullptr || next == nullptr) break;
    uint16_t halves[2];
    memcpy(&halves[0], host, 2);
    memcpy(&halves[1], next, 2);
    body.last_length = (halves[0] & 3) == 3 ? 4 : 2;
    body.last_word =
        body.last_length == 4 ? halves[0] | static_cast<uint32_t>(halves[1]) << 16 : halves[0];
    body.wide += body.last_length == 4;
    if (pc == end) {
      body.ends = true;
      break;
    }
    pc += body.last_length;
  }
  return body;
}

std::string BrokenRule(const Core& core, uint32_t start, uint32_t end) {
  if (start % 4 != 0) return "its first instruction is not at a multiple of 4 bytes";
  if (end % 4 != 0) return "its last instruction is not at a multiple of 4 bytes";
  const Body body = Walk(*core.machine, start, end);
  if (!body.ends) return "its end is no instruction of the body";
  if (body.wide < kLeastBody) {
    return "its body has " + std::to_string(body.wide) + " 32-bit instructions, fewer than 4";
  }
  if (IsFloat(body.last_word, body.last_length)) {
    return "its last instruction is a float instruction";
  }
  const char* name = body.last_length == 4 ? PieName(core, body.last_word) : nullptr;
  if (name != nullptr) {
    return "its last instruction is " + std::string(name) + ", which may not end a loop";
  }
  return {};
}

}  // namespace

void CheckLoop(Core& core, const Op* op, int loop) {
  core.loop_checked[loop] = true;
  Machine& machine = *core.machine;
  if (machine.options.loop_rules == LoopRules::kIgnore) return;
  const uint32_t start = core.loop_start[loop], end = core.loop_end[loop];
  if (!machine.checked_loops.emplace(uint64_t{start} << 32 | end).second) return;
  const std::string broken = BrokenRule(core, start, end);
  if (broken.empty()) return;
  char place[80];
  snprintf(place, sizeof place, "hardware loop 0x%08x..0x%08x: ", start, end);
  if (machine.options.loop_rules == LoopRules::kWarn) {
    fprintf(stderr, "p4sim: warning: %s%s\n", place, broken.c_str());
    machine.broken_loops.insert(uint64_t{start} << 32 | end);
    return;
  }
  core.leaving = op;
  Stop stop;
  stop.error = place + broken + " (an interrupt there corrupts the loop)";
  throw stop;
}

void RuinBrokenLoop(Core& core) {
  for (int loop = 0; loop < 2; ++loop) {
    const uint64_t key = uint64_t{core.loop_start[loop]} << 32 | core.loop_end[loop];
    const bool just_there = core.pc == core.loop_start[loop];
    if (just_there && core.machine->broken_loops.count(key) != 0) ++core.loop_count[loop];
  }
}

}  // namespace p4
