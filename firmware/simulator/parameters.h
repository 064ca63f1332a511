// Every number of the simulated chip, by name: parameters.inc is the table.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace p4 {

struct Parameters {
#define P4_PARAMETER(name, value, largest, unit, meaning) double name = value;
#include "parameters.inc"
#undef P4_PARAMETER

  // "name=value". Throws std::runtime_error for an unknown name, or a value that is no number or
  // out of range.
  void Set(const std::string& assignment);
  // One assignment per line; empty lines and what follows # do not count. Throws as Set does.
  void Read(const std::string& path);
  std::vector<std::pair<std::string, double>> All() const;
  // What a running copy adds to an L2 fill from PSRAM: its share of the bus.
  int HoldCycles() const;
};

// The table as JSON: name, default, unit and meaning of each parameter.
std::string ParameterTableJson();

}  // namespace p4
