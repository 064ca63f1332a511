// What the agent needs from a board. Each board in firmware/boards/ implements these functions.
#ifndef ESPGEN_AGENT_BOARD_H_
#define ESPGEN_AGENT_BOARD_H_

#include <stddef.h>
#include <stdint.h>

namespace espgen {
namespace board {

// Free-running counters modulo 2^32; a counter the board lacks reads 0 (see AvailableCounters).
struct Counters {
  uint32_t cycles;
  uint32_t instructions;
  uint32_t stalls;  // cycles the core waited for memory
};

// Waits until at least one byte has come in or about 100 ms have passed; returns how many bytes it
// stored.
size_t Read(uint8_t* bytes, size_t capacity);

// Sends all bytes, waiting as long as the port takes them. A port that nobody reads may lose them.
void Write(const uint8_t* bytes, size_t count);

Counters ReadCounters();
uint8_t AvailableCounters();  // agent::Counter bits

uint32_t Milliseconds();
const char* Target();
const char* BuildId();
uint32_t ClockHz();
uint32_t Revision();  // of the chip, major * 100 + minor; 0 where there is none

// Writes back and empties the data caches; false where the board cannot.
bool EmptyCaches();

// Restarts the firmware; returns only where the board cannot.
void Restart();

}  // namespace board
}  // namespace espgen

#endif  // ESPGEN_AGENT_BOARD_H_
