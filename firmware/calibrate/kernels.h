// The table of kernels: walks.S and what `espgen calibrate` made of its records (kernels.S).
#ifndef ESPGEN_CALIBRATE_KERNELS_H_
#define ESPGEN_CALIBRATE_KERNELS_H_

#include <stdint.h>

extern "C" {

// Runs `count` rounds. Walks go through [base, base + limit) in steps of `stride`; others use what
// lies at base.
using CalibrateKernel = void (*)(uint32_t count, uint8_t* base, uint32_t stride, uint32_t limit);

struct CalibrateEntry {
  const char* name;
  CalibrateKernel kernel;
};

extern const CalibrateEntry calibrate_kernels[];
extern const uint32_t calibrate_kernel_count;

// Lines of code that jump to each other.
extern uint8_t calibrate_sled[];
extern uint8_t calibrate_sled_end[];
}

#endif  // ESPGEN_CALIBRATE_KERNELS_H_
