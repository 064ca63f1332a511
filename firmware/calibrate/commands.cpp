// The calibration firmware: lines of text in, cycle counts out. docs/calibration.md has the
// commands.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "calibrate/kernels.h"
#include "calibrate/platform.h"
#include "calibrate/serve.h"

namespace espgen {
namespace calibrate {
namespace {

constexpr size_t kLineBytes = 384;
constexpr uint32_t kScratchBytes = 256;
constexpr uint32_t kResultOffset = 128;
constexpr uint32_t kResultBytes = 64;
constexpr int kTries = 3;

alignas(128) uint8_t scratch[kScratchBytes];
char line[kLineBytes];

struct Call {
  CalibrateKernel kernel = nullptr;
  uint8_t* base = nullptr;
  uint32_t stride = 0;
  uint32_t limit = 0;
  void operator()(uint32_t count) const { kernel(count, base, stride, limit); }
};

// What core 1 does.
Call other;
uint32_t other_count;
volatile uint32_t other_started;

void RunOther() {
  other(1);
  other_started = 1;
  other(other_count);
}

void Put(const char* text) { platform::Write(text, strlen(text)); }

void PutNumber(uint32_t value) {
  char text[12];
  char* at = text + sizeof text;
  *--at = 0;
  do {
    *--at = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  Put(" ");
  Put(at);
}

bool Refuse(const char* why) {
  Put("? ");
  Put(why);
  return false;
}

// The words of a line, one after the other.
class Words {
 public:
  explicit Words(char* text) : at_(text) {}

  // The next word, empty at the end.
  char* Next() {
    while (*at_ == ' ') ++at_;
    char* const word = at_;
    while (*at_ != ' ' && *at_ != 0) ++at_;
    if (*at_ == ' ') *at_++ = 0;
    return word;
  }

  uint32_t Number() {
    uint32_t value = 0;
    for (const char* digit = Next(); *digit >= '0' && *digit <= '9'; ++digit) {
      value = value * 10 + static_cast<uint32_t>(*digit - '0');
    }
    return value;
  }

 private:
  char* at_;
};

Region Place(char name) {
  if (name == 's') return {scratch, kScratchBytes};
  if (name == 'c') {
    return {calibrate_sled, static_cast<uint32_t>(calibrate_sled_end - calibrate_sled)};
  }
  return platform::Memory(name);
}

bool Same(const char* left, const char* right) {
  while (*left != 0 && *left == *right) {
    ++left;
    ++right;
  }
  return *left == *right;
}

CalibrateKernel Find(const char* name) {
  for (uint32_t i = 0; i < calibrate_kernel_count; ++i) {
    if (Same(calibrate_kernels[i].name, name)) return calibrate_kernels[i].kernel;
  }
  return nullptr;
}

// KERNEL PLACE STRIDE LIMIT
bool ReadCall(Words& words, Call& call) {
  call.kernel = Find(words.Next());
  const Region region = Place(*words.Next());
  call.base = region.bytes;
  call.stride = words.Number();
  call.limit = words.Number();
  if (call.kernel == nullptr) return Refuse("no such kernel");
  if (region.bytes == nullptr) return Refuse("no such memory here");
  if (call.limit > region.size) return Refuse("beyond the memory");
  return true;
}

__attribute__((noinline)) uint32_t Timed(const Call& call, uint32_t count) {
  platform::Undisturbed();
  const uint32_t before = platform::Cycles();
  call(count);
  const uint32_t after = platform::Cycles();
  platform::Disturbed();
  return after - before;
}

void Nothing(uint32_t, uint8_t*, uint32_t, uint32_t) {}

void TimeCall(const Call& call, uint32_t less, uint32_t more, int tries) {
  Call nothing;
  nothing.kernel = Nothing;
  Timed(nothing, 0);  // so that the code around a call is cached
  // Both counts take the same way through this code, so that what it costs cancels out.
  const uint32_t counts[] = {less, more};
  uint32_t best[] = {UINT32_MAX, UINT32_MAX};
  for (int i = 0; i < 2 * tries; ++i) {
    const uint32_t cycles = Timed(call, counts[i & 1]);
    if (cycles < best[i & 1]) best[i & 1] = cycles;
  }
  Put("=");
  PutNumber(best[0]);
  PutNumber(best[1]);
}

// t KERNEL PLACE STRIDE LIMIT LESS MORE: cycles of both counts of rounds, the best of three tries.
void Time(Words& words) {
  Call call;
  if (!ReadCall(words, call)) return;
  const uint32_t less = words.Number();
  call(less);  // caches begin as a call leaves them: dirty after a walk that stores
  TimeCall(call, less, words.Number(), kTries);
}

// b KERNEL PLACE STRIDE LIMIT LESS MORE KERNEL PLACE STRIDE LIMIT COUNT: the same beside core 1.
void TimeBeside(Words& words) {
  Call call;
  if (!ReadCall(words, call)) return;
  const uint32_t less = words.Number(), more = words.Number();
  if (!ReadCall(words, other)) return;
  other_count = words.Number();
  other_started = 0;
  if (!platform::StartOther(RunOther)) {
    Refuse("no second core here");
    return;
  }
  call(1);  // a round of each, so that both have their code
  while (other_started == 0) {
  }
  TimeCall(call, less, more, 1);
  while (platform::OtherRuns()) {
  }
}

// c LENGTH DELAY: cycles to start a copy, until it has ended, and to end it when it is over.
void TimeCopy(Words& words) {
  const uint32_t length = words.Number();
  CopyCycles cycles;
  if (!platform::Copy(length, words.Number(), cycles)) {
    Refuse("no copy engine here");
    return;
  }
  Put("=");
  PutNumber(cycles.start);
  PutNumber(cycles.total);
  PutNumber(cycles.finish);
}

// o LENGTH KERNEL PLACE STRIDE LIMIT LESS MORE: as t, beside a copy of so many bytes.
void TimeBesideCopy(Words& words) {
  const uint32_t length = words.Number();
  Call call;
  if (!ReadCall(words, call)) return;
  const uint32_t less = words.Number(), more = words.Number();
  call(less);
  if (!platform::CopyBegin(length)) {
    Refuse("no copy engine here");
    return;
  }
  TimeCall(call, less, more, 2);
  platform::CopyEnd();
}

uint32_t HexDigit(char digit) {
  return static_cast<uint32_t>(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

// m KERNEL HEX: runs it once on these bytes; what it has written behind them.
void Meaning(Words& words) {
  const CalibrateKernel kernel = Find(words.Next());
  if (kernel == nullptr) {
    Refuse("no such kernel");
    return;
  }
  memset(scratch, 0, kScratchBytes);
  const char* hex = words.Next();
  for (uint32_t i = 0; i < kResultOffset && hex[0] != 0 && hex[1] != 0; ++i, hex += 2) {
    scratch[i] = static_cast<uint8_t>(HexDigit(hex[0]) << 4 | HexDigit(hex[1]));
  }
  kernel(1, scratch, 0, 0);
  Put("= ");
  char text[2 * kResultBytes + 1];
  for (uint32_t i = 0; i < kResultBytes; ++i) {
    const uint8_t byte = scratch[kResultOffset + i];
    text[2 * i] = "0123456789abcdef"[byte >> 4];
    text[2 * i + 1] = "0123456789abcdef"[byte & 15];
  }
  text[2 * kResultBytes] = 0;
  Put(text);
}

CalibrateKernel other_task_kernel;
void RunInOtherTask() { other_task_kernel(1, scratch, 0, 0); }

// s BEFORE BETWEEN AFTER: one task sets the vector unit's state, a second one spoils it, the first
// one writes down what it finds.
void Switch(Words& words) {
  const CalibrateKernel before = Find(words.Next());
  other_task_kernel = Find(words.Next());
  const CalibrateKernel after = Find(words.Next());
  if (before == nullptr || other_task_kernel == nullptr || after == nullptr) {
    Refuse("no such kernel");
    return;
  }
  memset(scratch, 0, kScratchBytes);
  before(1, scratch, 0, 0);
  if (!platform::InOtherTask(RunInOtherTask)) {
    Refuse("no tasks here");
    return;
  }
  after(1, scratch, 0, 0);
  Put("=");
  for (uint32_t i = 0; i < kResultBytes; ++i) PutNumber(scratch[kResultOffset + i]);
}

// i: clock, revision, bytes of internal RAM, PSRAM, flash and code to walk through.
void Tell() {
  Put("=");
  PutNumber(platform::ClockHz());
  PutNumber(platform::Revision());
  for (const char* place = "ipfc"; *place != 0; ++place) PutNumber(Place(*place).size);
}

// False ends the program.
bool Answer() {
  Words words(line);
  switch (*words.Next()) {
    case 't':
      Time(words);
      break;
    case 'b':
      TimeBeside(words);
      break;
    case 'c':
      TimeCopy(words);
      break;
    case 'o':
      TimeBesideCopy(words);
      break;
    case 'm':
      Meaning(words);
      break;
    case 's':
      Switch(words);
      break;
    case 'i':
      Tell();
      break;
    case 'q':
      return false;
    default:
      Refuse("no such command");
  }
  Put("\n");
  return true;
}

}  // namespace

void Serve() {
  size_t length = 0;
  uint8_t bytes[64];
  for (;;) {
    const size_t count = platform::Read(bytes, sizeof bytes);
    for (size_t i = 0; i < count; ++i) {
      if (bytes[i] == 0) continue;  // ports tell frames by it
      if (bytes[i] != '\n') {
        if (length < kLineBytes - 1) line[length++] = static_cast<char>(bytes[i]);
        continue;
      }
      line[length] = 0;
      if (length != 0 && !Answer()) {
        platform::Stop();
        return;
      }
      length = 0;
    }
  }
}

}  // namespace calibrate
}  // namespace espgen
