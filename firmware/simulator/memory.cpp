// Address space: pages, guards, accesses that are not plain aligned accesses to mapped memory.
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>

#include "machine.h"
#include "uart.h"

namespace p4 {
namespace {

constexpr size_t kPageCount = size_t{1} << (32 - kPageBits);
constexpr uint32_t kPageSize = 1u << kPageBits;

void* Reserve(size_t size) {
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("out of memory");
  return memory;
}

std::string Hex(uint32_t value) {
  char text[16];
  snprintf(text, sizeof text, "0x%08x", value);
  return text;
}

Stop BadAddress(const char* what, uint32_t address, uint32_t size) {
  Stop stop;
  stop.error = std::string(what) + " of " + std::to_string(size) + " bytes at " + Hex(address);
  stop.address = address;
  stop.has_address = true;
  return stop;
}

bool IsDevice(uint32_t address) {
  return (address >= kUartBase && address < kUartBase + 0x1000) ||
         (address >= kDeviceBase && address < kDeviceBase + 0x1000);
}

}  // namespace

Machine::Machine(const Options& given)
    : options(given), parameters(given.parameters), espv(given.espv == 0 ? 21 : given.espv) {
  read_pages = static_cast<uint8_t**>(Reserve(kPageCount * sizeof(uint8_t*)));
  write_pages = static_cast<uint8_t**>(Reserve(kPageCount * sizeof(uint8_t*)));
  const auto l2_size = static_cast<uint32_t>(parameters.l2_size);
  l1.Configure(static_cast<uint32_t>(parameters.l1_size), static_cast<uint32_t>(parameters.l1_ways),
               64);
  l2.Configure(l2_size, static_cast<uint32_t>(parameters.l2_ways),
               static_cast<uint32_t>(parameters.l2_line));
  for (Cache& cache : l1i) {
    cache.Configure(static_cast<uint32_t>(parameters.l1i_size),
                    static_cast<uint32_t>(parameters.l1i_ways), 64);
  }
  l1_miss_cycles = static_cast<int>(parameters.l1_miss);
  internal_miss_cycles = static_cast<int>(parameters.internal_miss);
  psram_fill_cycles = static_cast<int>(parameters.psram_fill);
  flash_fill_cycles = static_cast<int>(parameters.flash_fill);
  write_back_cycles = static_cast<int>(parameters.l2_write_back);
  evict_cycles = static_cast<int>(parameters.l1_dirty_eviction);
  hold_cycles = parameters.HoldCycles();
  misaligned_cycles = static_cast<int>(parameters.misaligned);
  mispredicted_cycles = static_cast<uint32_t>(parameters.branch_mispredicted);
  predicted_cycles = static_cast<uint32_t>(parameters.branch_predicted);
  loop_back_cycles = static_cast<uint32_t>(parameters.loop_back);
  carries.emplace_back();
  carry_ids[Carry()] = 0;
  // Revision 3 takes the L2 cache from the bottom of internal RAM, revisions below from its top.
  const uint32_t free_size = kInternalSize - std::min(l2_size, kInternalSize - kPageSize);
  const uint32_t below = parameters.l2_at_top != 0 ? 0 : kInternalSize - free_size;
  Map(kInternalBase + below, static_cast<uint8_t*>(Reserve(free_size)), free_size, true);
  const auto psram_size = static_cast<uint32_t>(parameters.psram_size);
  const auto flash_size = static_cast<uint32_t>(parameters.flash_size);
  Map(kPsramBase, static_cast<uint8_t*>(Reserve(psram_size)), psram_size, true);
  Map(kFlashBase, static_cast<uint8_t*>(Reserve(flash_size)), flash_size, false);
  for (const Guard& guard : options.guards) AddGuard(guard);
  for (int id = 0; id < 2; ++id) {
    cores[id].id = id;
    cores[id].machine = this;
    cores[id].read_pages = read_pages;
    cores[id].write_pages = write_pages;
    cores[id].l1_ways = l1.ways;
    cores[id].memory_model = options.memory_model;
    cores[id].tasks.random = options.seed * 2 + static_cast<uint64_t>(id);
    SetInterrupts(cores[id], 0, options.shortest_interval, options.longest_interval);
    SetLoopInterrupts(cores[id], options.interrupts_at_loops);
  }
  SetFastWay(false);
  cores[0].wait = Wait::kNone;
  functions.push_back({"(other)", 0, ~0u, 0, 0, 0, 0});
}

Machine::~Machine() {
  for (const Region& region : regions_) munmap(region.host, region.size);
  munmap(read_pages, kPageCount * sizeof(uint8_t*));
  munmap(write_pages, kPageCount * sizeof(uint8_t*));
}

void Machine::SetPages(const Region& region) {
  for (uint32_t offset = 0; offset < region.size; offset += kPageSize) {
    const uint32_t page = (region.base + offset) >> kPageBits;
    read_pages[page] = region.host + offset;
    if (region.writable) write_pages[page] = region.host + offset;
  }
}

void Machine::Map(uint32_t base, uint8_t* host, uint32_t size, bool writable) {
  regions_.push_back({base, size, host, writable});
  SetPages(regions_.back());
}

void Machine::AddGuard(const Guard& guard) {
  guards.push_back(guard);
  if (guard.end <= guard.start) return;
  for (uint32_t page = guard.start >> kPageBits; page <= (guard.end - 1) >> kPageBits; ++page) {
    if ((guard.kind & kGuardLoads) != 0) read_pages[page] = nullptr;
    if ((guard.kind & kGuardStores) != 0) write_pages[page] = nullptr;
  }
}

void Machine::ClearGuards() {
  guards.clear();
  for (const Region& region : regions_) SetPages(region);
}

uint8_t* Machine::Translate(uint32_t address, bool write) const {
  for (const Region& region : regions_) {
    if (address - region.base < region.size && (region.writable || !write)) {
      return region.host + (address - region.base);
    }
  }
  return nullptr;
}

void Machine::CheckGuards(uint32_t address, uint32_t size, bool write) const {
  const uint8_t kind = write ? kGuardStores : kGuardLoads;
  for (const Guard& guard : guards) {
    if ((guard.kind & kind) != 0 && address < guard.end && address + size > guard.start) {
      throw BadAddress(write ? "guarded store" : "guarded load", address, size);
    }
  }
}

void Machine::SlowLoad(Core& core, const Op* op, uint32_t address, uint32_t size, uint8_t* out) {
  core.leaving = op;
  if (IsDevice(address)) {
    if (size > 4 || (address & (size - 1)) != 0) throw BadAddress("device load", address, size);
    const uint32_t value = DeviceLoad(core, op, address & ~3u) >> (8 * (address & 3));
    memcpy(out, &value, size);
    return;
  }
  CheckGuards(address, size, false);
  const uint8_t* first = Translate(address, false);
  const bool whole = first != nullptr && Translate(address + size - 1, false) == first + (size - 1);
  if (whole) memcpy(out, first, size);
  for (uint32_t i = whole ? size : 0; i < size; ++i) {
    const uint8_t* host = Translate(address + i, false);
    if (host == nullptr) throw BadAddress("load", address, size);
    out[i] = *host;
  }
  if ((address & (size - 1)) != 0) {
    core.cycles += static_cast<uint32_t>(misaligned_cycles);
    ++misaligned_accesses;
  }
  Touch(core, op, address, false);
  if (((address ^ (address + size - 1)) >> 6) != 0) Touch(core, op, address + size - 1, false);
}

void Machine::SlowStore(Core& core, const Op* op, uint32_t address, uint32_t size,
                        const uint8_t* in) {
  core.leaving = op;
  if (IsDevice(address)) {
    if (size > 4 || (address & 3) != 0) throw BadAddress("device store", address, size);
    uint32_t value = 0;
    memcpy(&value, in, size);
    DeviceStore(core, op, address, value);
    return;
  }
  CheckGuards(address, size, true);
  for (uint32_t i = 0; i < size; ++i) {
    if (Translate(address + i, true) == nullptr) throw BadAddress("store", address, size);
  }
  for (uint32_t i = 0; i < size; ++i) *Translate(address + i, true) = in[i];
  if ((address & (size - 1)) != 0) {
    core.cycles += static_cast<uint32_t>(misaligned_cycles);
    ++misaligned_accesses;
  }
  Touch(core, op, address, true);
  if (((address ^ (address + size - 1)) >> 6) != 0) Touch(core, op, address + size - 1, true);
}

}  // namespace p4
