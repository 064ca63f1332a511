// The chip: memory, caches, devices, two cores.
#pragma once

#include <csignal>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "core.h"
#include "parameters.h"

namespace p4 {

constexpr uint32_t kInternalBase = 0x4FF00000;
constexpr uint32_t kInternalSize = 768 * 1024;
constexpr uint32_t kPsramBase = 0x48000000;
constexpr uint32_t kFlashBase = 0x40000000;
constexpr uint32_t kUartBase = 0x500CA000;
constexpr uint32_t kDeviceBase = 0x5FFF0000;
constexpr uint32_t kPageBits = 12;
constexpr uint32_t kEmptyLine = ~0u;

class Uart;

enum GuardKind : uint8_t { kGuardLoads = 1, kGuardStores = 2 };
struct Guard {
  uint32_t start, end;
  uint8_t kind;
};

// Tag arrays in most-recently-used order; an entry is line << 1 | dirty.
struct Cache {
  uint32_t set_mask = 0;
  uint32_t ways = 0;
  uint32_t line_bits = 6;
  std::vector<uint32_t> entries;
  uint64_t misses = 0, dirty_evictions = 0;
  void Configure(uint32_t size, uint32_t way_count, uint32_t line);
  void Empty();
};

// Looks a line up and makes it the most recently used one. Returns whether it was there; the entry
// that fell out (kEmptyLine if none) goes to `victim`.
bool Lookup(Cache& cache, uint32_t line, bool write, uint32_t& victim);

struct Copy {
  uint32_t source, destination, length;
  uint64_t start, done;
  std::vector<uint8_t> data;
};

struct CopyEngine {
  std::deque<Copy> queue;  // started, not waited for
  uint32_t started = 0, finished = 0;
  uint64_t free_at = 0;
  uint64_t bytes = 0, wait_cycles = 0;
};

// What to do about a hardware loop that breaks a rule of silicon.
enum class LoopRules : uint8_t { kStop, kWarn, kIgnore };

struct Options {
  std::string elf, statistics, profile, uart = "pty", uart_input;
  bool memory_model = true;
  int espv = 0;  // level of the chip: 21, 22, or 0 for the ELF's (21 where it names none)
  LoopRules loop_rules = LoopRules::kStop;
  uint32_t shortest_interval = 0, longest_interval = 0;  // between interrupts; none if 0
  bool interrupts_at_loops = false;
  uint64_t seed = 1;
  SwitchRules switch_rules = kIdf60;
  uint64_t max_cycles = ~0ull;
  std::vector<Guard> guards;
  Parameters parameters;
};

struct Machine {
  explicit Machine(const Options& options);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // Runs until something stops; returns why.
  Stop Run();
  // Runs one core until its cycle counter reaches `until` or it waits. Throws Stop.
  void RunCore(Core& core, uint64_t until);
  void LoadElf(const std::string& path);

  // Memory.
  void Map(uint32_t base, uint8_t* host, uint32_t size, bool writable);
  void AddGuard(const Guard& guard);
  void ClearGuards();
  uint8_t* Translate(uint32_t address, bool write) const;  // null if nothing is mapped there
  // Any size and alignment, bytes little-endian; devices for 1, 2, 4-byte accesses. Throw Stop.
  void SlowLoad(Core& core, const Op* op, uint32_t address, uint32_t size, uint8_t* out);
  void SlowStore(Core& core, const Op* op, uint32_t address, uint32_t size, const uint8_t* in);
  uint32_t DeviceLoad(Core& core, const Op* op, uint32_t address);
  void DeviceStore(Core& core, const Op* op, uint32_t address, uint32_t value);

  // Memory model. Both add to core.cycles and core.stalls.
  void Miss(Core& core, const Op* op, uint32_t address, bool write);
  void FetchLines(Core& core, const Block& block);
  // Waits until the other core leaves the port of L1 alone.
  void TakePort(Core& core, const Op* op);
  // Chooses the fast way of accesses: what it may skip depends on the model and on the other core.
  void SetFastWay(bool both_cores);
  void EmptyCaches();
  void FinishCopies(Core& core, const Op* op, uint32_t ticket);
  void StartCopy(Core& core, const Op* op);

