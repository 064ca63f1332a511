// The simulated chip as the firmware sees it: UART0 and the simulator's own device registers.
// firmware/simulator/device.cpp is the other side; docs/simulator.md explains both.
#ifndef ESPGEN_BOARDS_SIMULATOR_BOARD_H_
#define ESPGEN_BOARDS_SIMULATOR_BOARD_H_

#include <stddef.h>
#include <stdint.h>

namespace p4sim {

inline constexpr uintptr_t kUartBase = 0x500CA000u;
inline constexpr uintptr_t kDeviceBase = 0x5FFF0000u;

enum Register : uint32_t {
  kExit = 0x00,
  kEmptyCaches = 0x04,
  kMemoryModel = 0x08,
  kCoreId = 0x0C,
  kCyclesLow0 = 0x10,
  kCyclesHigh0 = 0x14,
  kCyclesLow1 = 0x18,
  kCyclesHigh1 = 0x1C,
  kStallsLow0 = 0x20,
  kStallsHigh0 = 0x24,
  kStallsLow1 = 0x28,
  kStallsHigh1 = 0x2C,
  kMagic = 0x30,
  kClockHz = 0x34,
  kCopySource = 0x40,
  kCopyDestination = 0x44,
  kCopyLength = 0x48,
  kCopyStart = 0x4C,
  kCopyWait = 0x50,
  kCopyArrived = 0x54,
  kCore1Entry = 0x60,
  kCore1Stack = 0x64,
  kCore1Start = 0x68,
  kBarrier = 0x70,
  kMailbox0 = 0x80,
  kMailbox1 = 0x84,
  kMailboxReceive = 0x88,
  kMailboxCount = 0x8C,
  kGuardStart = 0x90,
  kGuardEnd = 0x94,
  kGuardAdd = 0x98,
  kGuardClear = 0x9C,
  kDebugCharacter = 0xA0,
  kInterruptShortest = 0xB0,
  kInterruptLongest = 0xB4,
  kInterruptLoops = 0xB8,
  kInterruptCount = 0xBC,
  kTaskEntry = 0xC0,
  kTaskStack = 0xC4,
  kTaskReturn = 0xC8,
  kTaskStart = 0xCC,
  kTaskYield = 0xD0,
  kTaskEnd = 0xD4,
};

inline volatile uint32_t* At(uintptr_t address) {
  return reinterpret_cast<volatile uint32_t*>(address);
}
inline uint32_t Read(Register reg) { return *At(kDeviceBase + reg); }
inline void Write(Register reg, uint32_t value) { *At(kDeviceBase + reg) = value; }

// Ends the simulation; the simulator's exit status is the low byte.
[[noreturn]] inline void Exit(int status) {
  Write(kExit, static_cast<uint32_t>(status));
  for (;;) {
  }
}

// UART0, registers as in the chip: FIFO at 0, STATUS at 0x1C (received in bits 7:0, waiting to be
// sent in bits 23:16).
inline constexpr uint32_t kUartFifoSize = 128;

inline uint32_t UartAvailable() { return *At(kUartBase + 0x1C) & 0xFFu; }
inline void UartPut(uint8_t byte) {
  while (((*At(kUartBase + 0x1C) >> 16) & 0xFFu) >= kUartFifoSize - 2) {
  }
  *At(kUartBase) = byte;
}
inline uint8_t UartGet() {
  while (UartAvailable() == 0) {
  }
  return static_cast<uint8_t>(*At(kUartBase));
}
inline void UartWrite(const void* data, size_t size) {
  const uint8_t* bytes = static_cast<const uint8_t*>(data);
  for (size_t i = 0; i < size; ++i) UartPut(bytes[i]);
}

// Cycle counter of this core.
inline uint64_t Cycles() {
  uint32_t high, low, again;
  do {
    asm volatile("csrr %0, mcycleh\n\tcsrr %1, mcycle\n\tcsrr %2, mcycleh"
                 : "=r"(high), "=r"(low), "=r"(again));
  } while (high != again);
  return (static_cast<uint64_t>(high) << 32) | low;
}
inline uint32_t Cycles32() {
  uint32_t low;
  asm volatile("csrr %0, mcycle" : "=r"(low));
  return low;
}
inline uint32_t Instructions32() {
  uint32_t low;
  asm volatile("csrr %0, minstret" : "=r"(low));
  return low;
}
// Cycles lost to caches, PSRAM and waiting for the copy engine.
inline uint32_t StallCycles32() {
  uint32_t low;
  asm volatile("csrr %0, mhpmcounter3" : "=r"(low));
  return low;
}
// Any core's counter, from either core.
inline uint64_t CyclesOfCore(uint32_t core) {
  const uint32_t low = Read(core == 0 ? kCyclesLow0 : kCyclesLow1);
  return (static_cast<uint64_t>(Read(core == 0 ? kCyclesHigh0 : kCyclesHigh1)) << 32) | low;
}
inline uint32_t ClockHz() { return Read(kClockHz); }
inline uint32_t CoreId() { return Read(kCoreId); }

// Memory model: "cold" = SetMemoryModel(true) and EmptyCaches(); "warm" = SetMemoryModel(false).
inline void EmptyCaches() { Write(kEmptyCaches, 1); }
inline void SetMemoryModel(bool on) { Write(kMemoryModel, on ? 1 : 0); }

// Copy engine. Units are copied in the order they are started. The destination holds 0xDB bytes
// until the unit has been waited for.
inline uint32_t CopyStart(void* destination, const void* source, uint32_t length) {
  Write(kCopySource, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(source)));
  Write(kCopyDestination, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(destination)));
  Write(kCopyLength, length);
  Write(kCopyStart, 1);
  return Read(kCopyStart);  // the unit's ticket
}
inline void CopyWait(uint32_t ticket) { Write(kCopyWait, ticket); }
inline uint32_t CopyArrived() { return Read(kCopyArrived); }

