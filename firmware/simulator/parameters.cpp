#include "parameters.h"

#include <cmath>
#include <stdexcept>

namespace p4 {
namespace {

struct Entry {
  const char* name;
  double Parameters::* member;
};

#define P4_ENTRY(name) {#name, &Parameters::name}
constexpr Entry kEntries[] = {
    P4_ENTRY(load_use),          P4_ENTRY(qacc_load_use),     P4_ENTRY(taken_branch),
    P4_ENTRY(mul_latency),       P4_ENTRY(div_cycles),        P4_ENTRY(float_latency),
    P4_ENTRY(float_div_latency), P4_ENTRY(convert_latency),   P4_ENTRY(csr_latency),
    P4_ENTRY(misaligned),        P4_ENTRY(l1_size),           P4_ENTRY(l1_ways),
    P4_ENTRY(l1_miss),           P4_ENTRY(l1_dirty_eviction), P4_ENTRY(l2_size),
    P4_ENTRY(l2_ways),           P4_ENTRY(l2_line),           P4_ENTRY(l2_latency),
    P4_ENTRY(psram_rate),        P4_ENTRY(l2_write_back),     P4_ENTRY(flash_line),
    P4_ENTRY(flash_code_line),   P4_ENTRY(copy_rate),         P4_ENTRY(copy_start),
    P4_ENTRY(copy_finish),       P4_ENTRY(copy_finish_line),  P4_ENTRY(copy_hold),
    P4_ENTRY(barrier),           P4_ENTRY(port_contention),   P4_ENTRY(psram_size),
    P4_ENTRY(flash_size),        P4_ENTRY(clock_hz),          P4_ENTRY(core_quantum),
    P4_ENTRY(l2_at_top),
};
#undef P4_ENTRY

}  // namespace

void Parameters::Set(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos) throw std::runtime_error("expected name=value: " + assignment);
  const std::string name = assignment.substr(0, equals);
  const std::string text = assignment.substr(equals + 1);
  size_t used = 0;
  double value = 0;
  try {
    value = std::stod(text, &used);
  } catch (const std::exception&) {
    used = 0;
  }
  if (used == 0 || used != text.size() || !std::isfinite(value)) {
    throw std::runtime_error("not a number: " + assignment);
  }
  for (const Entry& entry : kEntries) {
    if (name == entry.name) {
      this->*entry.member = value;
      return;
    }
  }
  throw std::runtime_error("unknown parameter: " + name);
}

std::vector<std::pair<std::string, double>> Parameters::All() const {
  std::vector<std::pair<std::string, double>> all;
  for (const Entry& entry : kEntries) all.emplace_back(entry.name, this->*entry.member);
  return all;
}

int Parameters::TransferCycles() const {
  return static_cast<int>(std::lround(l2_line / psram_rate));
}

int Parameters::WriteBackCycles() const {
  return l2_write_back < 0 ? TransferCycles() : static_cast<int>(std::lround(l2_write_back));
}

int Parameters::HoldCycles() const {
  if (copy_hold >= 0) return static_cast<int>(std::lround(copy_hold));
  return static_cast<int>(std::lround(l2_line / psram_rate * copy_rate / psram_rate));
}

}  // namespace p4
