// Execution: the block loop of one core, and the two cores against each other.
#include <algorithm>
#include <csignal>
#include <cstdio>

#include "machine.h"
#include "uart.h"

namespace p4 {

void UpdateMemo(Machine& machine, Block& block, int carry);

volatile std::sig_atomic_t interrupted = 0;

namespace {

constexpr uint64_t kSlice = 1 << 20;

// The end instruction of a hardware loop has retired sequentially: back to the start?
bool LoopBack(Core& core, uint32_t end) {
  for (int loop = 0; loop < 2; ++loop) {
    if (core.loop_end[loop] == end && core.loop_count[loop] > 1) {
      if (!core.loop_checked[loop]) CheckLoop(core, &core.block->ops[core.block->count - 1], loop);
      --core.loop_count[loop];
      core.pc = core.loop_start[loop];
      return true;
    }
  }
  return false;
}

// Accounts for a block left at `op`; returns how many instructions have retired.
uint64_t LeaveBlock(Core& core, const Op* op, bool retire) {
  const uint64_t retired = static_cast<uint64_t>(op - core.block->ops.data()) + (retire ? 1 : 0);
  core.instructions += retired;
  core.cycles += op->issue + (retire ? 1u : 0u);
  core.pc = core.block->pc + (retire ? op[1].offset : op->offset);
  core.carry = 0;
  return retired;
}

}  // namespace

void Machine::RunCore(Core& core, uint64_t until) {
  core.retired.clear();
  const bool profiling = !options.profile.empty();
  uint64_t cycles_before = core.cycles, stalls_before = core.stalls;
  const auto charge = [&](const Block& block, uint64_t instructions) {
    FunctionProfile& profile = *block.profile;
    profile.calls += block.enters_function;
    profile.cycles += core.cycles - cycles_before;
    profile.stalls += core.stalls - stalls_before;
    profile.instructions += instructions;
  };
  try {
    Block* block = FindBlock(core, core.pc);
    for (;;) {
      cycles_before = core.cycles;
      stalls_before = core.stalls;
      core.block = block;
      int fall = block->carry_fall, taken_carry = block->carry_taken;
      if (core.carry != 0) {
        if (block->memo_carry != core.carry) UpdateMemo(*this, *block, core.carry);
        core.cycles += static_cast<uint32_t>(block->memo_extra);
        fall = block->memo_fall;
        taken_carry = block->memo_taken;
      }
      const Op* first = block->ops.data();
      first->handler(core, first);
      core.instructions += block->count;
      uint32_t way = core.taken;
      if (way != 0) {
        core.cycles += block->cycles + block->taken_cycles;
        core.carry = taken_carry;
      } else {
        core.cycles += block->cycles;
        core.carry = fall;
        if (block->loop_end) way = LoopBack(core, block->last);
      }
      if (profiling) charge(*block, block->count);
      if (core.cycles >= until) return;
      Block* next = block->next[way];
      if (next == nullptr || next->pc != core.pc) {
        next = FindBlock(core, core.pc);
        block->next[way] = next;
      }
      block = next;
    }
  } catch (const Yield& yield) {
    const uint64_t retired = LeaveBlock(core, yield.op, !yield.retry);
    if (profiling) charge(*core.block, retired);
  } catch (Stop& stop) {
    if (core.block == nullptr || core.leaving == nullptr) throw;
    const bool clean = stop.error.empty();
    const uint64_t retired = LeaveBlock(core, core.leaving, clean);
    if (profiling) charge(*core.block, retired);
    if (!clean) {
      char text[32];
      snprintf(text, sizeof text, "; core %d, pc 0x%08x", core.id, core.pc);
      stop.error += text;
      const FunctionProfile* function = ProfileOf(core.pc);
      if (function != &functions.back()) stop.error += " in " + function->name;
    }
    throw;
  }
}

Stop Machine::Run() {
  try {
    for (;;) {
      if (interrupted != 0) {
        Stop stop;
        stop.error = "interrupted";
        throw stop;
      }
      const bool runs0 = cores[0].wait == Wait::kNone, runs1 = cores[1].wait == Wait::kNone;
      if (!runs0 && !runs1) {
        Stop stop;
        stop.error = "no core can run: both wait or are parked";
        throw stop;
      }
      const int chosen = !runs0 || (runs1 && cores[1].cycles < cores[0].cycles) ? 1 : 0;
      Core& core = cores[chosen];
      Core& other = cores[1 - chosen];
      const bool both = runs0 && runs1;
      contention_unit = both ? static_cast<uint32_t>(parameters.port_contention * 1000) : 0;
      uint64_t until = both ? other.cycles + static_cast<uint64_t>(parameters.core_quantum)
                            : core.cycles + kSlice;
      until = std::min(std::max(until, core.cycles + 1), options.max_cycles);
      if (core.cycles >= options.max_cycles) {
        Stop stop;
        stop.error = "cycle limit reached";
        throw stop;
      }
      RunCore(core, until);
      if (core.wait == Wait::kBarrier && other.wait == Wait::kBarrier) {
        const uint64_t time =
            std::max(core.cycles, other.cycles) + static_cast<uint64_t>(parameters.barrier);
        core.cycles = other.cycles = time;
        core.wait = other.wait = Wait::kNone;
      }
      for (Core& each : cores) {
        if (each.wait == Wait::kMailbox && !mailbox[each.id].empty()) {
          each.cycles = std::max(each.cycles, core.cycles);
          each.wait = Wait::kNone;
        }
      }
      if (uart != nullptr) uart->Flush(false);
    }
  } catch (const Stop& stop) {
    return stop;
  }
}

}  // namespace p4
