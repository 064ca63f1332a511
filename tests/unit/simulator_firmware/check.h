// Checks inside simulated firmware: the exit status is the line of the first failing check.
#pragma once

#include "boards/simulator/board.h"

#define CHECK(condition)                  \
  do {                                    \
    if (!(condition)) {                   \
      p4sim::DebugPrint(#condition "\n"); \
      p4sim::Exit(__LINE__ % 251 + 1);    \
    }                                     \
  } while (false)
