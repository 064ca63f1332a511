// Sends back what comes in over UART0, until a zero byte.
#include "check.h"

extern "C" int main() {
  for (;;) {
    const uint8_t byte = p4sim::UartGet();
    p4sim::UartPut(byte);
    if (byte == 0) return 7;
  }
}
