// Control and status registers. A CSR access ends its block, so the counters are exact.
#include <cfenv>

#include "machine.h"
#include "rv32.h"

namespace p4 {
namespace {

uint32_t FloatFlags() {
  const int raised = fetestexcept(FE_ALL_EXCEPT);
  return ((raised & FE_INEXACT) != 0 ? 1u : 0u) | ((raised & FE_UNDERFLOW) != 0 ? 2u : 0u) |
         ((raised & FE_OVERFLOW) != 0 ? 4u : 0u) | ((raised & FE_DIVBYZERO) != 0 ? 8u : 0u) |
         ((raised & FE_INVALID) != 0 ? 16u : 0u);
}

void SetFloatFlags(uint32_t flags) {
  feclearexcept(FE_ALL_EXCEPT);
  feraiseexcept(((flags & 1) != 0 ? FE_INEXACT : 0) | ((flags & 2) != 0 ? FE_UNDERFLOW : 0) |
                ((flags & 4) != 0 ? FE_OVERFLOW : 0) | ((flags & 8) != 0 ? FE_DIVBYZERO : 0) |
                ((flags & 16) != 0 ? FE_INVALID : 0));
}

enum Csr : uint32_t {
  kFflags = 0x001,
  kFrm = 0x002,
  kFcsr = 0x003,
  kMstatus = 0x300,
  kMisa = 0x301,
  kMie = 0x304,
  kMtvec = 0x305,
  kMscratch = 0x340,
  kMepc = 0x341,
  kMcause = 0x342,
  kLoopStart0 = 0x7C6,  // then end, count; the same for loop 1
  kLoopLast = 0x7CB,
  kLoopState = 0x7F1,
  kPieState = 0x7F2,
  kMcycle = 0xB00,
  kMinstret = 0xB02,
  kMhpmcounter3 = 0xB03,
  kMcycleHigh = 0xB80,
  kMinstretHigh = 0xB82,
  kMhpmcounter3High = 0xB83,
  kCycle = 0xC00,
  kTime = 0xC01,
  kInstret = 0xC02,
  kHpmcounter3 = 0xC03,
  kCycleHigh = 0xC80,
  kTimeHigh = 0xC81,
  kInstretHigh = 0xC82,
  kHpmcounter3High = 0xC83,
  kMvendorid = 0xF11,
  kMarchid = 0xF12,
  kMimpid = 0xF13,
  kMhartid = 0xF14,
};

bool Exists(uint32_t csr) {
  switch (csr) {
    case kFflags:
    case kFrm:
    case kFcsr:
    case kMstatus:
    case kMisa:
    case kMie:
    case kMtvec:
    case kMscratch:
    case kMepc:
    case kMcause:
    case kLoopState:
    case kPieState:
    case kMcycle:
    case kMinstret:
    case kMhpmcounter3:
    case kMcycleHigh:
    case kMinstretHigh:
    case kMhpmcounter3High:
    case kCycle:
    case kTime:
    case kInstret:
    case kHpmcounter3:
    case kCycleHigh:
    case kTimeHigh:
    case kInstretHigh:
    case kHpmcounter3High:
    case kMvendorid:
    case kMarchid:
    case kMimpid:
    case kMhartid:
      return true;
    default:
      return csr >= kLoopStart0 && csr <= kLoopLast;
  }
}

uint32_t ReadCsr(Core& c, const Op* o, uint32_t csr) {
  const uint64_t cycles = c.Now(o);
  const uint64_t retired = c.instructions + static_cast<uint64_t>(o - c.block->ops.data());
  switch (csr) {
    case kFflags:
      return FloatFlags();
    case kFrm:
      return c.frm;
    case kFcsr:
      return FloatFlags() | (c.frm << 5);
    case kMstatus:
      return c.mstatus;
    case kMisa:
      return 0x40001125;  // RV32 A C F I M
    case kMtvec:
      return c.mtvec;
    case kMscratch:
      return c.mscratch;
    case kMie:
      return c.mie;
    case kMepc:
      return c.mepc;
    case kMcause:
      return c.mcause;
    case kLoopState:
      return c.loop_state;
    case kPieState:
      return c.pie_on ? 1 : 0;
    case kMcycle:
    case kCycle:
    case kTime:
      return static_cast<uint32_t>(cycles);
    case kMcycleHigh:
    case kCycleHigh:
    case kTimeHigh:
      return static_cast<uint32_t>(cycles >> 32);
    case kMinstret:
    case kInstret:
      return static_cast<uint32_t>(retired);
    case kMinstretHigh:
    case kInstretHigh:
      return static_cast<uint32_t>(retired >> 32);
    case kMhpmcounter3:
    case kHpmcounter3:
      return static_cast<uint32_t>(c.stalls);
    case kMhpmcounter3High:
    case kHpmcounter3High:
      return static_cast<uint32_t>(c.stalls >> 32);
    case kMhartid:
      return static_cast<uint32_t>(c.id);
    default:
      break;
  }
  if (csr >= kLoopStart0 && csr <= kLoopLast) {
    const uint32_t loop = (csr - kLoopStart0) / 3;
    const uint32_t which = (csr - kLoopStart0) % 3;
    return which == 0 ? c.loop_start[loop] : which == 1 ? c.loop_end[loop] : c.loop_count[loop];
  }
  return 0;
}

void WriteCsr(Core& c, uint32_t csr, uint32_t value) {
  switch (csr) {
    case kFflags:
      SetFloatFlags(value);
      return;
    case kFrm:
      c.frm = value & 7;
      return;
    case kFcsr:
      SetFloatFlags(value);
      c.frm = (value >> 5) & 7;
      return;
    case kMstatus: {
      const bool float_changed = ((c.mstatus ^ value) & 0x6000u) != 0;
      c.mstatus = value & 0x6088u;
      if (float_changed) c.FlushBlocks();
      c.machine->SetAttention(c);
      return;
    }
    case kMie:
      c.mie = value & 0x80u;
      return;
    case kMtvec:
      c.mtvec = value;
      return;
    case kMscratch:
      c.mscratch = value;
      return;
    case kMepc:
      c.mepc = value & ~1u;
      return;
    case kMcause:
      c.mcause = value;
      return;
    case kLoopState:
      c.loop_state = value;
      return;
    case kPieState:
      c.pie_on = (value & 3) != 0;
      c.FlushBlocks();
      return;
    default:
      break;
  }
  if (csr >= kLoopStart0 && csr <= kLoopLast) {
    const uint32_t loop = (csr - kLoopStart0) / 3;
    const uint32_t which = (csr - kLoopStart0) % 3;
    (which == 0 ? c.loop_start[loop] : which == 1 ? c.loop_end[loop] : c.loop_count[loop]) = value;
    c.loop_checked[loop] = false;
    if (which == 1) c.machine->NoteLoopEnd(value);
  }
  // The counters cannot be written: they read the model.
}

// rd = csr; csr = old op operand. rs3 holds funct3: 1 write, 2 set, 3 clear; +4 immediate.
void CsrAccess(Core& c, const Op* o) {
  const auto csr = static_cast<uint32_t>(o->imm) & 0xFFF;
  const uint32_t operand = (o->rs3 & 4) != 0 ? o->rs1 : c.x[o->rs1];
  const uint32_t kind = o->rs3 & 3;
  const uint32_t old = ReadCsr(c, o, csr);
  const uint32_t next_pc = c.Address(o) + o->sel;
  if (kind == 1) {
    WriteCsr(c, csr, operand);
  } else if (o->rs1 != 0) {
    WriteCsr(c, csr, kind == 2 ? old | operand : old & ~operand);
  }
  c.x[o->rd] = old;
  c.pc = next_pc;
  c.taken = 0;
}

// Back from a trap.
void Mret(Core& c, const Op*) {
  c.mstatus = (c.mstatus & ~8u) | ((c.mstatus >> 4) & 8u) | 0x80u;
  c.pc = c.mepc;
  c.taken = 1;
  c.machine->SetAttention(c);
}

}  // namespace

bool DecodeCsr(uint32_t word, const Parameters& parameters, Op& op, Timing& timing) {
  if (word == 0x30200073) {
    op.handler = Mret;
    timing.terminator = true;
    timing.cycles = static_cast<uint8_t>(1 + parameters.jump);
    return true;
  }
  const uint32_t function3 = (word >> 12) & 7;
  if ((function3 & 3) == 0 || !Exists(word >> 20)) return false;
  op.handler = CsrAccess;
  op.rs3 = static_cast<uint8_t>(function3);
  if (function3 < 4) timing.Read(op.rs1);
  timing.WriteInteger(op.rd);
  timing.latency = static_cast<uint8_t>(parameters.csr_latency);
  timing.terminator = true;
  return true;
}

}  // namespace p4
