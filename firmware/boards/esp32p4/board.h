// The verification agent on an ESP32-P4 with ESP-IDF 5.3 or newer (chips of revision 3: 5.5.3).
#ifndef ESPGEN_BOARDS_ESP32P4_BOARD_H_
#define ESPGEN_BOARDS_ESP32P4_BOARD_H_

#include "espgen/model.h"

// Answers `espgen verify --port` and `espgen profile --port` about `model` from a task of its own
// on core 0, over the console's port: USB-Serial-JTAG where the console is there, else the
// console's UART at its baud rate. From now on log lines travel in frames of the protocol; printf
// to the console would damage frames (the protocol repeats them). Returns at once. Call it once.
void espgen_board_serve(const espgen::Model& model);

#endif  // ESPGEN_BOARDS_ESP32P4_BOARD_H_