// Core 1 runs `function(argument)` on its own stack and is parked again when it returns.
void StartCore1(void (*function)(void*), void* argument);
inline bool Core1Running() { return Read(kCore1Start) != 0; }
// Both cores wait for each other. No effect while core 1 is parked.
inline void Barrier() { Write(kBarrier, 1); }
// Words between the cores, queued; receiving waits.
inline void MailboxSend(uint32_t core, uint32_t word) {
  Write(core == 0 ? kMailbox0 : kMailbox1, word);
}
inline uint32_t MailboxReceive() { return Read(kMailboxReceive); }
inline uint32_t MailboxCount() { return Read(kMailboxCount); }

// Any access of the given kind in [start, end) stops the simulation with an error.
enum GuardKind : uint32_t { kGuardLoads = 1, kGuardStores = 2, kGuardBoth = 3 };
inline void GuardAdd(const void* start, const void* end, GuardKind kind) {
  Write(kGuardStart, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(start)));
  Write(kGuardEnd, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(end)));
  Write(kGuardAdd, kind);
}
inline void GuardClear() { Write(kGuardClear, 1); }

// Timer interrupts of this core, `shortest` to `longest` cycles apart. Without a handler of the
// firmware's own (mtvec, and mie.MTIE) the simulator switches to the core's next task, as ESP-IDF
// does; 0, 0 ends them.
inline void SetInterrupts(uint32_t shortest, uint32_t longest) {
  Write(kInterruptShortest, shortest);
  Write(kInterruptLongest, longest);
}
// One after every round of a hardware loop, too.
inline void SetLoopInterrupts(bool on) { Write(kInterruptLoops, on ? 1 : 0); }
inline uint32_t InterruptCount() { return Read(kInterruptCount); }

// Another task of this core runs `function(argument)` on a stack of its own and ends when it
// returns. What runs from reset on is a task, too. Tasks take turns with every timer interrupt and
// with YieldTask; a barrier or the mailbox holds up all of a core's.
void StartTask(void (*function)(void*), void* argument, void* stack_top);
inline uint32_t TaskCount() { return Read(kTaskStart); }
inline void YieldTask() { Write(kTaskYield, 1); }

// One character to the simulator's standard error, past the UART.
inline void DebugPut(char ch) { Write(kDebugCharacter, static_cast<uint8_t>(ch)); }
inline void DebugPrint(const char* text) {
  while (*text != 0) DebugPut(*text++);
}

}  // namespace p4sim

#endif  // ESPGEN_BOARDS_SIMULATOR_BOARD_H_
