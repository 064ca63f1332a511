/* The same program runs as a Linux process in qemu-riscv32 and on the simulator: only Put and the
 * start differ. */
#ifndef PROGRAM_H_
#define PROGRAM_H_

#include <stdint.h>

/* Rounding modes to go through: all but "to nearest, ties away", which hosts do not have. */
#define MODES 4

#ifdef ON_LINUX
static long Call(long number, long a, long b, long c) {
  register long a0 __asm__("a0") = a;
  register long a1 __asm__("a1") = b;
  register long a2 __asm__("a2") = c;
  register long a7 __asm__("a7") = number;
  __asm__ volatile("ecall" : "+r"(a0) : "r"(a1), "r"(a2), "r"(a7) : "memory");
  return a0;
}
static void Put(char ch) { Call(64, 1, (long)&ch, 1); }
int main(void);
void _start(void) { Call(93, main(), 0, 0); }
#else
static void Put(char ch) { *(volatile uint32_t*)0x500CA000u = (uint8_t)ch; }
#endif

static uint32_t random_state = 12345;
static uint32_t Random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 17;
  random_state ^= random_state << 5;
  return random_state;
}

static void Print(const char* name, uint32_t value) {
  while (*name != 0) Put(*name++);
  Put(' ');
  for (int shift = 28; shift >= 0; shift -= 4) Put("0123456789abcdef"[value >> shift & 15]);
  Put('\n');
}

#endif /* PROGRAM_H_ */
