// What the calibration firmware needs of the chip it runs on: one implementation per board.
#ifndef ESPGEN_CALIBRATE_PLATFORM_H_
#define ESPGEN_CALIBRATE_PLATFORM_H_

#include <stddef.h>
#include <stdint.h>

namespace espgen {
namespace calibrate {

struct Region {
  uint8_t* bytes = nullptr;  // 128-byte aligned; null where there is none
  uint32_t size = 0;
};

struct CopyCycles {
  uint32_t start = 0;   // until the copy runs by itself
  uint32_t total = 0;   // from there until the copy has ended and its end is known
  uint32_t finish = 0;  // the end of a copy that was over long before
};

namespace platform {

// Memory and port; false where the chip has no room.
bool Start();
// Waits for bytes.
size_t Read(uint8_t* bytes, size_t capacity);
void Write(const void* bytes, size_t count);

// 'i' internal RAM, 'p' PSRAM, 'f' flash, 'd' device registers (simulator).
Region Memory(char place);
uint32_t ClockHz();
uint32_t Revision();  // major * 100 + minor, 0 where unknown
uint32_t Cycles();

// Nothing else runs on this core until Disturbed.
void Undisturbed();
void Disturbed();

// Runs `function` on core 1. False where it cannot.
bool StartOther(void (*function)());
bool OtherRuns();

// Copies in PSRAM, waits `delay` cycles before it asks for the end in a second try. False where
// there is no copy engine.
bool Copy(uint32_t length, uint32_t delay, CopyCycles& cycles);
// Starts a copy that runs beside what follows, and waits for its end.
bool CopyBegin(uint32_t length);
void CopyEnd();

// Runs `function` in another task on this core and comes back. False where there are no tasks.
bool InOtherTask(void (*function)());

// After the command that ends the program.
void Stop();

}  // namespace platform
}  // namespace calibrate
}  // namespace espgen

#endif  // ESPGEN_CALIBRATE_PLATFORM_H_
