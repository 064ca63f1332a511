// Single-step mode: one instruction per record, for tests of the semantics, and the disassembler.
#include <cstdio>
#include <fstream>
#include <iostream>

#include "machine.h"

namespace p4 {
namespace {

constexpr uint32_t kStepMemory = 0x4FF40000;
constexpr uint32_t kStepPc = 0x4FF50000;

#pragma pack(push, 1)
struct Record {
  uint32_t word;
  uint32_t x[32];
  uint8_t q[8][16];
  uint8_t qacc[64];
  uint64_t xacc;
  uint32_t sar, sar_byte, cfg;
  uint8_t ua_state[16];
  uint8_t memory[256];
};
#pragma pack(pop)
static_assert(sizeof(Record) == 616, "record layout");

void ToCore(const Record& record, Core& core) {
  memcpy(core.x, record.x, sizeof record.x);
  core.x[0] = core.x[32] = 0;
  memcpy(core.q, record.q, sizeof record.q);
  memcpy(core.qacc, record.qacc, sizeof record.qacc);
  core.xacc = record.xacc & ((uint64_t{1} << 40) - 1);
  core.sar = record.sar & 63;
  core.sar_byte = record.sar_byte & 15;
  core.SetCfg(record.cfg);
  memcpy(core.ua_state, record.ua_state, 16);
  core.pc = kStepPc;
}

void FromCore(const Core& core, Record& record) {
  memcpy(record.x, core.x, sizeof record.x);
  memcpy(record.q, core.q, sizeof record.q);
  memcpy(record.qacc, core.qacc, sizeof record.qacc);
  record.xacc = core.xacc;
  record.sar = core.sar;
  record.sar_byte = core.sar_byte;
  record.cfg = core.cfg;
  memcpy(record.ua_state, core.ua_state, 16);
}

}  // namespace

int StepMode(const std::string& input, const std::string& output, int level) {
  std::ifstream in(input, std::ios::binary);
  std::ofstream out(output, std::ios::binary);
  if (!in || !out) {
    fprintf(stderr, "p4sim: cannot open %s or %s\n", input.c_str(), output.c_str());
    return 2;
  }
  Options options;
  options.memory_model = false;
  options.espv = level;
  options.loop_rules = LoopRules::kIgnore;  // the loop's body is not there
  // Only the record's 256 bytes may be touched.
  options.guards = {
      {kInternalBase, kStepMemory, 3},
      {kStepMemory + sizeof(Record::memory), kInternalBase + kInternalSize, 3},
      {kPsramBase, kPsramBase + static_cast<uint32_t>(options.parameters.psram_size), 3},
      {kFlashBase, kFlashBase + static_cast<uint32_t>(options.parameters.flash_size), 3}};
  Machine machine(options);
  Core& core = machine.cores[0];
  core.pie_on = true;
  core.mstatus = 0x6000;
  uint8_t* memory = machine.Translate(kStepMemory, true);
  uint8_t* code = machine.Translate(kStepPc, true);
  Record record;
  while (in.read(reinterpret_cast<char*>(&record), sizeof record)) {
    ToCore(record, core);
    memcpy(memory, record.memory, sizeof record.memory);
    memcpy(code, &record.word, 4);
    uint32_t status = 0;
    try {
      const auto block = BuildBlock(machine, core, kStepPc, 1);
      core.block = block.get();
      block->ops[0].handler(core, block->ops.data());
      machine.loop_ends.clear();
    } catch (const Stop&) {
      status = 1;
    } catch (const Yield&) {
      status = 1;
    }
    FromCore(core, record);
    memcpy(record.memory, memory, sizeof record.memory);
    out.write(reinterpret_cast<const char*>(&record), sizeof record);
    out.write(reinterpret_cast<const char*>(&status), sizeof status);
  }
  return out ? 0 : 2;
}

// Words in hexadecimal, one per line; prints one line each, "unknown" for what is not PIE.
int DisassembleMode(int level) {
  std::string line;
  while (std::getline(std::cin, line)) {
    const auto word = static_cast<uint32_t>(std::stoul(line, nullptr, 16));
    const std::string text = Disassemble(level, word);
    std::cout << (text.empty() ? "unknown" : text) << "\n";
  }
  return 0;
}

}  // namespace p4
