// Basic blocks: decoding, static schedule, cache of blocks.
#include <algorithm>

#include "machine.h"

namespace p4 {
namespace {

constexpr uint32_t kLongestBlock = 64;

struct Schedule {
  uint32_t cycles;
  Carry left, late;
};

// In-order issue, one instruction per cycle at best: an instruction waits until the registers it
// reads are ready. `carry` says which registers are not ready when the first one could issue.
Schedule Simulate(const std::vector<Timing>& timing, uint32_t mispredicted, const Carry& carry,
                  std::vector<Op>* ops) {
  uint32_t ready[kTimedRegisters] = {};
  for (const auto& [reg, left] : carry) ready[reg] = left;
  uint32_t now = 0;
  for (size_t i = 0; i < timing.size(); ++i) {
    const Timing& t = timing[i];
    for (int k = 0; k < t.read_count; ++k) now = std::max(now, ready[t.reads[k]]);
    if (t.addend != 0 && ready[t.addend] > t.addend_delay) {
      now = std::max(now, ready[t.addend] - t.addend_delay);
    }
    if (ops != nullptr) (*ops)[i].issue = static_cast<uint16_t>(now);
    now += t.cycles;
    for (int k = 0; k < t.write_count; ++k) ready[t.writes[k]] = now + t.latency;
    for (int k = 0; k < t.late_count; ++k) ready[t.late[k]] = now + t.late_latency[k];
  }
  Schedule schedule = {now, {}, {}};
  for (int reg = 0; reg < kTimedRegisters; ++reg) {
    const auto id = static_cast<uint8_t>(reg);
    if (ready[reg] > now) schedule.left.emplace_back(id, ready[reg] - now);
    if (ready[reg] > now + mispredicted) {
      schedule.late.emplace_back(id, ready[reg] - now - mispredicted);
    }
  }
  return schedule;
}

bool Fetch(const Machine& machine, uint32_t pc, uint32_t& word, uint32_t& length) {
  const uint8_t* host = machine.Translate(pc, false);
  if ((pc & 1) != 0 || host == nullptr) return false;
  uint16_t low;
  memcpy(&low, host, 2);
  word = low;
  length = (low & 3) == 3 ? 4 : 2;
  if (length == 4) {
    host = machine.Translate(pc + 2, false);
    if (host == nullptr) return false;
    uint16_t high;
    memcpy(&high, host, 2);
    word |= static_cast<uint32_t>(high) << 16;
  }
  return true;
}

}  // namespace

void EndBlockHandler(Core& c, const Op* o) {
  c.pc = static_cast<uint32_t>(o->imm);
  c.taken = 0;
}

std::unique_ptr<Block> BuildBlock(Machine& machine, Core& core, uint32_t start, uint32_t limit) {
  auto block = std::make_unique<Block>();
  block->pc = start;
  uint32_t pc = start;
  bool branch = false, terminated = false;
  while (block->count < limit && !terminated) {
    Op op;
    Timing timing;
    uint32_t word = 0, length = 0;
    bool known = Fetch(machine, pc, word, length);
    op.word = word;
    op.offset = static_cast<uint16_t>(pc - start);
    bool vector = false;
    if (known) {
      const uint32_t full = length == 2 ? ExpandCompressed(static_cast<uint16_t>(word)) : word;
      known = full != 0 && DecodeBase(core, pc, full, length, machine.parameters, op, timing);
      if (full != 0 && !known && length == 4) {
        known = DecodePie(core, pc, word, machine.parameters, op, timing);
        vector = known && strncmp(PieName(core, word), "esp.lp.", 7) != 0;
      }
    }
    if (!known) {
      op.handler = StopHandler;
      timing = Timing();
      timing.terminator = true;
    }
    block->uses_vectors = block->uses_vectors || vector;
    if (timing.terminator && timing.branch) branch = true;
    terminated = timing.terminator;
    block->ops.push_back(op);
    block->timing.push_back(timing);
    ++block->count;
    block->last = pc;
    machine.code_lines.insert(pc >> 6);
    pc += length;
    if (machine.loop_ends.count(block->last) != 0) {
      block->loop_end = true;
      break;
    }
  }
  Op end;
  end.handler = EndBlockHandler;
  end.imm = static_cast<int32_t>(pc);
  end.offset = static_cast<uint16_t>(pc - start);
  block->ops.push_back(end);
  block->bytes = pc - start;
  block->first_line = start >> machine.l1i[0].line_bits;
  block->last_line = (pc - 1) >> machine.l1i[0].line_bits;
  if (branch) block->predictor = &core.predictors[block->last];
  const Schedule schedule =
      Simulate(block->timing, machine.mispredicted_cycles, Carry(), &block->ops);
  block->cycles = schedule.cycles;
  block->ops.back().issue = static_cast<uint16_t>(schedule.cycles);
  block->carry = machine.InternCarry(schedule.left);
  block->carry_late = machine.InternCarry(schedule.late);
  block->profile = machine.ProfileOf(start);
  block->enters_function = block->profile->start == start;
  return block;
}

void UpdateMemo(Machine& machine, Block& block, int carry) {
  const Schedule schedule = Simulate(block.timing, machine.mispredicted_cycles,
                                     machine.carries[static_cast<size_t>(carry)], nullptr);
  block.memo_carry = carry;
  block.memo_extra = static_cast<int>(schedule.cycles - block.cycles);
  block.memo_left = machine.InternCarry(schedule.left);
  block.memo_late = machine.InternCarry(schedule.late);
}

int Machine::InternCarry(const Carry& carry) {
  const auto [place, added] = carry_ids.emplace(carry, static_cast<int>(carries.size()));
  if (added) carries.push_back(carry);
  return place->second;
}

Block* Machine::FindBlock(Core& core, uint32_t pc) {
  Block*& recent = core.recent[(pc >> 1) & 4095];
  if (recent != nullptr && recent->pc == pc) return recent;
  const auto found = core.blocks.find(pc);
  if (found != core.blocks.end()) return recent = found->second.get();
  // Building may split other blocks, so look nothing up before it.
  std::unique_ptr<Block> block = BuildBlock(*this, core, pc, sharing ? 1 : kLongestBlock);
  Block* raw = block.get();
  core.blocks[pc] = std::move(block);
  return core.recent[(pc >> 1) & 4095] = raw;
}

// The first `count` instructions from `pc` on.
Block* Machine::ShortBlock(Core& core, uint32_t pc, uint32_t count) {
  const uint64_t key = uint64_t{pc} << 32 | count;
  const auto found = core.short_blocks.find(key);
  if (found != core.short_blocks.end()) return found->second.get();
  std::unique_ptr<Block> block = BuildBlock(*this, core, pc, count);
  Block* raw = block.get();
  core.short_blocks[key] = std::move(block);
  return raw;
}

void Machine::NoteLoopEnd(uint32_t address) {
  if (!loop_ends.emplace(address, true).second) return;
  for (Core& core : cores) core.SplitBlocksAt(address);
}

void Core::FlushBlocks() {
  for (Blocks* kind : {&blocks, &other_blocks}) {
    for (auto& [pc_of_block, each] : *kind) {
      each->next[0] = each->next[1] = nullptr;
      retired.push_back(std::move(each));
    }
    kind->clear();
  }
  for (auto& [key, each] : short_blocks) {
    each->next[0] = each->next[1] = nullptr;
    retired.push_back(std::move(each));
  }
  short_blocks.clear();
  std::fill(std::begin(recent), std::end(recent), nullptr);
}

void Core::SplitBlocksAt(uint32_t address) {
  bool found = false;
  for (const Blocks* kind : {&blocks, &other_blocks}) {
    for (const auto& [start, each] : *kind) {
      found = found || (start <= address && address < start + each->bytes);
    }
  }
  if (found) FlushBlocks();
}

void Core::SetCfg(uint32_t value) {
  cfg = value;
  rounding = (value >> 4) & 15;
  load_mask = (value & 2) != 0 ? ~0u : ~15u;
  load64_mask = (value & 2) != 0 ? ~0u : ~7u;
  store_mask = (value & 1) != 0 ? ~0u : ~15u;
  store64_mask = (value & 1) != 0 ? ~0u : ~7u;
}

}  // namespace p4
