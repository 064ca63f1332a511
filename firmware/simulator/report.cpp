// JSON texts: statistics at exit and the profile per function.
#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "machine.h"

namespace p4 {
namespace {

std::string Quote(const std::string& text) {
  std::string quoted = "\"";
  for (const char ch : text) {
    if (ch == '"' || ch == '\\') quoted += '\\';
    if (static_cast<unsigned char>(ch) < 0x20) {
      quoted += ' ';
    } else {
      quoted += ch;
    }
  }
  return quoted + "\"";
}

std::string Number(double value) {
  char text[40];
  snprintf(text, sizeof text, "%.10g", value);
  return text;
}

std::string Count(const char* name, uint64_t value) {
  return Quote(name) + ": " + std::to_string(value);
}

}  // namespace

std::string Machine::StatisticsJson(const Stop& stop) const {
  std::string json = "{" + Count("status", static_cast<uint64_t>(stop.status));
  json += ", \"error\": " + (stop.error.empty() ? std::string("null") : Quote(stop.error));
  json +=
      ", \"address\": " + (stop.has_address ? std::to_string(stop.address) : std::string("null"));
  json += ", \"cores\": [";
  for (const Core& core : cores) {
    if (core.id != 0) json += ", ";
    json += "{" + Count("pc", core.pc) + ", " + Count("cycles", core.cycles) + ", " +
            Count("instructions", core.instructions) + ", " + Count("stall_cycles", core.stalls) +
            ", " + Count("contention_cycles", core.contention) + ", " +
            Count("interrupts", core.tasks.interrupts) + ", " +
            Count("task_switches", core.tasks.switches) + ", " +
            Count("vector_switches", core.tasks.vector_switches) + "}";
  }
  json += "], \"memory\": {" + Count("l1i_misses", l1i[0].misses + l1i[1].misses) + ", " +
          Count("l1_misses", l1.misses) + ", " + Count("l1_dirty_evictions", l1.dirty_evictions) +
          ", " + Count("l2_misses", l2.misses) + ", " +
          Count("l2_dirty_evictions", l2.dirty_evictions) + ", " + Count("copies", copy.started) +
          ", " + Count("copied_bytes", copy.bytes) + ", " +
          Count("copy_wait_cycles", copy.wait_cycles) + ", " +
          Count("misaligned_accesses", misaligned_accesses) + "}, \"code\": {" +
          Count("executed_bytes", 64 * code_lines.size()) + "}, \"parameters\": {";
  bool first = true;
  for (const auto& [name, value] : parameters.All()) {
    json += (first ? "" : ", ") + Quote(name) + ": " + Number(value);
    first = false;
  }
  return json + "}}";
}

std::string Machine::ProfileJson() const {
  std::vector<const FunctionProfile*> used;
  for (const FunctionProfile& each : functions) {
    if (each.instructions != 0) used.push_back(&each);
  }
  std::stable_sort(used.begin(), used.end(),
                   [](const auto* a, const auto* b) { return a->cycles > b->cycles; });
  std::string json = "{\"functions\": [";
  for (const FunctionProfile* each : used) {
    if (each != used.front()) json += ",\n";
    json += "{\"name\": " + Quote(each->name) + ", " + Count("address", each->start) + ", " +
            Count("calls", each->calls) + ", " + Count("cycles", each->cycles) + ", " +
            Count("instructions", each->instructions) + ", " + Count("stall_cycles", each->stalls) +
            "}";
  }
  return json + "]}";
}

}  // namespace p4
