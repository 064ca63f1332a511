// UART0 registers like the chip's, and the simulator's own device registers
// (firmware/boards/simulator/board.h names them for the firmware).
#include <algorithm>
#include <cstdio>

#include "machine.h"
#include "uart.h"

namespace p4 {
namespace {

constexpr uint32_t kFifoSize = 128;

// UART0 registers, offsets as in the chip.
enum UartRegister : uint32_t {
  kUartFifo = 0x00,
  kUartInterruptRaw = 0x04,
  kUartInterruptStatus = 0x08,
  kUartInterruptEnable = 0x0C,
  kUartInterruptClear = 0x10,
  kUartStatus = 0x1C,
  kUartConf0 = 0x20,
};
constexpr uint32_t kConf0ReceiveReset = 1u << 22;

enum DeviceRegister : uint32_t {
  kExit = 0x00,
  kEmptyCaches = 0x04,
  kMemoryModel = 0x08,
  kCoreId = 0x0C,
  kCyclesLow0 = 0x10,  // reading the low half latches the high half
  kCyclesHigh0 = 0x14,
  kCyclesLow1 = 0x18,
  kCyclesHigh1 = 0x1C,
  kStallsLow0 = 0x20,
  kStallsHigh0 = 0x24,
  kStallsLow1 = 0x28,
  kStallsHigh1 = 0x2C,
  kMagic = 0x30,
  kClock = 0x34,
  kCopySource = 0x40,
  kCopyDestination = 0x44,
  kCopyLength = 0x48,
  kCopyStart = 0x4C,  // read: ticket of the unit started last
  kCopyWait = 0x50,   // write a ticket
  kCopyArrived = 0x54,
  kCore1Entry = 0x60,
  kCore1Stack = 0x64,
  kCore1Start = 0x68,
  kBarrier = 0x70,
  kMailbox0 = 0x80,  // write: a word for core 0
  kMailbox1 = 0x84,
  kMailboxReceive = 0x88,  // read: waits for a word for this core
  kMailboxCount = 0x8C,
  kGuardStart = 0x90,
  kGuardEnd = 0x94,
  kGuardAdd = 0x98,  // write: 1 loads, 2 stores, 3 both
  kGuardClear = 0x9C,
  kDebugCharacter = 0xA0,
  kInterruptShortest = 0xB0,  // cycles from one interrupt to the next, at least
  kInterruptLongest = 0xB4,   // and at most; writing starts them, 0 ends them
  kInterruptLoops = 0xB8,     // 1: after every round of a hardware loop, too
  kInterruptCount = 0xBC,
  kTaskEntry = 0xC0,
  kTaskStack = 0xC4,
  kTaskReturn = 0xC8,
  kTaskStart = 0xCC,  // write: its argument; read: tasks of this core
  kTaskYield = 0xD0,
  kTaskEnd = 0xD4,
};

[[noreturn]] void BadRegister(uint32_t address) {
  Stop stop;
  stop.error = "no such device register";
  stop.address = address;
  stop.has_address = true;
  throw stop;
}

}  // namespace

uint32_t Machine::DeviceLoad(Core& core, const Op* op, uint32_t address) {
  if (address < kDeviceBase) {
    switch (address - kUartBase) {
      case kUartFifo:
        return uart->Get();
      case kUartInterruptRaw:
      case kUartInterruptStatus:
        return (uart->Available() != 0 ? 1u : 0u) | 2u;
      case kUartStatus: {
        const uint32_t received = std::min(uart->Available(), kFifoSize - 1);
        const uint32_t sent = uart->OutputPending() != 0 ? kFifoSize - 1 : 0;
        core.cycles += static_cast<uint64_t>(uart->TakeSlept() * parameters.clock_hz);
        return received | (sent << 16);
      }
      default:
        return 0;
    }
  }
  const uint32_t offset = address - kDeviceBase;
  switch (offset) {
    case kMemoryModel:
      return core.memory_model;
    case kCoreId:
      return static_cast<uint32_t>(core.id);
    case kCyclesLow0:
    case kCyclesLow1:
    case kStallsLow0:
    case kStallsLow1: {
      const Core& asked = cores[(offset >> 3) & 1];
      const bool cycle_counter = offset < kStallsLow0;
      uint64_t value = cycle_counter ? asked.cycles : asked.stalls;
      if (cycle_counter && &asked == &core) value = core.Now(op);
      core.latched_high = static_cast<uint32_t>(value >> 32);
      return static_cast<uint32_t>(value);
    }
    case kCyclesHigh0:
    case kCyclesHigh1:
    case kStallsHigh0:
    case kStallsHigh1:
      return core.latched_high;
    case kMagic:
      return 0x50345349;
    case kClock:
      return static_cast<uint32_t>(parameters.clock_hz);
    case kCopySource:
      return core.copy_source;
    case kCopyDestination:
      return core.copy_destination;
    case kCopyLength:
      return core.copy_length;
    case kCopyStart:
      return copy.started;
    case kCopyArrived: {
      uint32_t arrived = copy.finished;
      for (const Copy& unit : copy.queue) arrived += unit.done <= core.Now(op);
      return arrived;
    }
    case kCore1Start:
      return cores[1].wait != Wait::kParked;
    case kMailboxReceive: {
      std::deque<uint32_t>& box = mailbox[core.id];
      if (box.empty()) {
        core.wait = Wait::kMailbox;
        throw Yield{op, true};
      }
      const uint32_t word = box.front();
      box.pop_front();
      return word;
    }
    case kInterruptShortest:
      return core.tasks.shortest;
    case kInterruptLongest:
      return core.tasks.longest;
    case kInterruptLoops:
      return core.tasks.at_loop_ends;
    case kInterruptCount:
      return static_cast<uint32_t>(core.tasks.interrupts);
    case kTaskStart:
      return static_cast<uint32_t>(std::max<size_t>(1, core.tasks.all.size()));
    case kMailboxCount:
      return static_cast<uint32_t>(mailbox[core.id].size());
    default:
      BadRegister(address);
  }
}

void Machine::DeviceStore(Core& core, const Op* op, uint32_t address, uint32_t value) {
  if (address < kDeviceBase) {
    const uint32_t offset = address - kUartBase;
    if (offset == kUartFifo) uart->Put(static_cast<uint8_t>(value));
    if (offset == kUartConf0 && (value & kConf0ReceiveReset) != 0) uart->ClearInput();
    return;
  }
  switch (address - kDeviceBase) {
    case kExit: {
      Stop stop;
      stop.status = static_cast<int>(value & 0xFF);
      throw stop;
    }
    case kEmptyCaches:
      EmptyCaches();
      return;
    case kMemoryModel:
      for (Core& each : cores) each.memory_model = value != 0;
      SetFastWay(sharing);
      return;
    case kCopySource:
      core.copy_source = value;
      return;
    case kCopyDestination:
      core.copy_destination = value;
      return;
    case kCopyLength:
      core.copy_length = value;
      return;
    case kCopyStart:
      StartCopy(core, op);
      return;
    case kCopyWait:
      FinishCopies(core, op, value);
      return;
    case kCore1Entry:
      core1_entry = value;
      return;
    case kCore1Stack:
      core1_stack = value;
      return;
    case kCore1Start:
      if (value == 0) {
        if (core.id != 1) BadRegister(address);
        core.wait = Wait::kParked;
        throw Yield{op, false};
      }
      if (cores[1].wait == Wait::kParked) {
        Core& other = cores[1];
        other.pc = core1_entry;
        other.x[2] = core1_stack;
        other.cycles = core.Now(op);
        other.wait = Wait::kNone;
        throw Yield{op, false};
      }
      return;
    case kBarrier:
      if (cores[1].wait != Wait::kParked) {
        core.wait = Wait::kBarrier;
        throw Yield{op, false};
      }
      return;
    case kMailbox0:
      mailbox[0].push_back(value);
      throw Yield{op, false};
    case kMailbox1:
      mailbox[1].push_back(value);
      throw Yield{op, false};
    case kGuardStart:
      guard_start = value;
      return;
    case kGuardEnd:
      guard_end = value;
      return;
    case kGuardAdd:
      AddGuard({guard_start, guard_end, static_cast<uint8_t>(value & 3)});
      return;
    case kGuardClear:
      ClearGuards();
      return;
    case kDebugCharacter:
      fputc(static_cast<int>(value & 0xFF), stderr);
      return;
    case kInterruptShortest:
      core.tasks.shortest = value;
      return;
    case kInterruptLongest:
      SetInterrupts(core, core.Now(op), core.tasks.shortest, value);
      throw Yield{op, false};
    case kInterruptLoops:
      SetLoopInterrupts(core, value != 0);
      throw Yield{op, false};
    case kTaskEntry:
      core.tasks.entry = value;
      return;
    case kTaskStack:
      core.tasks.stack = value;
      return;
    case kTaskReturn:
      core.tasks.end = value;
      return;
    case kTaskStart:
      StartTask(core, value);
      throw Yield{op, false};
    case kTaskYield:
      core.leaving_task = LeavingTask::kYields;
      throw Yield{op, false};
    case kTaskEnd:
      core.leaving_task = LeavingTask::kEnds;
      throw Yield{op, false};
    default:
      BadRegister(address);
  }
}

}  // namespace p4