  // Interrupts and tasks (tasks.cpp). `shortest` to `longest` cycles from one to the next, from
  // `now` on; none if `longest` is 0.
  void SetInterrupts(Core& core, uint64_t now, uint32_t shortest, uint32_t longest);
  void SetLoopInterrupts(Core& core, bool on);
  void SetAttention(Core& core);
  // Before `block`: the interrupt that is due, the vector unit's switch to another task. Returns
  // what to run instead.
  Block* Attend(Core& core, Block* block);
  void Interrupt(Core& core);
  void StartTask(Core& core, uint32_t argument);
  void SwitchTask(Core& core);
  bool EndTask(Core& core);  // false: it is the core's last one

  // Decoding.
  Block* FindBlock(Core& core, uint32_t pc);
  Block* ShortBlock(Core& core, uint32_t pc, uint32_t count);
  void NoteLoopEnd(uint32_t address);
  int InternCarry(const Carry& carry);
  FunctionProfile* ProfileOf(uint32_t pc);

  std::string StatisticsJson(const Stop& stop) const;
  std::string ProfileJson() const;

  Options options;
  Parameters parameters;
  Core cores[2];
  uint8_t** read_pages;  // 2^20 entries
  uint8_t** write_pages;
  Cache l1, l2;
  Cache l1i[2];
  int l1_miss_cycles, internal_miss_cycles, psram_fill_cycles, flash_fill_cycles, write_back_cycles,
      evict_cycles, hold_cycles, misaligned_cycles;
  uint32_t mispredicted_cycles, predicted_cycles, loop_back_cycles;
  uint32_t no_line = kEmptyLine;
  bool sharing = false;        // both cores run: their accesses share a port
  int waited_last = 0;         // core
  std::vector<uint64_t> port;  // cycle + 1 of whoever took a slot last
  CopyEngine copy;
  std::unique_ptr<Uart> uart;
  std::vector<Guard> guards;
  std::deque<uint32_t> mailbox[2];
  uint32_t core1_entry = 0, core1_stack = 0;
  uint32_t guard_start = 0, guard_end = 0;
  uint64_t latched[2] = {0, 0};
  uint64_t misaligned_accesses = 0;
  std::unordered_map<uint32_t, bool> loop_ends;
  std::unordered_set<uint64_t> checked_loops;  // start << 32 | end
  std::unordered_set<uint64_t> broken_loops;   // those that were only warned about
  std::unordered_set<uint32_t> code_lines;     // 64-byte lines that instructions were decoded from
  std::vector<Carry> carries;
  std::map<Carry, int> carry_ids;
  std::vector<FunctionProfile> functions;  // sorted by start; the last one collects the rest
  uint32_t entry = 0;
  int espv;  // instruction set level of what runs: 21 or 22

