// Memory model: L1 data cache shared by both cores, L2 for PSRAM and flash, copy engine.
#include <algorithm>
#include <cmath>

#include "machine.h"

namespace p4 {
namespace {

constexpr uint8_t kPoison = 0xDB;

bool IsPowerOfTwo(uint32_t value) { return value != 0 && (value & (value - 1)) == 0; }

bool BehindL2(uint32_t address) { return address - kInternalBase >= kInternalSize; }
bool InFlash(uint32_t address) { return address < kPsramBase; }

// Looks a line up and makes it the most recently used one. Returns whether it was there; the
// entry that fell out (kEmptyLine if none) goes to `victim`.
bool Lookup(Cache& cache, uint32_t line, bool write, uint32_t& victim) {
  uint32_t* set = &cache.entries[(line & cache.set_mask) * cache.ways];
  uint32_t way = 0;
  while (way < cache.ways && (set[way] >> 1) != line) ++way;
  const bool hit = way < cache.ways;
  victim = kEmptyLine;
  uint32_t entry = line << 1;
  if (hit) {
    entry = set[way];
  } else {
    way = cache.ways - 1;
    victim = set[way];
    ++cache.misses;
    if (victim != kEmptyLine && (victim & 1) != 0) ++cache.dirty_evictions;
  }
  for (; way > 0; --way) set[way] = set[way - 1];
  set[0] = entry | static_cast<uint32_t>(write);
  return hit;
}

}  // namespace

void Cache::Configure(uint32_t size, uint32_t way_count, uint32_t line) {
  const uint32_t sets = way_count == 0 || line == 0 ? 0 : size / way_count / line;
  if (!IsPowerOfTwo(sets) || !IsPowerOfTwo(line) || sets * way_count * line != size) {
    throw std::runtime_error("cache size / ways / line must give a power of two of sets");
  }
  set_mask = sets - 1;
  ways = way_count;
  line_bits = 0;
  while ((1u << line_bits) < line) ++line_bits;
  entries.assign(sets * way_count, kEmptyLine);
}

void Cache::Empty() { std::fill(entries.begin(), entries.end(), kEmptyLine); }

void Machine::EmptyCaches() {
  l1.Empty();
  l2.Empty();
}

// Called when `address` is not the most recently used line of its L1 set.
void Machine::Miss(Core& core, uint32_t address, bool write) {
  uint32_t victim;
  if (Lookup(l1, address >> l1.line_bits, write, victim)) return;
  int cycles = l1_miss_cycles;
  if (victim != kEmptyLine && (victim & 1) != 0) {
    cycles += evict_cycles;
    const uint32_t victim_address = (victim >> 1) << l1.line_bits;
    if (BehindL2(victim_address)) {
      // The line's data go to L2; a line that L2 has lost meanwhile is placed without a fetch.
      uint32_t l2_victim;
      Lookup(l2, victim_address >> l2.line_bits, true, l2_victim);
      if (l2_victim != kEmptyLine && (l2_victim & 1) != 0) cycles += write_back_cycles;
    }
  }
  if (BehindL2(address)) {
    uint32_t l2_victim;
    if (!Lookup(l2, address >> l2.line_bits, false, l2_victim)) {
      if (InFlash(address)) {
        cycles += flash_miss_cycles;
      } else {
        cycles += l2_miss_cycles;
        if (core.cycles < copy.free_at) cycles += hold_cycles;
      }
      if (l2_victim != kEmptyLine && (l2_victim & 1) != 0) cycles += write_back_cycles;
    }
  }
  core.cycles += static_cast<uint32_t>(cycles);
  core.stalls += static_cast<uint32_t>(cycles);
}

// Fractions of a cycle add up per core.
void Machine::Contend(Core& core) {
  core.contention += contention_unit;
  core.cycles += core.contention / 1000;
  core.stalls += core.contention / 1000;
  core.contention %= 1000;
}

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
