// Calibration on the simulated chip. Its device registers time what they start to the cycle.
#include "calibrate/platform.h"

#include "boards/simulator/board.h"
#include "calibrate/serve.h"

namespace espgen {
namespace calibrate {
namespace platform {
namespace {

// Enough for one line more than every way of a 128 KB cache holds.
constexpr uint32_t kInternalBytes = 192 * 1024;
// One line more than 16 ways of 256 KB.
constexpr uint32_t kPsramBytes = 17 * 256 * 1024 + 128;
constexpr uint32_t kFlashBytes = kPsramBytes;
constexpr uintptr_t kFlash = 0x40000000;

alignas(128) __attribute__((section(".espgen_internal.bss"))) uint8_t internal[kInternalBytes];
alignas(128) __attribute__((section(".psram_bss"))) uint8_t psram[kPsramBytes];

void (*other_function)();
void RunOther(void*) { other_function(); }

void (*task_function)();
void RunInTask(void*) { task_function(); }
alignas(16) uint8_t task_stack[2048];

uint32_t ticket;

// Cycles that a store to a device register takes in itself, which `reg` adds to.
__attribute__((noinline)) uint32_t StoreCycles(p4sim::Register reg, uint32_t value) {
  const uint32_t before = p4sim::Cycles32();
  p4sim::Write(reg, value);
  return p4sim::Cycles32() - before;
}

void SetUp(uint32_t length) {
  using namespace p4sim;
  Write(kCopySource, static_cast<uint32_t>(reinterpret_cast<uintptr_t>(psram)));
  Write(kCopyDestination,
        static_cast<uint32_t>(reinterpret_cast<uintptr_t>(psram + kPsramBytes / 2)));
  Write(kCopyLength, length);
}

}  // namespace

bool Start() { return true; }

size_t Read(uint8_t* bytes, size_t capacity) {
  if (capacity == 0) return 0;
  bytes[0] = p4sim::UartGet();
  return 1;
}

void Write(const void* bytes, size_t count) { p4sim::UartWrite(bytes, count); }

Region Memory(char place) {
  switch (place) {
    case 'i':
      return {internal, kInternalBytes};
    case 'p':
      return {psram, kPsramBytes};
    case 'f':
      return {reinterpret_cast<uint8_t*>(kFlash), kFlashBytes};
    case 'd':
      return {reinterpret_cast<uint8_t*>(p4sim::kDeviceBase), 4096};
    default:
      return {};
  }
}

uint32_t ClockHz() { return p4sim::ClockHz(); }
uint32_t Revision() { return 0; }
uint32_t Cycles() { return p4sim::Cycles32(); }
void Undisturbed() {}
void Disturbed() {}

bool StartOther(void (*function)()) {
  other_function = function;
  p4sim::StartCore1(RunOther, nullptr);
  return true;
}
bool OtherRuns() { return p4sim::Core1Running(); }

bool Copy(uint32_t length, uint32_t delay, CopyCycles& cycles) {
  for (int i = 0; i < 2; ++i) {  // the first one fetches the code
    SetUp(length);
    const uint32_t store = StoreCycles(p4sim::kCopyLength, length);
    cycles.start = StoreCycles(p4sim::kCopyStart, 1) - store;
    const uint32_t begun = p4sim::Cycles32();
    p4sim::CopyWait(p4sim::Read(p4sim::kCopyStart));
    cycles.total = p4sim::Cycles32() - begun;
    SetUp(length);
    p4sim::Write(p4sim::kCopyStart, 1);
    const uint32_t unit = p4sim::Read(p4sim::kCopyStart);
    const uint32_t from = p4sim::Cycles32();
    while (p4sim::Cycles32() - from < delay) {
    }
    cycles.finish = StoreCycles(p4sim::kCopyWait, unit) - store;
  }
  return true;
}

bool CopyBegin(uint32_t length) {
  SetUp(length);
  p4sim::Write(p4sim::kCopyStart, 1);
  ticket = p4sim::Read(p4sim::kCopyStart);
  return true;
}
void CopyEnd() { p4sim::CopyWait(ticket); }

bool InOtherTask(void (*function)()) {
  task_function = function;
  const uint32_t before = p4sim::TaskCount();
  p4sim::StartTask(RunInTask, nullptr, task_stack + sizeof task_stack);
  while (p4sim::TaskCount() != before) p4sim::YieldTask();
  return true;
}

void Stop() { p4sim::Exit(0); }

}  // namespace platform
}  // namespace calibrate
}  // namespace espgen

extern "C" int main() {
  espgen::calibrate::platform::Start();
  espgen::calibrate::Serve();
  return 0;
}
