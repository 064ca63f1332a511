// The verification agent on an ESP32-P4 with ESP-IDF 5.3 or newer (chips of revision 3: 5.5.3).
#ifndef ESPGEN_BOARDS_ESP32P4_BOARD_H_
#define ESPGEN_BOARDS_ESP32P4_BOARD_H_

#include "espgen/model.h"

// Answers `espgen verify --port` and `espgen profile --port` about `model` from a task of its own
// on core 0, over USB-Serial-JTAG and the console's UART (UART0 where the console is elsewhere) at
// CONFIG_ESP_CONSOLE_UART_BAUDRATE: whichever is asked, answers. A line that is not the console's
// and has a driver already is the application's and is left alone. From now on log lines travel in
// frames of the protocol, on the line that was asked last (at first the console's); printf to the
// console would damage frames (the protocol repeats them). Returns at once. Call it once.
void espgen_board_serve(const espgen::Model& model);

#endif  // ESPGEN_BOARDS_ESP32P4_BOARD_H_
