// Two tasks on one core: a model, and one that uses the vector unit as it likes (disturb.S), with
// or without the lock. Compiled into an image of components; cases.h, disturb.S and the upper-case
// names are the test's. Runs before main: what the tests want goes to the
// UART, or the agent starts with the other task behind its back.
#include "boards/simulator/board.h"
#include "cases.h"
#include "espgen/port.h"

extern "C" void disturb(uint32_t how);

namespace {

alignas(16) uint8_t stack[8192];
volatile bool finish;
volatile uint32_t others_runs;

#if OTHER == OTHER_MODEL
void Other(void*) {
  static int8_t result[other_output_bytes];
  for (uint32_t i = 0; !finish; i = (i + 1) % other_samples) {
    const bool right = infer_other(other_inputs[i], result) == espgen::Status::kOk &&
                       memcmp(result, other_outputs[i], sizeof result) == 0;
    if (!right) p4sim::Exit(97);
    others_runs = others_runs + 1;
  }
}
#elif OTHER == OTHER_SCALAR
void Other(void*) {
  while (!finish) others_runs = others_runs + 1;
}
#else
void Other(void*) {
  while (!finish) {
#if LOCKED
    const espgen::VectorLock lock;
#endif
    for (uint32_t i = 0; i < 20; ++i) disturb(OTHER);
    others_runs = others_runs + 1;
  }
}
#endif

void StartOther() {
#if OTHER != OTHER_NONE
  p4sim::StartTask(Other, nullptr, stack + sizeof stack);
#endif
  p4sim::SetInterrupts(SHORTEST, LONGEST);
}

#if !SERVED
__attribute__((constructor)) void Test() {
  static int8_t result[model_output_bytes];
  StartOther();
  for (uint32_t i = 0; i < RUNS; ++i) {
    const uint8_t status =
        static_cast<uint8_t>(infer_model(model_inputs[i % model_samples], result));
    p4sim::UartWrite(&status, 1);
    p4sim::UartWrite(result, sizeof result);
  }
  finish = true;
  if (OTHER != OTHER_NONE && others_runs == 0) p4sim::Exit(98);
  p4sim::Exit(0);
}
#else
__attribute__((constructor)) void Test() { StartOther(); }
#endif

}  // namespace
