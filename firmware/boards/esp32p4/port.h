// A byte stream to the host: one of port_uart.cpp and port_usb_serial_jtag.cpp, by the console's
// configuration.
#ifndef ESPGEN_BOARDS_ESP32P4_PORT_H_
#define ESPGEN_BOARDS_ESP32P4_PORT_H_

#include <stddef.h>
#include <stdint.h>

namespace espgen {
namespace port {

// Bytes the driver holds for the agent while the model runs: the host may repeat a request a few
// times.
constexpr int kReceiveBuffer = 8192;
constexpr int kSendBuffer = 4096;

// Takes the port over from the console. False where the driver refuses.
bool Open();

// As board::Read: waits for a first byte, takes what has come.
size_t Read(uint8_t* bytes, size_t capacity);

// Sends all bytes; gives up where nobody takes any for a second.
void Write(const uint8_t* bytes, size_t count);

}  // namespace port
}  // namespace espgen

#endif  // ESPGEN_BOARDS_ESP32P4_PORT_H_
