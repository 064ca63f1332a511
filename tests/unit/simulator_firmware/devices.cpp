// Copy engine, caches, counters, guards, sections. Costs are those of the default parameters.
#include "check.h"

namespace {

__attribute__((section(".psram.weights"))) const uint8_t weights[4096] = {1, 2, 3, 4, 5, 6, 7, 8};
__attribute__((section(".flash.table"))) const uint8_t table[256] = {9, 8, 7};
__attribute__((section(".psram_bss.large"), aligned(128))) uint8_t large[8192];
alignas(64) uint8_t staging[4096];
alignas(64) uint8_t internal[4096];
int initialised = 42;

uint32_t Read1(const volatile uint8_t* p) { return *p; }

// Stall cycles of one byte's access. Each function lies in one line of the instruction cache, so
// that a call before the ones that are measured brings it in.
[[gnu::noinline, gnu::aligned(64)]] uint32_t LoadCost(const volatile uint8_t* p) {
  const uint32_t before = p4sim::StallCycles32();
  Read1(p);
  return p4sim::StallCycles32() - before;
}
[[gnu::noinline, gnu::aligned(64)]] uint32_t StoreCost(volatile uint8_t* p) {
  const uint32_t before = p4sim::StallCycles32();
  *p = 1;
  return p4sim::StallCycles32() - before;
}

void Sections() {
  CHECK(p4sim::Read(p4sim::kMagic) == 0x50345349);
  CHECK(initialised == 42);
  CHECK(Read1(&weights[7]) == 8 && Read1(&weights[8]) == 0);
  CHECK(Read1(&table[0]) == 9);
  CHECK(Read1(&large[8191]) == 0);
  CHECK(p4sim::ClockHz() == 360000000);
  CHECK(p4sim::CoreId() == 0);
}

void Caches() {
  p4sim::SetMemoryModel(true);
  p4sim::EmptyCaches();
  LoadCost(&internal[2048]);  // brings in what the measurement itself touches
  StoreCost(&internal[2048]);
  CHECK(LoadCost(&internal[0]) == 13);
  CHECK(LoadCost(&internal[63]) == 0);
  CHECK(LoadCost(&internal[64]) == 13);
  CHECK(LoadCost(&weights[0]) == 13 + 165);
  CHECK(LoadCost(&weights[64]) == 13);  // same L2 line
  CHECK(LoadCost(&weights[128]) == 13 + 165);
  CHECK(LoadCost(&weights[100]) == 0);
  CHECK(LoadCost(&table[0]) == 13 + 1660);
  CHECK(StoreCost(&large[0]) == 13 + 165);
  p4sim::EmptyCaches();
  LoadCost(&internal[2048]);
  CHECK(LoadCost(&weights[0]) == 13 + 165);
  p4sim::SetMemoryModel(false);
  p4sim::EmptyCaches();
  CHECK(LoadCost(&weights[0]) == 0);
}

void Copies() {
  p4sim::SetMemoryModel(false);
  uint32_t before = p4sim::Cycles32();
  const uint32_t first = p4sim::CopyStart(staging, weights, 1024);
  const uint32_t start_cycles = p4sim::Cycles32() - before;
  CHECK(start_cycles >= 300 && start_cycles < 320);
  CHECK(Read1(&staging[0]) == 0xDB && Read1(&staging[1023]) == 0xDB);
  CHECK(p4sim::CopyArrived() == first - 1);
  const uint32_t stalls = p4sim::StallCycles32();
  before = p4sim::Cycles32();
  p4sim::CopyWait(first);
  // 1024 / 0.986 cycles of transfer, then 100 + 16 lines.
  const uint32_t wait_cycles = p4sim::Cycles32() - before;
  CHECK(wait_cycles > 1000 + 116 && wait_cycles < 1039 + 116);
  CHECK(p4sim::StallCycles32() - stalls > 1000);
  CHECK(Read1(&staging[0]) == 1 && Read1(&staging[7]) == 8);
  CHECK(p4sim::CopyArrived() == first);
  before = p4sim::Cycles32();
  p4sim::CopyWait(first);  // again: nothing to wait for
  CHECK(p4sim::Cycles32() - before < 10);
  // Units queue up; the second starts when the first has arrived.
  const uint32_t second = p4sim::CopyStart(staging, weights, 2048);
  const uint32_t third = p4sim::CopyStart(staging + 2048, weights, 1024);
  CHECK(third == second + 1);
  before = p4sim::Cycles32();
  p4sim::CopyWait(third);
  const uint32_t both = p4sim::Cycles32() - before;
  CHECK(both > 2078 + 1038 - 330 && both < 2078 + 1039 + 2 * 100 + 32 + 16);
  CHECK(Read1(&staging[2048]) == 1);
}

void CopyInvalidates() {
  p4sim::SetMemoryModel(true);
  p4sim::EmptyCaches();
  LoadCost(&internal[2048]);
  LoadCost(&staging[0]);
  CHECK(LoadCost(&staging[0]) == 0);
  p4sim::CopyWait(p4sim::CopyStart(staging, weights, 64));
  CHECK(LoadCost(&staging[0]) == 13);
  // A CPU miss to PSRAM during a copy is held back by the copy's share of the bus.
  const uint32_t ticket = p4sim::CopyStart(staging, weights, 4096);
  CHECK(LoadCost(&large[4096]) == 13 + 165 + 26);
  p4sim::CopyWait(ticket);
  CHECK(LoadCost(&large[4096 + 128]) == 13 + 165);
  p4sim::SetMemoryModel(false);
}

void Counters() {
  const uint64_t cycles = p4sim::Cycles();
  const uint64_t by_register = p4sim::CyclesOfCore(0);
  CHECK(by_register > cycles && by_register < cycles + 60);
  CHECK(p4sim::CyclesOfCore(1) == 0);
  const uint32_t instructions = p4sim::Instructions32();
  for (int i = 0; i < 10; ++i) asm volatile("nop");
  CHECK(p4sim::Instructions32() - instructions >= 11);
}

}  // namespace

extern "C" int main() {
  Sections();
  Caches();
  Copies();
  CopyInvalidates();
  Counters();
  return 0;
}
