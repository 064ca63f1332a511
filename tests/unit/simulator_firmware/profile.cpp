// Two functions of known length for the profile, called from main.
#include "check.h"

extern "C" {
void Straight();
void Loop(uint32_t count);
}
asm(R"(
    .text
    .option push
    .option norvc
    .globl Straight
    .type Straight, @function
Straight:
    .rept 20
    addi a0, a0, 1
    .endr
    ret
    .size Straight, . - Straight
    .globl Loop
    .type Loop, @function
Loop:
.Lagain:
    addi a0, a0, -1
    bnez a0, .Lagain
    ret
    .size Loop, . - Loop
    .option pop
)");

extern "C" int main() {
  for (int i = 0; i < 5; ++i) Straight();
  Loop(100);
  return 0;
}
