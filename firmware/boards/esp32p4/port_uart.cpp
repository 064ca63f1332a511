// The port on the console's UART.
#include "sdkconfig.h"

#if !CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG

#include "driver/uart.h"
#include "freertos/FreeRTOS.h"
#include "port.h"

namespace espgen {
namespace port {
namespace {

// The number is defined without a console on a UART, too: as -1, which no port is.
#if CONFIG_ESP_CONSOLE_UART
constexpr uart_port_t kUart = static_cast<uart_port_t>(CONFIG_ESP_CONSOLE_UART_NUM);
#else
constexpr uart_port_t kUart = UART_NUM_0;
#endif

#ifdef CONFIG_ESP_CONSOLE_UART_BAUDRATE
constexpr int kBaudRate = CONFIG_ESP_CONSOLE_UART_BAUDRATE;
#else
constexpr int kBaudRate = 115200;
#endif

}  // namespace

bool Open() {
  if (!uart_is_driver_installed(kUart) &&
      uart_driver_install(kUart, kReceiveBuffer, kSendBuffer, 0, nullptr, 0) != ESP_OK) {
    return false;
  }
  uart_config_t config = {};
  config.baud_rate = kBaudRate;
  config.data_bits = UART_DATA_8_BITS;
  config.parity = UART_PARITY_DISABLE;
  config.stop_bits = UART_STOP_BITS_1;
  config.flow_ctrl = UART_HW_FLOWCTRL_DISABLE;
  config.source_clk = UART_SCLK_DEFAULT;
  return uart_param_config(kUart, &config) == ESP_OK;
}

size_t Read(uint8_t* bytes, size_t capacity) {
  // The driver waits until all that was asked for is there: ask for one byte, then for what has
  // come with it.
  if (capacity == 0 || uart_read_bytes(kUart, bytes, 1, pdMS_TO_TICKS(100)) <= 0) return 0;
  size_t waiting = 0;
  if (uart_get_buffered_data_len(kUart, &waiting) != ESP_OK || waiting == 0) return 1;
  const size_t wanted = waiting < capacity - 1 ? waiting : capacity - 1;
  const int count = uart_read_bytes(kUart, bytes + 1, static_cast<uint32_t>(wanted), 0);
  return 1 + (count > 0 ? static_cast<size_t>(count) : 0);
}

void Write(const uint8_t* bytes, size_t count) {
  // Waits for room in the send buffer; without flow control there always is, sooner or later.
  uart_write_bytes(kUart, bytes, count);
}

}  // namespace port
}  // namespace espgen

#endif  // !CONFIG_ESP_CONSOLE_USB_SERIAL_JTAG
