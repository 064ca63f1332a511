#include "parameters.h"

#include <cmath>
#include <cstdio>
#include <fstream>
#include <stdexcept>

namespace p4 {
namespace {

struct Entry {
  const char* name;
  double Parameters::* member;
  double largest;
  const char* unit;
  const char* meaning;
};

constexpr Entry kEntries[] = {
#define P4_PARAMETER(name, value, largest, unit, meaning) \
  {#name, &Parameters::name, largest, unit, meaning},
#include "parameters.inc"
#undef P4_PARAMETER
};

std::string Trimmed(const std::string& text) {
  const size_t first = text.find_first_not_of(" \t\r");
  return first == std::string::npos
             ? std::string()
             : text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

std::string Number(double value) {
  char text[40];
  snprintf(text, sizeof text, "%.10g", value);
  return text;
}

}  // namespace

void Parameters::Set(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos) throw std::runtime_error("expected name=value: " + assignment);
  const std::string name = Trimmed(assignment.substr(0, equals));
  const std::string text = Trimmed(assignment.substr(equals + 1));
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
    if (name != entry.name) continue;
    if (value < 0 || value > entry.largest) {
      throw std::runtime_error(assignment + ": has to be 0 to " + Number(entry.largest));
    }
    this->*entry.member = value;
    return;
  }
  throw std::runtime_error("unknown parameter: " + name);
}

void Parameters::Read(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  for (std::string line; std::getline(file, line);) {
    const std::string assignment = Trimmed(line.substr(0, line.find('#')));
    if (!assignment.empty()) Set(assignment);
  }
}

std::vector<std::pair<std::string, double>> Parameters::All() const {
  std::vector<std::pair<std::string, double>> all;
  for (const Entry& entry : kEntries) all.emplace_back(entry.name, this->*entry.member);
  return all;
}

int Parameters::HoldCycles() const {
  if (psram_rate <= 0) return 0;
  return static_cast<int>(std::lround(l2_line / psram_rate * copy_rate / psram_rate));
}

std::string ParameterTableJson() {
  const Parameters defaults;
  std::string json;
  for (const Entry& entry : kEntries) {
    json += (json.empty() ? "[" : ",\n ") + std::string("{\"name\": \"") + entry.name +
            "\", \"default\": " + Number(defaults.*entry.member) + ", \"unit\": \"" + entry.unit +
            "\", \"meaning\": \"" + entry.meaning + "\"}";
  }
  return json + "]";
}

}  // namespace p4
