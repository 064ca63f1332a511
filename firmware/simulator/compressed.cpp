// Compressed instructions (RV32FC) as the 32-bit instructions they stand for.
#include "machine.h"

namespace p4 {
namespace {

struct Compressed {
  uint32_t w;
  uint32_t Bit(int from, int to) const { return ((w >> from) & 1u) << to; }
  uint32_t Field(int high, int low) const { return (w >> low) & ((1u << (high - low + 1)) - 1); }
  uint32_t rd() const { return Field(11, 7); }
  uint32_t rs2() const { return Field(6, 2); }
  uint32_t rs1_short() const { return 8 + Field(9, 7); }
  uint32_t rd_short() const { return 8 + Field(4, 2); }
  int32_t Immediate6() const {
    const auto value = static_cast<int32_t>(Field(6, 2) | Bit(12, 5));
    return value >= 32 ? value - 64 : value;
  }
  uint32_t WordOffset() const { return Bit(6, 2) | (Field(12, 10) << 3) | Bit(5, 6); }
};

uint32_t I(uint32_t opcode, uint32_t function, uint32_t rd, uint32_t rs1, int32_t imm) {
  return opcode | (rd << 7) | (function << 12) | (rs1 << 15) | (static_cast<uint32_t>(imm) << 20);
}

uint32_t R(uint32_t function7, uint32_t function3, uint32_t rd, uint32_t rs1, uint32_t rs2) {
  return 0x33u | (rd << 7) | (function3 << 12) | (rs1 << 15) | (rs2 << 20) | (function7 << 25);
}

uint32_t StoreWord(uint32_t opcode, uint32_t rs1, uint32_t rs2, uint32_t offset) {
  return opcode | ((offset & 31u) << 7) | (2u << 12) | (rs1 << 15) | (rs2 << 20) |
         ((offset >> 5) << 25);
}

uint32_t JumpWord(uint32_t rd, int32_t offset) {
  const auto o = static_cast<uint32_t>(offset);
  return 0x6Fu | (rd << 7) | (o & 0xFF000u) | (((o >> 11) & 1u) << 20) |
         (((o >> 1) & 0x3FFu) << 21) | (((o >> 20) & 1u) << 31);
}

uint32_t BranchWord(uint32_t function, uint32_t rs1, int32_t offset) {
  const auto o = static_cast<uint32_t>(offset);
  return 0x63u | (((o >> 11) & 1u) << 7) | (((o >> 1) & 15u) << 8) | (function << 12) |
         (rs1 << 15) | (((o >> 5) & 63u) << 25) | (((o >> 12) & 1u) << 31);
}

constexpr uint32_t kLoad = 0x03, kFloatLoad = 0x07, kImmediate = 0x13, kStore = 0x23,
                   kFloatStore = 0x27, kLui = 0x37, kJalr = 0x67;

uint32_t Quadrant0(const Compressed& c) {
  switch (c.w >> 13) {
    case 0: {
      const uint32_t imm =
          c.Bit(6, 2) | c.Bit(5, 3) | (c.Field(12, 11) << 4) | (c.Field(10, 7) << 6);
      return imm == 0 ? 0 : I(kImmediate, 0, c.rd_short(), 2, static_cast<int32_t>(imm));
    }
    case 2:
      return I(kLoad, 2, c.rd_short(), c.rs1_short(), static_cast<int32_t>(c.WordOffset()));
    case 3:
      return I(kFloatLoad, 2, c.rd_short(), c.rs1_short(), static_cast<int32_t>(c.WordOffset()));
    case 6:
      return StoreWord(kStore, c.rs1_short(), c.rd_short(), c.WordOffset());
    case 7:
      return StoreWord(kFloatStore, c.rs1_short(), c.rd_short(), c.WordOffset());
    default:
      return 0;
  }
}

uint32_t Arithmetic(const Compressed& c) {
  const uint32_t rd = c.rs1_short();
  const uint32_t amount = c.Field(6, 2);
  switch (c.Field(11, 10)) {
    case 0:
      return c.Field(12, 12) != 0 ? 0 : I(kImmediate, 5, rd, rd, static_cast<int32_t>(amount));
    case 1:
      return c.Field(12, 12) != 0 ? 0
                                  : I(kImmediate, 5, rd, rd, static_cast<int32_t>(amount | 0x400));
    case 2:
      return I(kImmediate, 7, rd, rd, c.Immediate6());
    default: {
      if (c.Field(12, 12) != 0) return 0;
      constexpr uint32_t kFunctions[4] = {0, 4, 6, 7};
      const uint32_t which = c.Field(6, 5);
      return R(which == 0 ? 0x20 : 0, kFunctions[which], rd, rd, c.rd_short());
    }
  }
}

int32_t JumpOffset(const Compressed& c) {
  const uint32_t o = c.Bit(12, 11) | c.Bit(11, 4) | (c.Field(10, 9) << 8) | c.Bit(8, 10) |
                     c.Bit(7, 6) | c.Bit(6, 7) | (c.Field(5, 3) << 1) | c.Bit(2, 5);
  const auto value = static_cast<int32_t>(o);
  return value >= 2048 ? value - 4096 : value;
}

int32_t BranchOffset(const Compressed& c) {
  const uint32_t o = c.Bit(12, 8) | (c.Field(11, 10) << 3) | (c.Field(6, 5) << 6) |
                     (c.Field(4, 3) << 1) | c.Bit(2, 5);
  const auto value = static_cast<int32_t>(o);
  return value >= 256 ? value - 512 : value;
}

uint32_t Quadrant1(const Compressed& c) {
  switch (c.w >> 13) {
    case 0:
      return I(kImmediate, 0, c.rd(), c.rd(), c.Immediate6());
    case 1:
      return JumpWord(1, JumpOffset(c));
    case 2:
      return I(kImmediate, 0, c.rd(), 0, c.Immediate6());
    case 3: {
      if (c.Immediate6() == 0) return 0;
      if (c.rd() == 2) {
        const uint32_t imm =
            c.Bit(6, 4) | c.Bit(2, 5) | c.Bit(5, 6) | (c.Field(4, 3) << 7) | c.Bit(12, 9);
        const auto value = static_cast<int32_t>(imm);
        return I(kImmediate, 0, 2, 2, value >= 512 ? value - 1024 : value);
      }
      return kLui | (c.rd() << 7) | (static_cast<uint32_t>(c.Immediate6()) << 12);
    }
    case 4:
      return Arithmetic(c);
    case 5:
      return JumpWord(0, JumpOffset(c));
    default:
      return BranchWord((c.w >> 13) == 6 ? 0 : 1, c.rs1_short(), BranchOffset(c));
  }
}

uint32_t Quadrant2(const Compressed& c) {
  const uint32_t load = c.Bit(12, 5) | (c.Field(6, 4) << 2) | (c.Field(3, 2) << 6);
  const uint32_t store = (c.Field(12, 9) << 2) | (c.Field(8, 7) << 6);
  switch (c.w >> 13) {
    case 0:
      return c.Field(12, 12) != 0
                 ? 0
                 : I(kImmediate, 1, c.rd(), c.rd(), static_cast<int32_t>(c.Field(6, 2)));
    case 2:
      return c.rd() == 0 ? 0 : I(kLoad, 2, c.rd(), 2, static_cast<int32_t>(load));
    case 3:
      return I(kFloatLoad, 2, c.rd(), 2, static_cast<int32_t>(load));
    case 4:
      if (c.rs2() == 0) {
        if (c.rd() == 0) return 0;  // c.ebreak stops the simulation as well
        return I(kJalr, 0, c.Field(12, 12), c.rd(), 0);
      }
      return R(0, 0, c.rd(), c.Field(12, 12) != 0 ? c.rd() : 0, c.rs2());
    case 6:
      return StoreWord(kStore, 2, c.rs2(), store);
    case 7:
      return StoreWord(kFloatStore, 2, c.rs2(), store);
    default:
      return 0;
  }
}

}  // namespace

uint32_t ExpandCompressed(uint16_t word) {
  const Compressed c = {word};
  switch (word & 3) {
    case 0:
      return Quadrant0(c);
    case 1:
      return Quadrant1(c);
    case 2:
      return Quadrant2(c);
    default:
      return 0;
  }
}

}  // namespace p4
