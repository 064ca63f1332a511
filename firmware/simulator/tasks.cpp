// Timer interrupts, traps, and the switch between tasks of a core.
#include "tasks.h"

#include <algorithm>

#include "machine.h"

namespace p4 {
namespace {

constexpr uint32_t kInterruptsOn = 8;          // mstatus.MIE
constexpr uint32_t kInterruptsWereOn = 0x80;   // mstatus.MPIE
constexpr uint32_t kTimerOn = 0x80;            // mie.MTIE
constexpr uint32_t kTimerCause = 0x80000007u;  // mcause
constexpr uint32_t kFrame = 160;  // what ESP-IDF's interrupt entry writes below the stack pointer

// A number in shortest .. longest (SplitMix64).
uint64_t NextInterval(Tasks& tasks) {
  uint64_t z = tasks.random += 0x9E3779B97F4A7C15u;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  const uint64_t first = std::max<uint64_t>(1, tasks.shortest);
  return first + z % (std::max<uint64_t>(first, tasks.longest) - first + 1);
}

bool InterruptsOn(const Core& core) { return (core.mstatus & kInterruptsOn) != 0; }

void SaveVectors(const Core& core, VectorState& state) {
  memcpy(state.q, core.q, sizeof state.q);
  memcpy(state.qacc, core.qacc, sizeof state.qacc);
  memcpy(state.ua_state, core.ua_state, sizeof state.ua_state);
  state.xacc = core.xacc;
  state.sar = core.sar;
  state.sar_byte = core.sar_byte;
  state.fft_bit_width = core.fft_bit_width;
}

void RestoreVectors(Core& core, const VectorState& state, const SwitchRules& rules) {
  for (int q = 0; q < 8; ++q) {
    if (q != 3 || rules.keeps_q3) memcpy(core.q[q], state.q[q], sizeof core.q[q]);
  }
  memcpy(core.qacc, state.qacc, sizeof state.qacc);
  memcpy(core.ua_state, state.ua_state, sizeof state.ua_state);
  core.xacc = state.xacc;
  core.sar = (rules.exchanges_sar ? state.fft_bit_width : state.sar) & 63;
  core.fft_bit_width = (rules.exchanges_sar ? state.sar : state.fft_bit_width) & 15;
  core.sar_byte = state.sar_byte;
}

Task& FirstTask(Tasks& tasks) {
  if (tasks.all.empty()) {
    tasks.all.push_back(std::make_unique<Task>());
    tasks.vector_owner = tasks.all[0].get();
  }
  return *tasks.all[tasks.running];
}

void Leave(const Core& core, Task& task) {
  memcpy(task.x, core.x, sizeof task.x);
  memcpy(task.f, core.f, sizeof task.f);
  task.pc = core.pc;
  task.frm = core.frm;
  memcpy(task.loop_start, core.loop_start, sizeof task.loop_start);
  memcpy(task.loop_end, core.loop_end, sizeof task.loop_end);
  memcpy(task.loop_count, core.loop_count, sizeof task.loop_count);
}

void Enter(Core& core, const Task& task) {
  memcpy(core.x, task.x, sizeof task.x);
  memcpy(core.f, task.f, sizeof task.f);
  core.pc = task.pc;
  core.frm = task.frm;
  memcpy(core.loop_start, task.loop_start, sizeof task.loop_start);
  memcpy(core.loop_end, task.loop_end, sizeof task.loop_end);
  memcpy(core.loop_count, task.loop_count, sizeof task.loop_count);
  core.loop_checked[0] = core.loop_checked[1] = false;
  core.carry = 0;
  core.reserved = false;
}

// The interrupted task's registers go to its stack, as they do on the chip: what a program keeps
// below its stack pointer is lost.
void PushFrame(const Machine& machine, const Core& core) {
  uint32_t frame[kFrame / 4] = {};
  frame[0] = core.pc;
  memcpy(frame + 1, core.x + 1, 31 * sizeof core.x[0]);
  const uint32_t start = core.x[2] - kFrame;
  uint8_t* first = machine.Translate(start, true);
  if (first != nullptr && machine.Translate(core.x[2] - 1, true) == first + kFrame - 1) {
    memcpy(first, frame, kFrame);
  }
}

}  // namespace

void Machine::SetAttention(Core& core) {
  Tasks& tasks = core.tasks;
  const bool switched_off =
      !tasks.all.empty() && tasks.vector_owner != tasks.all[tasks.running].get();
  if (switched_off || tasks.at_loop_ends) {
    core.attention = 0;
  } else {
    core.attention = InterruptsOn(core) ? tasks.due : ~0ull;
  }
}

void Machine::SetInterrupts(Core& core, uint64_t now, uint32_t shortest, uint32_t longest) {
  core.tasks.shortest = shortest;
  core.tasks.longest = longest;
  core.tasks.due = longest == 0 ? ~0ull : now + NextInterval(core.tasks);
  if (longest != 0) core.mstatus |= kInterruptsOn;
  SetAttention(core);
}

void Machine::SetLoopInterrupts(Core& core, bool on) {
  core.tasks.at_loop_ends = on;
  if (on) core.mstatus |= kInterruptsOn;
  SetAttention(core);
}

void Machine::StartTask(Core& core, uint32_t argument) {
  Tasks& tasks = core.tasks;
  FirstTask(tasks);
  auto task = std::make_unique<Task>();
  task->pc = tasks.entry;
  task->x[1] = tasks.end;
  task->x[2] = tasks.stack;
  task->x[3] = core.x[3];
  task->x[4] = core.x[4];
  task->x[10] = argument;
  tasks.all.push_back(std::move(task));
  SetAttention(core);
}

void Machine::SwitchTask(Core& core) {
  Tasks& tasks = core.tasks;
  if (tasks.all.size() < 2) return;
  Leave(core, FirstTask(tasks));
  tasks.running = (tasks.running + 1) % tasks.all.size();
  Enter(core, *tasks.all[tasks.running]);
  ++tasks.switches;
}

bool Machine::EndTask(Core& core) {
  Tasks& tasks = core.tasks;
  if (tasks.all.size() < 2) return false;
  if (tasks.vector_owner == tasks.all[tasks.running].get()) tasks.vector_owner = nullptr;
  tasks.all.erase(tasks.all.begin() + static_cast<std::ptrdiff_t>(tasks.running));
  tasks.running %= tasks.all.size();
  Enter(core, *tasks.all[tasks.running]);
  ++tasks.switches;
  SetAttention(core);
  return true;
}

void Machine::Interrupt(Core& core) {
  Tasks& tasks = core.tasks;
  ++tasks.interrupts;
  if (tasks.longest != 0) tasks.due = core.cycles + NextInterval(tasks);
  core.carry = 0;
  core.reserved = false;
  if (core.mtvec != 0 && (core.mie & kTimerOn) != 0) {
    core.mepc = core.pc;
    core.mcause = kTimerCause;
    core.mstatus = (core.mstatus & ~kInterruptsOn) | kInterruptsWereOn;
    core.pc = core.mtvec & ~3u;
    return;
  }
  PushFrame(*this, core);
  SwitchTask(core);
}

Block* Machine::Attend(Core& core, Block* block) {
  Tasks& tasks = core.tasks;
  const bool at_loop_end = core.loop_end_at == core.cycles;
  if (InterruptsOn(core) && (core.cycles >= tasks.due || (at_loop_end && tasks.at_loop_ends))) {
    if (at_loop_end) RuinBrokenLoop(core);
    Interrupt(core);
    block = FindBlock(core, core.pc);
  }
  if (block->uses_vectors && !tasks.all.empty()) {
    Task* task = tasks.all[tasks.running].get();
    if (tasks.vector_owner != task) {
      for (const auto& other : tasks.all) {
        if (other.get() != tasks.vector_owner) continue;
        SaveVectors(core, other->vector);
        other->has_vector_state = true;
      }
      // A task's first use finds whatever the unit holds.
      if (task->has_vector_state) RestoreVectors(core, task->vector, options.switch_rules);
      tasks.vector_owner = task;
      ++tasks.vector_switches;
    }
  }
  SetAttention(core);
  if (!InterruptsOn(core) || core.cycles + block->cycles <= tasks.due) return block;
  // Interrupted before its end: run the instructions that issue before that.
  uint32_t count = 1;
  const uint64_t left = tasks.due - core.cycles;
  while (count < block->count && block->ops[count].issue < left) ++count;
  return count == block->count ? block : ShortBlock(core, block->pc, count);
}

}  // namespace p4
