// Every number of the simulated chip, by name, with its default (docs/simulator.md explains each).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace p4 {

struct Parameters {
  // Core model, cycles.
  double load_use = 1;       // next reader of a loaded register
  double qacc_load_use = 1;  // next non-MAC reader of QACC or XACC after a load into it
  double taken_branch = 2;   // conditional branch taken, jal, jalr
  double mul_latency = 1;
  double div_cycles = 16;         // whole instruction
  double float_latency = 3;       // fadd, fsub, fmul, fused multiply-add
  double float_div_latency = 20;  // fdiv, fsqrt
  double convert_latency = 2;     // fcvt
  double csr_latency = 1;
  double misaligned = 1;  // per misaligned access
  // Memory model.
  double l1_size = 65536;
  double l1_ways = 2;
  double l1_miss = 20;  // served by internal RAM or by L2
  double l1_dirty_eviction = 8;
  double l2_size = 131072;
  double l2_at_top = 0;  // where of internal RAM it is taken: revisions below 3 at the top
  double l2_ways = 8;
  double l2_line = 128;
  double l2_latency = 32;        // added to l1_miss before the line's transfer
  double psram_rate = 2.2;       // bytes per cycle on the PSRAM bus
  double l2_write_back = -1;     // dirty L2 line; below 0: l2_line / psram_rate
  double flash_line = 1660;      // one L2 line from flash
  double flash_code_line = 830;  // 64 bytes of code on a first run from flash: only reported
  double copy_rate = 0.986;      // copy engine, bytes per cycle
  double copy_start = 300;
  double copy_finish = 100;
  double copy_finish_line = 1;  // per 64-byte destination line
  double copy_hold = -1;        // extra cycles of an L2 miss to PSRAM while a copy runs;
                                // below 0: transfer time * copy_rate / psram_rate
  double barrier = 100;
  double port_contention = 0;  // cycles per data access while the other core runs
  // Platform.
  double psram_size = 33554432;
  double flash_size = 33554432;
  double clock_hz = 360e6;
  double core_quantum = 32;  // cycles a core may run ahead of the other one

  // Throws std::runtime_error for an unknown name or a value that is no number.
  void Set(const std::string& assignment);
  std::vector<std::pair<std::string, double>> All() const;
  int WriteBackCycles() const;
  int TransferCycles() const;
  int HoldCycles() const;
};

}  // namespace p4
