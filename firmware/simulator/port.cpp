// The port of L1 that both cores share: one data access at a time.
#include <algorithm>
#include <utility>

#include "machine.h"

namespace p4 {
namespace {

// Cycles that the core ahead may have taken before the other one gets there.
constexpr size_t kPortSlots = size_t{1} << 18;
constexpr uint64_t kOfMiss = uint64_t{1} << 63;

}  // namespace

void Machine::SetFastWay(bool both_cores) {
  const bool before = sharing;
  sharing = both_cores && parameters.port_cycles > 0;
  if (sharing && port.empty()) port.assign(kPortSlots, 0);
  for (Core& core : cores) {
    if (sharing != before) {
      // Accesses of both cores meet cycle by cycle: a core runs one instruction at a time.
      std::swap(core.blocks, core.other_blocks);
      std::fill(std::begin(core.recent), std::end(core.recent), nullptr);
    }
    // Where accesses have to be counted, no line is ever the most recent one for the fast way.
    core.l1 = sharing ? &no_line : l1.entries.data();
    core.l1_set_mask = sharing ? 0 : l1.set_mask;
    core.check_lines = sharing || core.memory_model;
  }
}

// A miss keeps the port: nothing else is served.
void Machine::HoldPort(uint64_t from, uint64_t cycles) {
  for (uint64_t at = from; at < from + cycles; ++at) {
    port[at & (kPortSlots - 1)] = (at + 1) | kOfMiss;
  }
}

// The first free cycles from now on. Behind accesses that hit, a few cycles in a queue do not hold
// up the core.
void Machine::TakePort(Core& core, const Op* op) {
  const auto length = static_cast<uint64_t>(parameters.port_cycles);
  const uint64_t now = core.Now(op);
  uint64_t at = now;
  bool missing = false;
  for (uint64_t free = 0; free < length;) {
    const uint64_t slot = port[(at + free) & (kPortSlots - 1)];
    if ((slot & ~kOfMiss) == at + free + 1) {
      missing = missing || (slot & kOfMiss) != 0;
      at += free + 1;
      free = 0;
    } else {
      ++free;
    }
  }
  for (uint64_t taken = at; taken < at + length; ++taken) {
    port[taken & (kPortSlots - 1)] = taken + 1;
  }
  if (at != now) waited_last = core.id;
  const uint64_t queue = missing ? 0 : static_cast<uint64_t>(parameters.port_queue);
  const uint64_t wait = at - now > queue ? at - now - queue : 0;
  core.cycles += wait;
  core.stalls += wait;
  core.contention += wait;
}

}  // namespace p4
