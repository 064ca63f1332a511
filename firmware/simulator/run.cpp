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
      core.cycles += core.machine->loop_back_cycles;
      core.pc = core.loop_start[loop];
      return true;
    }
  }
  return false;
}

// Trains a branch's 2-bit counter; whether it had predicted otherwise.
bool Mispredicts(uint8_t& counter, bool taken) {
  const bool wrong = (counter >= 2) != taken;
  if (taken) {
    if (counter < 3) ++counter;
  } else if (counter > 0) {
    --counter;
  }
  return wrong;
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
      if (core.cycles + block->cycles > core.attention) block = Attend(core, block);
      cycles_before = core.cycles;
      stalls_before = core.stalls;
      core.block = block;
      int left = block->carry, late = block->carry_late;
      if (core.memory_model &&
          (block->first_line != core.fetched_line || block->last_line != core.fetched_line)) {
        FetchLines(core, *block);
      }
      if (core.carry != 0) {
        if (block->memo_carry != core.carry) UpdateMemo(*this, *block, core.carry);
        core.cycles += static_cast<uint32_t>(block->memo_extra);
        left = block->memo_left;
        late = block->memo_late;
      }
      const Op* first = block->ops.data();
      first->handler(core, first);
      core.instructions += block->count;
      uint32_t way = core.taken;
      core.cycles += block->cycles;
      core.carry = left;
      if (block->predictor != nullptr) {
        if (Mispredicts(*block->predictor, way != 0)) {
          core.cycles += mispredicted_cycles;
          core.carry = late;
        } else if (way != 0) {
          core.cycles += predicted_cycles;
        }
      }
      if (way == 0 && block->loop_end) {
        way = LoopBack(core, block->last);
        core.loop_end_at = core.cycles;
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
    const LeavingTask leaving = core.leaving_task;
    core.leaving_task = LeavingTask::kNo;
    if (leaving == LeavingTask::kYields) SwitchTask(core);
    if (leaving == LeavingTask::kEnds && !EndTask(core)) {
      Stop stop;
      stop.error = "the last task of core " + std::to_string(core.id) + " has ended";
      throw stop;
    }
    SetAttention(core);
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
      // Whoever is behind; the one that waited for the port last where neither is.
      const bool tie = cores[0].cycles == cores[1].cycles;
      const bool behind1 = tie ? waited_last == 1 : cores[1].cycles < cores[0].cycles;
      const int chosen = !runs0 || (runs1 && behind1) ? 1 : 0;
      Core& core = cores[chosen];
      Core& other = cores[1 - chosen];
      const bool both = runs0 && runs1;
      SetFastWay(both);
      const uint64_t ahead = sharing ? 1 : static_cast<uint64_t>(parameters.core_quantum);
      uint64_t until = both ? other.cycles + ahead : core.cycles + kSlice;
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
