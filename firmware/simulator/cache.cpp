// Memory model: L1 instruction caches, L1 data cache shared by both cores, L2 for PSRAM and flash.
#include <algorithm>

#include "machine.h"

namespace p4 {
namespace {

bool IsPowerOfTwo(uint32_t value) { return value != 0 && (value & (value - 1)) == 0; }

bool BehindL2(uint32_t address) { return address - kInternalBase >= kInternalSize; }
bool InFlash(uint32_t address) { return address < kPsramBase; }

}  // namespace

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
  for (Core& core : cores) {
    l1i[core.id].Empty();
    core.fetched_line = kEmptyLine;
    // A cold start is cold all over: the same figures however often it is measured.
    for (auto& [address, counter] : core.predictors) counter = 0;
  }
}

// What it takes to bring a line into an L1 cache.
int Machine::FillCycles(const Core& core, uint32_t address) {
  if (!BehindL2(address)) return internal_miss_cycles;
  int cycles = l1_miss_cycles;
  uint32_t victim;
  if (Lookup(l2, address >> l2.line_bits, false, victim)) return cycles;
  if (InFlash(address)) {
    cycles += flash_fill_cycles;
  } else {
    cycles += psram_fill_cycles;
    if (core.cycles < copy.free_at) cycles += hold_cycles;
  }
  if (victim != kEmptyLine && (victim & 1) != 0) cycles += write_back_cycles;
  return cycles;
}

// A block's lines, before it runs.
void Machine::FetchLines(Core& core, const Block& block) {
  Cache& cache = l1i[core.id];
  for (uint32_t line = block.first_line; line <= block.last_line; ++line) {
    uint32_t victim;
    if ((cache.entries[(line & cache.set_mask) * cache.ways] >> 1) == line) continue;
    if (Lookup(cache, line, false, victim)) continue;
    const auto cycles = static_cast<uint32_t>(FillCycles(core, line << cache.line_bits));
    core.cycles += cycles;
    core.stalls += cycles;
  }
  core.fetched_line = block.last_line;
}

// Called when `address` is not the most recently used line of its L1 set.
void Machine::Miss(Core& core, const Op* op, uint32_t address, bool write) {
  uint32_t victim;
  if (Lookup(l1, address >> l1.line_bits, write, victim)) return;
  int cycles = 0;
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
  cycles += FillCycles(core, address);
  if (sharing && parameters.miss_blocks != 0) {
    HoldPort(core.Now(op), static_cast<uint64_t>(cycles));
  }
  core.cycles += static_cast<uint32_t>(cycles);
  core.stalls += static_cast<uint32_t>(cycles);
}

}  // namespace p4