 private:
  struct Region {
    uint32_t base, size;
    uint8_t* host;
    bool writable;
  };
  void SetPages(const Region& region);
  void CheckGuards(uint32_t address, uint32_t size, bool write) const;
  int FillCycles(const Core& core, uint32_t address);
  void HoldPort(uint64_t from, uint64_t cycles);
  std::vector<Region> regions_;
};

// Decode and block building (decode.cpp).
bool DecodeBase(Core& core, uint32_t pc, uint32_t word, uint32_t length,
                const Parameters& parameters, Op& op, Timing& timing);
uint32_t ExpandCompressed(uint16_t word);  // 0 if illegal
// Stops by name for instructions without verified semantics: sets op.handler to a stopping one.
bool DecodePie(Core& core, uint32_t pc, uint32_t word, const Parameters& parameters, Op& op,
               Timing& timing);
std::unique_ptr<Block> BuildBlock(Machine& machine, Core& core, uint32_t pc, uint32_t limit);
void StopHandler(Core& core, const Op* op);
void EndBlockHandler(Core& core, const Op* op);

// Set by signals: the run ends at the next slice.
extern volatile std::sig_atomic_t interrupted;

// Entry points of other modes.
int StepMode(const std::string& input, const std::string& output, int level);
int DisassembleMode(int level);
std::string Disassemble(int level, uint32_t word);
const char* PieName(const Core& core, uint32_t word);
// Stops or warns where loop 0 or 1, as its registers stand, breaks a rule; each loop once.
void CheckLoop(Core& core, const Op* op, int loop);
// An interrupt after a round of a loop that breaks a rule: the counter does not keep the round.
void RuinBrokenLoop(Core& core);

// Access to a line of memory, for the slow way.
inline void Touch(Core& core, const Op* op, uint32_t address, bool write) {
  Machine& machine = *core.machine;
  if (machine.sharing) machine.TakePort(core, op);
  if (!core.memory_model) return;
  const uint32_t line = address >> 6;
  uint32_t* set = &machine.l1.entries[(line & machine.l1.set_mask) * machine.l1.ways];
  if ((set[0] >> 1) == line) {
    set[0] |= write;
  } else {
    machine.Miss(core, op, address, write);
  }
}

// Host address of an aligned access to plain memory that costs nothing beyond the instruction; null
// if the access has to take the slow way.
template <class T>
inline uint8_t* FastLoad(const Core& core, uint32_t address) {
  uint8_t* page = core.read_pages[address >> kPageBits];
  if ((address & (sizeof(T) - 1)) != 0 || page == nullptr) return nullptr;
  if (core.check_lines) {
    const uint32_t line = address >> 6;
    if ((core.l1[(line & core.l1_set_mask) * core.l1_ways] >> 1) != line) return nullptr;
  }
  return page + (address & ((1u << kPageBits) - 1));
}
template <class T>
inline uint8_t* FastStore(const Core& core, uint32_t address) {
  uint8_t* page = core.write_pages[address >> kPageBits];
  if ((address & (sizeof(T) - 1)) != 0 || page == nullptr) return nullptr;
  if (core.check_lines) {
    const uint32_t line = address >> 6;
    uint32_t& entry = core.l1[(line & core.l1_set_mask) * core.l1_ways];
    if ((entry >> 1) != line) return nullptr;
    entry |= 1;
  }
  return page + (address & ((1u << kPageBits) - 1));
}

template <class T>
T SlowLoadValue(Core& core, const Op* op, uint32_t address) __attribute__((noinline));
template <class T>
T SlowLoadValue(Core& core, const Op* op, uint32_t address) {
  core.machine->SlowLoad(core, op, address, sizeof(T), core.scratch);
  T value;
  memcpy(&value, core.scratch, sizeof(T));
  return value;
}

template <class T>
void SlowStoreValue(Core& core, const Op* op, uint32_t address, T value) __attribute__((noinline));
template <class T>
void SlowStoreValue(Core& core, const Op* op, uint32_t address, T value) {
  core.machine->SlowStore(core, op, address, sizeof(T), reinterpret_cast<const uint8_t*>(&value));
}

// The general ways: any alignment, guards, devices, misses.
template <class T>
inline T Load(Core& core, const Op* op, uint32_t address) {
  const uint8_t* host = FastLoad<T>(core, address);
  if (host == nullptr) return SlowLoadValue<T>(core, op, address);
  T value;
  memcpy(&value, host, sizeof(T));
  return value;
}

template <class T>
inline void Store(Core& core, const Op* op, uint32_t address, T value) {
  uint8_t* host = FastStore<T>(core, address);
  if (host == nullptr) {
    SlowStoreValue<T>(core, op, address, value);
  } else {
    memcpy(host, &value, sizeof(T));
  }
}

}  // namespace p4
