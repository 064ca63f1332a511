// A float loop of 35 instructions, 19 of them accesses, alone or on both cores at once; or beside a
// core that misses L1 all the time. Writes hundredths of cycles per iteration to UART0.
#include "check.h"

namespace {

alignas(64) float values[2][32];
alignas(64) [[maybe_unused]] uint8_t far_apart[256 * 1024];
volatile bool done;

uint32_t Loop(float* data, uint32_t rounds) {
  uint32_t before, after;
  asm volatile(
      "csrr %0, mcycle\n"
      ".balign 4\n"
      "1:\n"
      "flw f0, 0(%2)\n flw f1, 4(%2)\n flw f12, 40(%2)\n fmul.s f16, f0, f1\n"
      "flw f2, 8(%2)\n flw f3, 12(%2)\n fadd.s f16, f16, f12\n flw f13, 44(%2)\n"
      "fmul.s f17, f2, f3\n fsw f16, 64(%2)\n flw f4, 16(%2)\n flw f5, 20(%2)\n"
      "fadd.s f17, f17, f13\n addi a5, a5, 1\n fmul.s f28, f4, f5\n fsw f17, 68(%2)\n"
      "flw f14, 48(%2)\n flw f6, 24(%2)\n flw f7, 28(%2)\n fadd.s f28, f28, f14\n"
      "fmul.s f29, f6, f7\n flw f15, 52(%2)\n fsw f28, 72(%2)\n flw f10, 32(%2)\n"
      "flw f11, 36(%2)\n fadd.s f29, f29, f15\n addi a5, a5, 1\n fmul.s f30, f10, f11\n"
      "fsw f29, 76(%2)\n addi a5, a5, 1\n fadd.s f30, f30, f12\n addi %3, %3, -1\n"
      "addi a5, a5, 1\n fsw f30, 80(%2)\n"
      "bnez %3, 1b\n"
      "csrr %1, mcycle\n"
      : "=&r"(before), "=&r"(after)
      : "r"(data), "r"(rounds)
      : "a5", "memory", "f0", "f1", "f2", "f3", "f4", "f5", "f6", "f7", "f10", "f11", "f12", "f13",
        "f14", "f15", "f16", "f17", "f28", "f29", "f30");
  return after - before;
}

[[maybe_unused]] void Same(void*) {
  p4sim::Barrier();
  Loop(values[1], 1100);
  done = true;
}

[[maybe_unused]] void Miss(void*) {
  p4sim::Barrier();
  for (uint32_t at = 0; !done; at = (at + 64) % sizeof far_apart) {
    asm volatile("lbu a5, 0(%0)" ::"r"(far_apart + at) : "a5", "memory");
  }
}

}  // namespace

extern "C" int main() {
  Loop(values[0], 10);
#ifdef TWO_CORES
#ifdef MISSES
  p4sim::StartCore1(Miss, nullptr);
#else
  p4sim::StartCore1(Same, nullptr);
#endif
  p4sim::Barrier();
#endif
  uint32_t hundredths = Loop(values[0], 1000) / 10;
  done = true;
  char text[12];
  int length = 0;
  do {
    text[length++] = static_cast<char>('0' + hundredths % 10);
    hundredths /= 10;
  } while (hundredths != 0);
  while (length != 0) p4sim::UartPut(static_cast<uint8_t>(text[--length]));
  return 0;
}
