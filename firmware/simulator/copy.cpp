// The copy engine: moves data past the caches while the cores compute.
#include <algorithm>
#include <cmath>

#include "machine.h"

namespace p4 {
namespace {

constexpr uint8_t kPoison = 0xDB;

}  // namespace

void Machine::StartCopy(Core& core, const Op* op) {
  const uint32_t length = core.copy_length;
  Stop bad;
  bad.has_address = true;
  for (const bool write : {false, true}) {
    const uint32_t first = write ? core.copy_destination : core.copy_source;
    bad.address = first;
    bad.error = write ? "copy engine: bad destination" : "copy engine: bad source";
    if (length == 0 || Translate(first, write) == nullptr ||
        Translate(first + length - 1, write) != Translate(first, write) + (length - 1)) {
      throw bad;
    }
  }
  Copy unit;
  unit.source = core.copy_source;
  unit.destination = core.copy_destination;
  unit.length = length;
  core.cycles += static_cast<uint64_t>(parameters.copy_start);
  unit.start = std::max(core.Now(op), copy.free_at);
  unit.done = unit.start + static_cast<uint64_t>(std::ceil(length / parameters.copy_rate));
  const uint8_t* from = Translate(unit.source, false);
  unit.data.assign(from, from + length);
  // Whoever reads the destination before waiting must notice.
  memset(Translate(unit.destination, true), kPoison, length);
  copy.free_at = unit.done;
  copy.bytes += length;
  ++copy.started;
  copy.queue.push_back(std::move(unit));
}

// Waits until the unit with this ticket (the first one is 1) and all before it have arrived.
void Machine::FinishCopies(Core& core, const Op* op, uint32_t ticket) {
  if (static_cast<int32_t>(ticket - copy.started) > 0) {
    Stop stop;
    stop.error = "copy engine: wait for unit " + std::to_string(ticket) + " which was not started";
    throw stop;
  }
  while (static_cast<int32_t>(ticket - copy.finished) > 0) {
    Copy& unit = copy.queue.front();
    if (core.Now(op) < unit.done) {
      const uint64_t wait = unit.done - core.Now(op);
      core.cycles += wait;
      core.stalls += wait;
      copy.wait_cycles += wait;
    }
    memcpy(Translate(unit.destination, true), unit.data.data(), unit.length);
    const uint32_t first = unit.destination >> 6;
    const uint32_t last = (unit.destination + unit.length - 1) >> 6;
    core.cycles += static_cast<uint64_t>(parameters.copy_finish +
                                         parameters.copy_finish_line * (last - first + 1));
    for (uint32_t line = first; line <= last; ++line) {
      uint32_t* set = &l1.entries[(line & l1.set_mask) * l1.ways];
      for (uint32_t way = 0; way < l1.ways; ++way) {
        if ((set[way] >> 1) != line) continue;
        for (uint32_t i = way; i + 1 < l1.ways; ++i) set[i] = set[i + 1];
        set[l1.ways - 1] = kEmptyLine;
      }
    }
    copy.queue.pop_front();
    ++copy.finished;
  }
}

}  // namespace p4
