// Where a component's activations live. On the host every arena has guard bytes on both sides, so
// that a kernel which writes outside its buffers is caught; on the chip an arena is exactly its
// bytes.
//
// In one file of a model:
//   ESPGEN_ARENA(net_internal, 163840, ESPGEN_IN_INTERNAL);
//   const espgen::Arena kArenas[] = {ESPGEN_ARENA_ENTRY(net_internal, 163840)};
// and wherever an address is needed:
//   ESPGEN_AT(net_internal, 4096)
#ifndef ESPGEN_ARENA_H_
#define ESPGEN_ARENA_H_

#include <stddef.h>
#include <stdint.h>

#if defined(ESP_PLATFORM)
#include "esp_attr.h"
#include "sdkconfig.h"
#endif

namespace espgen {

#if defined(ESPGEN_HOST)
constexpr size_t kGuardBytes = 256;
#else
constexpr size_t kGuardBytes = 0;
#endif
// Kernels may read (not use) this many bytes past a buffer's end.
constexpr size_t kOverreadBytes = 16;

struct Arena {
  const char* name;
  uint8_t* base;  // the first byte of use; kGuardBytes before and after it belong to nobody
  uint32_t bytes;
};

// Bytes of an arena that only the steps first_step to last_step (both included) may touch. During a
// step, all bytes that no buffer holds belong to nobody: the agent can fill them before it and
// compare them after it.
struct LiveBuffer {
  uint16_t arena;  // index into Model::arenas
  uint32_t offset, bytes;
  uint32_t first_step, last_step;
};

}  // namespace espgen

// Sections of the memories. Internal RAM may lie in two pieces: _2 is the smaller one's. ESP-IDF's
// linker gives every array the first piece with room for it; the simulator board's linker script
// places the sections by these names.
#if defined(ESPGEN_HOST)
#define ESPGEN_IN_INTERNAL
#define ESPGEN_IN_INTERNAL_2
#define ESPGEN_IN_PSRAM
#elif defined(ESP_PLATFORM)
#define ESPGEN_IN_INTERNAL  // .bss is internal RAM; DRAM_ATTR would put the zeros into the image
#define ESPGEN_IN_INTERNAL_2
#if defined(CONFIG_SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY)
#define ESPGEN_IN_PSRAM EXT_RAM_BSS_ATTR
#else  // where it is used: EXT_RAM_BSS_ATTR would be empty, and the arena in internal RAM
#define ESPGEN_IN_PSRAM \
  _Pragma("GCC error \"set CONFIG_SPIRAM and CONFIG_SPIRAM_ALLOW_BSS_SEG_EXTERNAL_MEMORY\"")
#endif
#else
#define ESPGEN_IN_INTERNAL __attribute__((section(".espgen_internal.bss")))
#define ESPGEN_IN_INTERNAL_2 __attribute__((section(".espgen_internal_2.bss")))
#define ESPGEN_IN_PSRAM __attribute__((section(".psram_bss.espgen"), used))
#endif

#define ESPGEN_ARENA(name, size, place) \
  extern uint8_t name[];                \
  alignas(64) place uint8_t name[2 * espgen::kGuardBytes + (size) + espgen::kOverreadBytes]

// For the files that do not define the arena. A shared arena may be larger than a model says.
#define ESPGEN_ARENA_ELSEWHERE(name, size) \
  extern uint8_t name[2 * espgen::kGuardBytes + (size) + espgen::kOverreadBytes]

#define ESPGEN_AT(name, offset) (name + espgen::kGuardBytes + (offset))

// On the host the overread bytes count as guard bytes too: they may be read, never written.
#define ESPGEN_ARENA_ENTRY(name, size) {#name, name + espgen::kGuardBytes, size}

#endif  // ESPGEN_ARENA_H_
