// The agent as a process of the host: its port is standard input and output, a pseudo-terminal or a
// pipe. Tests speak the protocol with it at full speed; sanitizers see the agent and the component.
#include "agent/board.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/protocol.h"
#include "boards/served_model.h"

#ifndef ESPGEN_BUILD_ID
#define ESPGEN_BUILD_ID "unknown"
#endif

namespace espgen {
namespace board {
namespace {

uint64_t Nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace

size_t Read(uint8_t* bytes, size_t capacity) {
  pollfd port = {0, POLLIN, 0};
  if (poll(&port, 1, 100) <= 0) return 0;
  const ssize_t count = read(0, bytes, capacity);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  if (count <= 0) exit(0);  // the host hung up
  return static_cast<size_t>(count);
}

void Write(const uint8_t* bytes, size_t count) {
  while (count > 0) {
    const ssize_t written = write(1, bytes, count);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) exit(0);
    bytes += written;
    count -= static_cast<size_t>(written);
  }
}

// A cycle of this board is a nanosecond.
Counters ReadCounters() { return {static_cast<uint32_t>(Nanoseconds()), 0, 0}; }
uint8_t AvailableCounters() { return agent::kHasCycles; }
uint32_t Milliseconds() { return static_cast<uint32_t>(Nanoseconds() / 1000000u); }
const char* Target() { return "host"; }
const char* BuildId() { return ESPGEN_BUILD_ID; }
uint32_t ClockHz() { return 1000000000u; }
uint32_t Revision() { return 0; }
bool EmptyCaches() { return false; }
void Restart() { exit(0); }

}  // namespace board
}  // namespace espgen

int main() { espgen_agent_main(espgen::ServedModel()); }
