// The operating system that the simulator plays: a core's timer interrupt, and tasks that it
// switches as ESP-IDF does.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace p4 {

// What a release of ESP-IDF keeps of the vector unit when another task of the core uses it; CFG is
// kept by none.
struct SwitchRules {
  bool keeps_q3 = true;
  bool exchanges_sar = false;  // SAR comes back as FFT_BIT_WIDTH, and the other way round
};
constexpr SwitchRules kIdf53 = {false, true};  // up to 5.5.5
constexpr SwitchRules kIdf60 = {true, false};

struct VectorState {
  uint8_t q[8][16] = {};
  uint8_t qacc[64] = {};
  uint8_t ua_state[16] = {};
  uint64_t xacc = 0;
  uint32_t sar = 0, sar_byte = 0, fft_bit_width = 0;
};

enum class LeavingTask : uint8_t { kNo, kYields, kEnds };

// A task that does not run.
struct Task {
  uint32_t x[33] = {};
  uint32_t pc = 0;
  uint32_t f[32] = {};
  uint32_t frm = 0;
  uint32_t loop_start[2] = {}, loop_end[2] = {}, loop_count[2] = {};
  bool has_vector_state = false;
  VectorState vector;
};

// Of one core.
struct Tasks {
  std::vector<std::unique_ptr<Task>> all;  // the first one is what runs from reset on
  size_t running = 0;
  const Task* vector_owner = nullptr;      // whose values the vector unit's registers hold
  uint32_t entry = 0, stack = 0, end = 0;  // of the next task: first instruction, stack pointer, ra
  // Interrupts: the shortest and the longest time from one to the next in cycles; none while
  // `longest` is 0.
  uint32_t shortest = 0, longest = 0;
  bool at_loop_ends = false;  // after every round of a hardware loop, too
  uint64_t random = 1;
  uint64_t due = ~0ull;
  uint64_t interrupts = 0, switches = 0, vector_switches = 0;
};

}  // namespace p4
