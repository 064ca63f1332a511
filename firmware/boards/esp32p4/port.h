// Byte streams to the host: USB-Serial-JTAG and a UART, heard at once. What is asked on one of them
// is answered there.
#ifndef ESPGEN_BOARDS_ESP32P4_PORT_H_
#define ESPGEN_BOARDS_ESP32P4_PORT_H_

#include <stddef.h>
#include <stdint.h>

#include "freertos/FreeRTOS.h"

namespace espgen {
namespace port {

// Bytes a driver holds for the agent while the model runs: the host may repeat a request a few
// times.
constexpr int kReceiveBuffer = 8192;
constexpr int kSendBuffer = 4096;

// One line to the host.
struct Line {
  // Takes the line over. False where the driver refuses, and where the line is not the console's
  // and the application has installed its driver: then it is in use.
  bool (*open)();
  // Waits up to `ticks` for a first byte, takes what has come with it; returns how many bytes.
  size_t (*read)(uint8_t* bytes, size_t capacity, TickType_t ticks);
  // Sends all bytes; gives up where nobody takes any for a second.
  void (*write)(const uint8_t* bytes, size_t count);
};

extern const Line kUart;           // the console's, else UART0
extern const Line kUsbSerialJtag;  // on chips that have it

// Takes all lines over that can be had; false where there is none.
bool Open();

// As board::Read, from one line at a time, which changes between frames only: the bytes of two
// frames never mix.
size_t Read(uint8_t* bytes, size_t capacity);

// On the line that was read last; before that, on the console's.
void Write(const uint8_t* bytes, size_t count);

}  // namespace port
}  // namespace espgen

#endif  // ESPGEN_BOARDS_ESP32P4_PORT_H_
