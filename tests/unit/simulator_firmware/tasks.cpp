// Two tasks on one core, switched by timer interrupts: each keeps its registers, and of the vector
// unit's what the simulated system keeps, which goes to the UART.
#include "check.h"

struct VectorRegisters {
  uint8_t q[8][16];
  uint32_t sar, fft_bit_width, cfg;
};
extern "C" {
void set_vectors(const VectorRegisters* state);
void get_vectors(VectorRegisters* state);
uint32_t count_rounds(uint32_t rounds);  // by a hardware loop
void trap();                             // counts trap_count, uses every register it may
uint32_t trap_count;
}

namespace {

alignas(16) uint8_t stack[4096];
volatile uint32_t other_rounds, other_failed;
volatile bool finish;

void Fill(VectorRegisters& state, uint8_t value, uint32_t sar, uint32_t fft, uint32_t cfg) {
  for (auto& q : state.q) {
    for (uint8_t& lane : q) lane = value++;
  }
  state.sar = sar;
  state.fft_bit_width = fft;
  state.cfg = cfg;
}

float Sum(uint32_t count) {
  float sum = 0;
  for (uint32_t i = 0; i < count; ++i) sum = sum * 0.5f + static_cast<float>(i);
  return sum;
}

void Other(void* argument) {
  alignas(16) VectorRegisters state;
  Fill(state, 0x80, 9, 12, 0);
  const float expected = Sum(57);
  while (!finish) {
    if (argument != nullptr) set_vectors(&state);
    if (count_rounds(211) != 211 || Sum(57) != expected) other_failed = 1;
    other_rounds = other_rounds + 1;
  }
}

void Work(uint32_t rounds) {
  const float expected = Sum(91);
  for (uint32_t i = 0; i < rounds; ++i) {
    CHECK(count_rounds(500 + i) == 500 + i);
    CHECK(Sum(91) == expected);
  }
}

}  // namespace

extern "C" int main() {
#ifdef TRAP
  asm volatile("csrw mtvec, %0" ::"r"(trap));
  const uint32_t timer = 0x80;
  asm volatile("csrs mie, %0" ::"r"(timer));
  p4sim::SetInterrupts(50, 500);
  Work(100);
  asm volatile("csrci mstatus, 8");  // interrupts off
  const uint32_t before = trap_count;
  CHECK(before > 100 && before == p4sim::InterruptCount());
  Work(3);
  CHECK(trap_count == before);
  return 0;
#else
  CHECK(p4sim::TaskCount() == 1);
  alignas(16) VectorRegisters mine, found;
  Fill(mine, 0, 37, 5, 0x60);
  set_vectors(&mine);
#ifdef VECTORS
  void* argument = &mine;
#else
  void* argument = nullptr;
#endif
  p4sim::StartTask(Other, argument, stack + sizeof stack);
  CHECK(p4sim::TaskCount() == 2);
  CHECK(other_rounds == 0);  // nothing switches yet
  p4sim::SetInterrupts(50, 500);
  p4sim::YieldTask();
  Work(100);
  CHECK(other_rounds > 10 && other_failed == 0);
  get_vectors(&found);
  p4sim::UartWrite(&found, sizeof found);
  finish = true;
  while (p4sim::TaskCount() != 1) {
  }
  Work(10);
  get_vectors(&found);
  p4sim::UartWrite(&found, sizeof found);
  return 0;
#endif
}
