// RV32IMA: decoding and execution. Float instructions are in rv32_float.cpp, CSRs in csr.cpp.
#include "rv32.h"

#include "machine.h"

namespace p4 {
namespace {

#define P4_OP(name, expression)                                    \
  void name(Core& c, const Op* o) {                                \
    [[maybe_unused]] const uint32_t a = c.x[o->rs1];               \
    [[maybe_unused]] const uint32_t b = c.x[o->rs2];               \
    [[maybe_unused]] const auto i = static_cast<uint32_t>(o->imm); \
    c.x[o->rd] = (expression);                                     \
    return (o[1].handler)(c, o + 1);                               \
  }

inline int32_t S(uint32_t value) { return static_cast<int32_t>(value); }
inline uint32_t U(int32_t value) { return static_cast<uint32_t>(value); }
inline uint32_t ShiftRightSigned(uint32_t value, uint32_t n) { return U(S(value) >> (n & 31)); }

P4_OP(Lui, i)
P4_OP(Addi, a + i)
P4_OP(Slti, S(a) < o->imm)
P4_OP(Sltiu, a < i)
P4_OP(Xori, a ^ i)
P4_OP(Ori, a | i)
P4_OP(Andi, a& i)
P4_OP(Slli, a << i)
P4_OP(Srli, a >> i)
P4_OP(Srai, ShiftRightSigned(a, i))
P4_OP(Add, a + b)
P4_OP(Sub, a - b)
P4_OP(Sll, a << (b & 31))
P4_OP(Slt, S(a) < S(b))
P4_OP(Sltu, a < b)
P4_OP(Xor, a ^ b)
P4_OP(Srl, a >> (b & 31))
P4_OP(Sra, ShiftRightSigned(a, b))
P4_OP(Or, a | b)
P4_OP(And, a& b)
P4_OP(Mul, a* b)
P4_OP(Mulh, static_cast<uint32_t>((static_cast<int64_t>(S(a)) * S(b)) >> 32))
P4_OP(Mulhsu, static_cast<uint32_t>((static_cast<int64_t>(S(a)) * static_cast<int64_t>(b)) >> 32))
P4_OP(Mulhu, static_cast<uint32_t>((static_cast<uint64_t>(a) * b) >> 32))
P4_OP(Divu, b == 0 ? ~0u : a / b)
P4_OP(Remu, b == 0 ? a : a % b)
P4_OP(Div, b == 0 ? ~0u : (a == 0x80000000u && b == ~0u) ? a : U(S(a) / S(b)))
P4_OP(Rem, b == 0 ? a : (a == 0x80000000u && b == ~0u) ? 0u : U(S(a) % S(b)))
template <class T, class Extended>
void SlowLoadOp(Core& c, const Op* o) __attribute__((noinline));
template <class T, class Extended>
void SlowLoadOp(Core& c, const Op* o) {
  const auto value = SlowLoadValue<T>(c, o, c.x[o->rs1] + U(o->imm));
  c.x[o->rd] = U(static_cast<int32_t>(static_cast<Extended>(value)));
  P4_NEXT_OF(c, o);
}
template <class T, class Extended>
void LoadOp(Core& c, const Op* o) {
  const uint8_t* host = FastLoad<T>(c, c.x[o->rs1] + U(o->imm));
  if (host == nullptr) return SlowLoadOp<T, Extended>(c, o);
  Extended value;
  memcpy(&value, host, sizeof(T));
  c.x[o->rd] = U(static_cast<int32_t>(value));
  P4_NEXT_OF(c, o);
}
template <class T>
void SlowStoreOp(Core& c, const Op* o) __attribute__((noinline));
template <class T>
void SlowStoreOp(Core& c, const Op* o) {
  SlowStoreValue<T>(c, o, c.x[o->rs1] + U(o->imm), static_cast<T>(c.x[o->rs2]));
  P4_NEXT_OF(c, o);
}
template <class T>
void StoreOp(Core& c, const Op* o) {
  uint8_t* host = FastStore<T>(c, c.x[o->rs1] + U(o->imm));
  if (host == nullptr) return SlowStoreOp<T>(c, o);
  const auto value = static_cast<T>(c.x[o->rs2]);
  memcpy(host, &value, sizeof(T));
  P4_NEXT_OF(c, o);
}
constexpr Handler Lb = LoadOp<uint8_t, int8_t>, Lbu = LoadOp<uint8_t, uint8_t>,
                  Lh = LoadOp<uint16_t, int16_t>, Lhu = LoadOp<uint16_t, uint16_t>,
                  Lw = LoadOp<uint32_t, int32_t>, Sb = StoreOp<uint8_t>, Sh = StoreOp<uint16_t>,
                  Sw = StoreOp<uint32_t>;

void Nop(Core& c, const Op* o) { P4_NEXT_OF(c, o); }

#define P4_BRANCH(name, condition)                    \
  void name(Core& c, const Op* o) {                   \
    const uint32_t a = c.x[o->rs1], b = c.x[o->rs2];  \
    const bool taken = (condition);                   \
    c.taken = taken;                                  \
    c.pc = taken ? U(o->imm) : c.Address(o) + o->sel; \
  }
P4_BRANCH(Beq, a == b)
P4_BRANCH(Bne, a != b)
P4_BRANCH(Blt, S(a) < S(b))
P4_BRANCH(Bge, S(a) >= S(b))
P4_BRANCH(Bltu, a < b)
P4_BRANCH(Bgeu, a >= b)

void Jal(Core& c, const Op* o) {
  c.x[o->rd] = c.Address(o) + o->sel;
  c.pc = U(o->imm);
  c.taken = 1;
}

void Jalr(Core& c, const Op* o) {
  const uint32_t target = (c.x[o->rs1] + U(o->imm)) & ~1u;
  c.x[o->rd] = c.Address(o) + o->sel;
  c.pc = target;
  c.taken = 1;
}

void FenceI(Core& c, const Op* o) {
  c.FlushBlocks();
  c.pc = c.Address(o) + o->sel;
  c.taken = 0;
}

template <class F>
inline void Atomic(Core& c, const Op* o, F function) {
  const uint32_t address = c.x[o->rs1];
  const uint32_t operand = c.x[o->rs2];
  const auto old = Load<uint32_t>(c, o, address);
  Store<uint32_t>(c, o, address, function(old, operand));
  c.x[o->rd] = old;
}

#define P4_ATOMIC(name, expression)                                                \
  void name(Core& c, const Op* o) {                                                \
    Atomic(c, o, [](uint32_t a, uint32_t b) -> uint32_t { return (expression); }); \
    return (o[1].handler)(c, o + 1);                                               \
  }
P4_ATOMIC(AmoSwap, (static_cast<void>(a), b))
P4_ATOMIC(AmoAdd, a + b)
P4_ATOMIC(AmoXor, a ^ b)
P4_ATOMIC(AmoAnd, a& b)
P4_ATOMIC(AmoOr, a | b)
P4_ATOMIC(AmoMin, S(a) < S(b) ? a : b)
P4_ATOMIC(AmoMax, S(a) > S(b) ? a : b)
P4_ATOMIC(AmoMinu, a < b ? a : b)
P4_ATOMIC(AmoMaxu, a > b ? a : b)

void LoadReserved(Core& c, const Op* o) {
  c.reservation = c.x[o->rs1];
  c.reserved = true;
  // The other core's stores are seen by comparing the value: enough for the pairs compilers emit.
  c.x[o->rd] = c.reservation_value = Load<uint32_t>(c, o, c.reservation);
  return (o[1].handler)(c, o + 1);
}

void StoreConditional(Core& c, const Op* o) {
  const uint32_t address = c.x[o->rs1];
  const bool holds = c.reserved && c.reservation == address &&
                     Load<uint32_t>(c, o, address) == c.reservation_value;
  if (holds) Store<uint32_t>(c, o, address, c.x[o->rs2]);
  c.reserved = false;
  c.x[o->rd] = holds ? 0 : 1;
  return (o[1].handler)(c, o + 1);
}

struct AtomicEntry {
  uint32_t function;
  Handler handler;
};
constexpr AtomicEntry kAtomics[] = {
    {0x00, AmoAdd}, {0x01, AmoSwap}, {0x02, LoadReserved}, {0x03, StoreConditional},
    {0x04, AmoXor}, {0x08, AmoOr},   {0x0C, AmoAnd},       {0x10, AmoMin},
    {0x14, AmoMax}, {0x18, AmoMinu}, {0x1C, AmoMaxu},
};

constexpr Handler kRegisterOps[8] = {Add, Sll, Slt, Sltu, Xor, Srl, Or, And};
constexpr Handler kMultiplyOps[8] = {Mul, Mulh, Mulhsu, Mulhu, Div, Divu, Rem, Remu};
constexpr Handler kBranches[8] = {Beq, Bne, nullptr, nullptr, Blt, Bge, Bltu, Bgeu};
constexpr Handler kLoads[8] = {Lb, Lh, Lw, nullptr, Lbu, Lhu, nullptr, nullptr};
constexpr Handler kStores[8] = {Sb, Sh, Sw, nullptr, nullptr, nullptr, nullptr, nullptr};
constexpr Handler kImmediateOps[8] = {Addi, nullptr, Slti, Sltiu, Xori, nullptr, Ori, Andi};

uint32_t Bits(uint32_t word, int high, int low) {
  return (word >> low) & ((1u << (high - low + 1)) - 1);
}

uint32_t BranchOffset(uint32_t w) {
  return U(S(w & 0x80000000u) >> 19) | (Bits(w, 7, 7) << 11) | (Bits(w, 30, 25) << 5) |
         (Bits(w, 11, 8) << 1);
}

uint32_t JumpOffset(uint32_t w) {
  return U(S(w & 0x80000000u) >> 11) | (w & 0xFF000u) | (Bits(w, 20, 20) << 11) |
         (Bits(w, 30, 21) << 1);
}

bool DecodeRegisterOp(uint32_t w, uint32_t function3, const Parameters& parameters, Op& op,
                      Timing& timing) {
  const uint32_t function7 = w >> 25;
  timing.Read(op.rs1);
  timing.Read(op.rs2);
  if (function7 == 1) {
    op.handler = kMultiplyOps[function3];
    if (function3 < 4) {
      timing.WriteInteger(op.rd);
      timing.latency = static_cast<uint8_t>(parameters.mul_latency);
    } else {
      timing.cycles = static_cast<uint8_t>(parameters.div_cycles);
    }
  } else if (function7 == 0) {
    op.handler = kRegisterOps[function3];
  } else if (function7 == 0x20 && (function3 == 0 || function3 == 5)) {
    op.handler = function3 == 0 ? Sub : Sra;
  }
  return op.handler != nullptr;
}

bool DecodeImmediateOp(uint32_t w, uint32_t function3, Op& op) {
  const uint32_t function7 = w >> 25;
  op.handler = kImmediateOps[function3];
  if (function3 == 1 && function7 == 0) op.handler = Slli;
  if (function3 == 5 && function7 == 0) op.handler = Srli;
  if (function3 == 5 && function7 == 0x20) op.handler = Srai;
  if (function3 == 1 || function3 == 5) op.imm = S(Bits(w, 24, 20));
  return op.handler != nullptr;
}

}  // namespace

bool DecodeBase(Core& core, uint32_t pc, uint32_t w, uint32_t length, const Parameters& parameters,
                Op& op, Timing& timing) {
  const uint32_t function3 = Bits(w, 14, 12);
  const uint32_t destination = Bits(w, 11, 7);
  op.rd = static_cast<uint8_t>(destination == 0 ? 32 : destination);
  op.rs1 = static_cast<uint8_t>(Bits(w, 19, 15));
  op.rs2 = static_cast<uint8_t>(Bits(w, 24, 20));
  op.imm = S(w) >> 20;
  op.sel = static_cast<uint8_t>(length);
  const auto load_latency = static_cast<uint8_t>(parameters.load_use);
  switch (w & 0x7F) {
    case 0x37:
    case 0x17:
      op.handler = Lui;
      op.imm = S((w & 0xFFFFF000u) + ((w & 0x7F) == 0x17 ? pc : 0));
      return true;
    case 0x6F:
      op.handler = Jal;
      op.imm = S(pc + JumpOffset(w));
      timing.terminator = true;
      timing.cycles = static_cast<uint8_t>(1 + parameters.jump);
      return true;
    case 0x67:
      if (function3 != 0) return false;
      op.handler = Jalr;
      timing.Read(op.rs1);
      timing.terminator = true;
      timing.cycles = static_cast<uint8_t>(1 + parameters.jump);
      return true;
    case 0x63:
      op.handler = kBranches[function3];
      op.imm = S(pc + BranchOffset(w));
      timing.Read(op.rs1);
      timing.Read(op.rs2);
      timing.terminator = timing.branch = true;
      return op.handler != nullptr;
    case 0x03:
      op.handler = kLoads[function3];
      timing.Read(op.rs1);
      timing.WriteInteger(op.rd);
      timing.latency = load_latency;
      return op.handler != nullptr;
    case 0x23:
      op.handler = kStores[function3];
      op.imm = S((U(S(w) >> 20) & ~31u) | destination);
      timing.Read(op.rs1);
      timing.Read(op.rs2);
      return op.handler != nullptr;
    case 0x13:
      timing.Read(op.rs1);
      return DecodeImmediateOp(w, function3, op);
    case 0x33:
      return DecodeRegisterOp(w, function3, parameters, op, timing);
    case 0x2F: {
      if (function3 != 2) return false;
      const uint32_t function5 = w >> 27;
      for (const AtomicEntry& entry : kAtomics) {
        if (entry.function == function5) op.handler = entry.handler;
      }
      if (function5 == 2 && op.rs2 != 0) return false;
      timing.Read(op.rs1);
      timing.Read(op.rs2);
      timing.WriteInteger(op.rd);
      timing.latency = load_latency;
      return op.handler != nullptr;
    }
    case 0x0F:
      op.handler = function3 == 0 ? Nop : function3 == 1 ? FenceI : nullptr;
      timing.terminator = function3 == 1;
      return op.handler != nullptr;
    case 0x73:
      if (w == 0x10500073) {  // wfi
        op.handler = Nop;
        return true;
      }
      return DecodeCsr(w, parameters, op, timing);
    default:
      return DecodeFloat(core, w, parameters, op, timing);
  }
}

}  // namespace p4
