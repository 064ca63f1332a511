// Hears several lines at once.
#include "port.h"

#include "agent/protocol.h"
#include "sdkconfig.h"

namespace espgen {
namespace port {
namespace {

#if !CONFIG_SOC_USB_SERIAL_JTAG_SUPPORTED
constexpr const Line* kLines[] = {&kUart};
#elif CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG
constexpr const Line* kLines[] = {&kUsbSerialJtag, &kUart};
#else
constexpr const Line* kLines[] = {&kUart, &kUsbSerialJtag};
#endif
constexpr size_t kMost = sizeof kLines / sizeof kLines[0];

// How long one line is waited for before the next one has its turn, and how many turns Read takes.
constexpr TickType_t kTurn = pdMS_TO_TICKS(10) > 0 ? pdMS_TO_TICKS(10) : 1;
constexpr size_t kTurns = 10;

// No frame is longer, with both of its delimiters.
constexpr size_t kLongest = agent::kMaxEncoded + 2;

const Line* lines[kMost];
size_t count = 0;
volatile size_t current = 0;  // the line that was read last: tasks that log write there, too
size_t waited = 0;  // the line whose bytes are waited for, while the others are only looked at
size_t begun = 0;   // bytes of `current` since its last delimiter

// From the line in the middle of a frame, else from any.
size_t ReadOnce(uint8_t* bytes, size_t capacity) {
  if (begun > 0) return lines[current]->read(bytes, capacity, kTurn);
  for (size_t next = 0; next < count; ++next) {
    const size_t index = (waited + next) % count;
    const size_t got = lines[index]->read(bytes, capacity, next == 0 ? kTurn : 0);
    if (got == 0) continue;
    current = waited = index;
    return got;
  }
  return 0;
}

}  // namespace

bool Open() {
  for (const Line* line : kLines) {
    if (line->open()) lines[count++] = line;
  }
  return count > 0;
}

size_t Read(uint8_t* bytes, size_t capacity) {
  for (size_t turn = 0; turn < kTurns && begun <= kLongest; ++turn) {
    const size_t got = ReadOnce(bytes, capacity);
    if (got == 0) continue;
    begun = bytes[got - 1] == 0 ? 0 : begun + got;
    if (begun <= kLongest) return got;
  }
  if (begun == 0) return 0;
  // What began is no frame, or never ended: the agent drops it at a delimiter, and it is the next
  // line's turn.
  begun = 0;
  waited = (current + 1) % count;
  bytes[0] = 0;
  return 1;
}

void Write(const uint8_t* bytes, size_t size) { lines[current]->write(bytes, size); }

}  // namespace port
}  // namespace espgen
