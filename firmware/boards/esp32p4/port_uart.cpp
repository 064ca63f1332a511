// The line on the console's UART, or on UART0.
#include "driver/uart.h"
#include "freertos/FreeRTOS.h"
#include "port.h"
#include "sdkconfig.h"

namespace espgen {
namespace port {
namespace {

// The number is defined without a console on a UART, too: as -1, which no port is.
#if CONFIG_ESP_CONSOLE_UART
constexpr uart_port_t kNumber = static_cast<uart_port_t>(CONFIG_ESP_CONSOLE_UART_NUM);
constexpr bool kIsConsole = true;
#else
constexpr uart_port_t kNumber = UART_NUM_0;
constexpr bool kIsConsole = false;
#endif

#ifdef CONFIG_ESP_CONSOLE_UART_BAUDRATE
constexpr int kBaudRate = CONFIG_ESP_CONSOLE_UART_BAUDRATE;
#else
constexpr int kBaudRate = 115200;
#endif

bool OpenLine() {
  if (uart_is_driver_installed(kNumber)) {
    if (!kIsConsole) return false;
  } else if (uart_driver_install(kNumber, kReceiveBuffer, kSendBuffer, 0, nullptr, 0) != ESP_OK) {
    return false;
  }
  uart_config_t config = {};
  config.baud_rate = kBaudRate;
  config.data_bits = UART_DATA_8_BITS;
  config.parity = UART_PARITY_DISABLE;
  config.stop_bits = UART_STOP_BITS_1;
  config.flow_ctrl = UART_HW_FLOWCTRL_DISABLE;
  config.source_clk = UART_SCLK_DEFAULT;
  return uart_param_config(kNumber, &config) == ESP_OK;
}

size_t ReadLine(uint8_t* bytes, size_t capacity, TickType_t ticks) {
  // The driver waits until all that was asked for is there: ask for one byte, then for what has
  // come with it.
  if (capacity == 0 || uart_read_bytes(kNumber, bytes, 1, ticks) <= 0) return 0;
  size_t waiting = 0;
  if (uart_get_buffered_data_len(kNumber, &waiting) != ESP_OK || waiting == 0) return 1;
  const size_t wanted = waiting < capacity - 1 ? waiting : capacity - 1;
  const int count = uart_read_bytes(kNumber, bytes + 1, static_cast<uint32_t>(wanted), 0);
  return 1 + (count > 0 ? static_cast<size_t>(count) : 0);
}

void WriteLine(const uint8_t* bytes, size_t count) {
  // Waits for room in the send buffer; without flow control there always is, sooner or later.
  uart_write_bytes(kNumber, bytes, count);
}

}  // namespace

const Line kUart = {OpenLine, ReadLine, WriteLine};

}  // namespace port
}  // namespace espgen
