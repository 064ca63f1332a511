// What a component needs of the system under it: one lock round every inference, and whether this
// is an interrupt handler. A FreeRTOS mutex under ESP-IDF, a spin lock elsewhere.
//
// All models of a firmware share the lock. Code of the application that uses the vector unit in
// another task of the same core (ESP-DSP, ESP-DL, assembly of its own) takes it, too:
//   {
//     const espgen::VectorLock lock;
//     dsps_dotprod_s16(..);
//   }
#ifndef ESPGEN_PORT_H_
#define ESPGEN_PORT_H_

#if defined(ESP_PLATFORM)
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#endif

namespace espgen {
namespace rtos {

// Variables of these names exist once in a program, whichever of its files include this.
#if defined(ESP_PLATFORM)

inline portMUX_TYPE making = portMUX_INITIALIZER_UNLOCKED;
inline StaticSemaphore_t memory;
inline SemaphoreHandle_t mutex = nullptr;

inline void acquire() {
  portENTER_CRITICAL(&making);
  if (mutex == nullptr) mutex = xSemaphoreCreateMutexStatic(&memory);
  portEXIT_CRITICAL(&making);
  xSemaphoreTake(mutex, portMAX_DELAY);
}
inline void release() { xSemaphoreGive(mutex); }
inline bool in_interrupt() { return xPortInIsrContext() != 0; }

#elif defined(__riscv) && !defined(__riscv_atomic)  // one core, and no system that could switch

inline void acquire() {}
inline void release() {}
inline bool in_interrupt() { return false; }

#else

inline bool taken = false;

inline void acquire() {
  while (__atomic_test_and_set(&taken, __ATOMIC_ACQUIRE)) {
  }
}
inline void release() { __atomic_clear(&taken, __ATOMIC_RELEASE); }
inline bool in_interrupt() { return false; }

#endif

}  // namespace rtos

// Holds the lock while it exists. Not for interrupt handlers, and not twice in one task.
class VectorLock {
 public:
  VectorLock() { rtos::acquire(); }
  ~VectorLock() { rtos::release(); }
  VectorLock(const VectorLock&) = delete;
  VectorLock& operator=(const VectorLock&) = delete;
};

}  // namespace espgen

#endif  // ESPGEN_PORT_H_
