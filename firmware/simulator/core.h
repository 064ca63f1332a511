// State of one core, decoded instructions and basic blocks.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "tasks.h"

namespace p4 {

struct Core;
struct Machine;
struct Op;

// Handlers execute one instruction and tail-call the next one; the last one of a block returns.
using Handler = void (*)(Core&, const Op*);

// One decoded instruction. Register x0 as a destination is index 32, a slot nobody reads.
struct Op {
  Handler handler = nullptr;
  int32_t imm = 0;
  uint8_t rd = 0, rs1 = 0, rs2 = 0, rs3 = 0;
  uint8_t qu = 0, qv = 0, qx = 0, qy = 0, qz = 0, qw = 0;
  uint8_t sel = 0, sel2 = 0;
  uint16_t offset = 0;  // bytes from the block's start
  uint16_t issue = 0;   // cycles from the block's start to this instruction's issue
  uint32_t word = 0;    // low half only for compressed instructions
};

// Register numbers of the timing model: x 0-31, f 32-63, q 64-71, QACC 72, XACC 73, and the two
// that only multiply-accumulates wait for.
constexpr int kFloatBase = 32;
constexpr int kVectorBase = 64;
constexpr int kQacc = 72;
constexpr int kXacc = 73;
constexpr int kQaccMac = 74;
constexpr int kXaccMac = 75;
constexpr int kTimedRegisters = 76;

// What the timing model needs to know about an instruction.
struct Timing {
  uint8_t reads[8];
  uint8_t read_count = 0;
  uint8_t writes[2];
  uint8_t write_count = 0;
  uint8_t latency = 0;  // cycles after issue + cycles before the written registers may be read
  // The same for registers with a latency of their own.
  uint8_t late[2], late_latency[2];
  uint8_t late_count = 0;
  uint8_t addend = 0, addend_delay = 0;  // a register that is read that much later (a float's)
  uint8_t cycles = 1;
  bool branch = false;      // conditional: predicted
  bool terminator = false;  // ends the block
  void Read(int reg) { reads[read_count++] = static_cast<uint8_t>(reg); }
  void Write(int reg) { writes[write_count++] = static_cast<uint8_t>(reg); }
  void WriteLate(int reg, double cycles_later) {
    late[late_count] = static_cast<uint8_t>(reg);
    late_latency[late_count++] = static_cast<uint8_t>(cycles_later);
  }
  // Integer destination as in Op: 32 means x0, which nobody waits for.
  void WriteInteger(int reg) {
    if (reg < 32) Write(reg);
  }
};

// Registers not ready yet at the end of a block: (register, cycles left), kept sorted.
using Carry = std::vector<std::pair<uint8_t, uint8_t>>;

struct FunctionProfile {
  std::string name;
  uint32_t start = 0, end = 0;
  uint64_t calls = 0, cycles = 0, instructions = 0, stalls = 0;
};

struct Block {
  uint32_t pc = 0;
  uint32_t count = 0;  // instructions
  uint32_t bytes = 0;
  uint32_t last = 0;                       // address of the last instruction
  bool loop_end = false;                   // the last instruction ends a hardware loop
  uint32_t first_line = 0, last_line = 0;  // of the instruction cache
  uint32_t cycles = 0;  // from first issue to the next block's first issue, branch predicted
  uint8_t* predictor = nullptr;  // counter of the conditional branch that ends the block
  bool enters_function = false;
  bool uses_vectors = false;      // an instruction of the vector unit, loops not counted
  int carry = 0, carry_late = 0;  // ids of what the block leaves behind; after a wrong prediction
  FunctionProfile* profile = nullptr;
  Block* next[2] = {nullptr, nullptr};  // fall through, taken
  // Result of the last carry seen at entry.
  int memo_carry = 0, memo_extra = 0, memo_left = 0, memo_late = 0;
  std::vector<Op> ops;
  std::vector<Timing> timing;
};

enum class Wait : uint8_t { kNone, kParked, kBarrier, kMailbox };

// Simulation ends: guest exit, error or limit. `error` is empty for a guest exit.
struct Stop {
  std::string error;
  int status = 0;
  uint32_t address = 0;
  bool has_address = false;
};

// The core has to wait for the other one; `retry` re-executes the instruction afterwards.
struct Yield {
  const Op* op;
  bool retry;
};

struct alignas(64) Core {
  // Hot state.
  uint32_t x[33] = {};
  uint32_t pc = 0;
  uint32_t taken = 0;
  bool memory_model = true;
  bool check_lines = true;    // the fast way has to look at L1
  uint32_t load_mask = ~15u;  // 128-bit loads; ~0 with CFG.mis_ld
  uint32_t store_mask = ~15u;
  uint32_t load64_mask = ~7u;
  uint32_t store64_mask = ~7u;
  Machine* machine = nullptr;
  // Copies of the machine's: page tables and L1 tags.
  uint8_t** read_pages = nullptr;
  uint8_t** write_pages = nullptr;
  uint32_t* l1 = nullptr;
  uint32_t l1_set_mask = 0, l1_ways = 0;
  Block* block = nullptr;
  uint64_t attention = ~0ull;  // a block that is not over by then goes through Attend
  uint64_t cycles = 0;         // at the start of the current block, plus its dynamic stalls
  uint64_t instructions = 0;
  uint64_t stalls = 0;          // cycles lost to memory
  uint64_t contention = 0;      // waiting for the other core's accesses; part of the stalls
  uint32_t fetched_line = ~0u;  // most recent line of the instruction cache
  // PIE.
  alignas(64) uint8_t qacc[64] = {};
  alignas(16) uint8_t q[8][16] = {};
  alignas(16) uint8_t scratch[16] = {};  // value of a slow 128-bit load
  uint64_t xacc = 0;                     // 40 bits
  uint32_t sar = 0, sar_byte = 0, cfg = 0, fft_bit_width = 0, perf = 0;
  uint8_t rounding = 0;  // CFG.vxrm
  alignas(16) uint8_t ua_state[16] = {};
  // Hardware loops.
  uint32_t loop_start[2] = {}, loop_end[2] = {}, loop_count[2] = {};
  bool loop_checked[2] = {};  // against the rules, since its registers changed
  // Float.
  uint32_t f[32] = {};
  uint32_t frm = 0;
  // Control and status.
  bool pie_on = false;
  uint32_t mstatus = 0, loop_state = 0;
  uint32_t mtvec = 0, mscratch = 0, mepc = 0, mcause = 0, mie = 0;
  uint64_t loop_end_at = ~0ull;  // cycle of the last boundary of a hardware loop
  LeavingTask leaving_task = LeavingTask::kNo;
  Tasks tasks;
  const Op* leaving = nullptr;  // instruction whose error or yield ends the block early
  uint32_t reservation = 0, reservation_value = 0;
  bool reserved = false;
  int id = 0;
  int carry = 0;
  Wait wait = Wait::kParked;
  uint32_t copy_source = 0, copy_destination = 0, copy_length = 0;  // banked registers
  uint32_t latched_high = 0;
  std::unordered_map<uint32_t, uint8_t> predictors;  // 2-bit counters by address
  Block* recent[4096] = {};                          // direct-mapped by address
  using Blocks = std::unordered_map<uint32_t, std::unique_ptr<Block>>;
  Blocks blocks;
  Blocks other_blocks;  // those of one instruction while both cores run, or the whole ones
  std::unordered_map<uint64_t, std::unique_ptr<Block>>
      short_blocks;  // cut off where an interrupt came; by address and length
  std::vector<std::unique_ptr<Block>> retired;  // flushed while they may still run

  bool FloatOn() const { return (mstatus & 0x6000u) != 0; }
  uint64_t Now(const Op* op) const { return cycles + op->issue; }
  uint32_t Address(const Op* op) const { return block->pc + op->offset; }
  void SetCfg(uint32_t value);
  void FlushBlocks();
  // Drops blocks that hold `address` as anything but their last instruction.
  void SplitBlocksAt(uint32_t address);
};

}  // namespace p4
