// The agent on the simulated chip: its port is UART0.
#include "boards/simulator/board.h"

#include "agent/agent.h"
#include "agent/board.h"
#include "agent/protocol.h"
#include "boards/served_model.h"

#ifndef ESPGEN_BUILD_ID
#define ESPGEN_BUILD_ID "unknown"
#endif

namespace espgen {
namespace board {
namespace {

constexpr uint32_t kWaitMilliseconds = 100;

}  // namespace

size_t Read(uint8_t* bytes, size_t capacity) {
  const uint32_t start = Milliseconds();
  while (p4sim::UartAvailable() == 0) {
    if (Milliseconds() - start >= kWaitMilliseconds) return 0;
  }
  size_t count = 0;
  while (count < capacity && p4sim::UartAvailable() != 0) bytes[count++] = p4sim::UartGet();
  return count;
}

void Write(const uint8_t* bytes, size_t count) { p4sim::UartWrite(bytes, count); }

Counters ReadCounters() {
  return {p4sim::Cycles32(), p4sim::Instructions32(), p4sim::StallCycles32()};
}

uint8_t AvailableCounters() {
  return agent::kHasCycles | agent::kHasInstructions | agent::kHasStalls;
}

// For time limits only: of the default clock, whatever the simulated one is.
uint32_t Milliseconds() { return static_cast<uint32_t>(p4sim::Cycles() / 360000u); }

const char* Target() { return "simulator"; }
const char* BuildId() { return ESPGEN_BUILD_ID; }
uint32_t ClockHz() { return p4sim::ClockHz(); }
uint32_t Revision() { return 0; }

bool EmptyCaches() {
  p4sim::EmptyCaches();
  return true;
}

void Restart() { p4sim::Exit(0); }

}  // namespace board
}  // namespace espgen

extern "C" int main() { espgen_agent_main(espgen::ServedModel()); }
