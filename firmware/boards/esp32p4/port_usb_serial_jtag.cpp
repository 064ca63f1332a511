// The line on the chip's own USB-Serial-JTAG.
#include "sdkconfig.h"

#if CONFIG_SOC_USB_SERIAL_JTAG_SUPPORTED

#include "driver/usb_serial_jtag.h"
#include "freertos/FreeRTOS.h"
#include "port.h"

namespace espgen {
namespace port {
namespace {

#if CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG
constexpr bool kIsConsole = true;
#else
constexpr bool kIsConsole = false;
#endif

constexpr int kSendAttempts = 10;  // of 100 ms each, without a byte going out
constexpr size_t kPiece = 512;     // what fits the send buffer for sure once it has drained

bool OpenLine() {
  if (usb_serial_jtag_is_driver_installed()) return kIsConsole;
  usb_serial_jtag_driver_config_t config = {};
  config.tx_buffer_size = kSendBuffer;
  config.rx_buffer_size = kReceiveBuffer;
  return usb_serial_jtag_driver_install(&config) == ESP_OK;
}

size_t ReadLine(uint8_t* bytes, size_t capacity, TickType_t ticks) {
  const int count = usb_serial_jtag_read_bytes(bytes, static_cast<uint32_t>(capacity), ticks);
  return count > 0 ? static_cast<size_t>(count) : 0;
}

void WriteLine(const uint8_t* bytes, size_t count) {
  int attempts = 0;
  while (count > 0 && attempts < kSendAttempts) {
    const size_t piece = count < kPiece ? count : kPiece;
    const int sent = usb_serial_jtag_write_bytes(bytes, piece, pdMS_TO_TICKS(100));
    if (sent <= 0) {
      ++attempts;  // no host, or it does not read
      continue;
    }
    attempts = 0;
    bytes += sent;
    count -= static_cast<size_t>(sent);
  }
}

}  // namespace

const Line kUsbSerialJtag = {OpenLine, ReadLine, WriteLine};

}  // namespace port
}  // namespace espgen

#endif  // CONFIG_SOC_USB_SERIAL_JTAG_SUPPORTED
