// RV32F on the host's floats. The host's sticky exception flags are the guest's fflags.
#include <cfenv>
#include <cmath>

#include "machine.h"
#include "rv32.h"

namespace p4 {
namespace {

constexpr uint32_t kQuietNan = 0x7FC00000;
constexpr uint32_t kSign = 0x80000000;

inline float F(uint32_t bits) {
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

inline uint32_t B(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return value != value ? kQuietNan : bits;
}

inline bool IsNan(uint32_t bits) { return (bits & ~kSign) > 0x7F800000u; }
inline bool IsSignaling(uint32_t bits) { return IsNan(bits) && (bits & 0x00400000u) == 0; }

// Rounding mode of the instruction (dynamic: frm). Only non-default modes touch the host's.
class HostRounding {
 public:
  HostRounding(const Core& core, const Op* op) {
    const uint32_t mode = op->sel2 == 7 ? core.frm : op->sel2;
    constexpr int kModes[5] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD, FE_TONEAREST};
    mode_ = mode < 5 ? mode : 0;
    if (mode_ != 0 && mode_ != 4) fesetround(kModes[mode_]);
  }
  ~HostRounding() {
    if (mode_ != 0 && mode_ != 4) fesetround(FE_TONEAREST);
  }
  HostRounding(const HostRounding&) = delete;
  HostRounding& operator=(const HostRounding&) = delete;
  uint32_t mode() const { return mode_; }

 private:
  uint32_t mode_;
};

enum class Arithmetic { kAdd, kSubtract, kMultiply, kDivide, kSquareRoot };

template <Arithmetic kKind>
void Compute(Core& c, const Op* o) __attribute__((noinline));
template <Arithmetic kKind>
void Compute(Core& c, const Op* o) {
  const HostRounding rounding(c, o);
  const volatile float a = F(c.f[o->rs1]);
  const volatile float b = F(c.f[o->rs2]);
  volatile float r;
  switch (kKind) {
    case Arithmetic::kAdd:
      r = a + b;
      break;
    case Arithmetic::kSubtract:
      r = a - b;
      break;
    case Arithmetic::kMultiply:
      r = a * b;
      break;
    case Arithmetic::kDivide:
      r = a / b;
      break;
    default:
      r = std::sqrt(a);
      break;
  }
  c.f[o->rd] = B(r);
}

template <Arithmetic kKind>
void FloatOp(Core& c, const Op* o) {
  Compute<kKind>(c, o);
  P4_NEXT_OF(c, o);
}

template <bool kNegateProduct, bool kNegateAddend>
void FusedCompute(Core& c, const Op* o) __attribute__((noinline));
template <bool kNegateProduct, bool kNegateAddend>
void FusedCompute(Core& c, const Op* o) {
  const HostRounding rounding(c, o);
  const volatile float a = F(c.f[o->rs1] ^ (kNegateProduct ? kSign : 0));
  const volatile float b = F(c.f[o->rs2]);
  const volatile float d = F(c.f[o->rs3] ^ (kNegateAddend ? kSign : 0));
  c.f[o->rd] = B(std::fma(static_cast<float>(a), static_cast<float>(b), static_cast<float>(d)));
}

template <bool kNegateProduct, bool kNegateAddend>
void Fused(Core& c, const Op* o) {
  FusedCompute<kNegateProduct, kNegateAddend>(c, o);
  P4_NEXT_OF(c, o);
}

template <int kKind>  // 0 copy, 1 negate, 2 xor
void SignInject(Core& c, const Op* o) {
  const uint32_t a = c.f[o->rs1], b = c.f[o->rs2];
  const uint32_t sign = kKind == 0 ? b : kKind == 1 ? ~b : a ^ b;
  c.f[o->rd] = (a & ~kSign) | (sign & kSign);
  P4_NEXT_OF(c, o);
}

template <bool kMaximum>
void MinMax(Core& c, const Op* o) {
  const uint32_t a = c.f[o->rs1], b = c.f[o->rs2];
  if (IsSignaling(a) || IsSignaling(b)) feraiseexcept(FE_INVALID);
  uint32_t r;
  if (IsNan(a) || IsNan(b)) {
    r = IsNan(a) && IsNan(b) ? kQuietNan : IsNan(a) ? b : a;
  } else if (((a | b) & ~kSign) == 0) {
    r = kMaximum ? a & b : a | b;
  } else {
    r = (F(a) < F(b)) != kMaximum ? a : b;
  }
  c.f[o->rd] = r;
  P4_NEXT_OF(c, o);
}

template <int kKind>  // 0 fle, 1 flt, 2 feq
void Compare(Core& c, const Op* o) {
  const uint32_t a = c.f[o->rs1], b = c.f[o->rs2];
  const bool nan = IsNan(a) || IsNan(b);
  if (nan && (kKind != 2 || IsSignaling(a) || IsSignaling(b))) feraiseexcept(FE_INVALID);
  const bool result = !nan && (kKind == 0 ? F(a) <= F(b) : kKind == 1 ? F(a) < F(b) : F(a) == F(b));
  c.x[o->rd] = result;
  P4_NEXT_OF(c, o);
}

double RoundTo(double value, uint32_t mode);
// Libraries differ in whether rounding raises "inexact": whether it does is decided here.
double RoundQuietly(double value, uint32_t mode) {
  const int before = fetestexcept(FE_INEXACT);
  const volatile double rounded = RoundTo(value, mode);
  if (before == 0) feclearexcept(FE_INEXACT);
  return rounded;
}

double RoundTo(double value, uint32_t mode) {
  switch (mode) {
    case 1:
      return std::trunc(value);
    case 2:
      return std::floor(value);
    case 3:
      return std::ceil(value);
    case 4:
      return std::round(value);
    default:
      return std::nearbyint(value);
  }
}

void ToInteger(Core& c, const Op* o, bool is_signed) __attribute__((noinline));
void ToInteger(Core& c, const Op* o, bool is_signed) {
  const uint32_t bits = c.f[o->rs1];
  const uint32_t mode = o->sel2 == 7 ? c.frm : o->sel2;
  const double low = is_signed ? -2147483648.0 : 0.0;
  const double high = is_signed ? 2147483647.0 : 4294967295.0;
  const double value = static_cast<double>(F(bits));
  const double rounded = IsNan(bits) ? high : RoundQuietly(value, mode);
  const bool invalid = IsNan(bits) || rounded < low || rounded > high;
  const double clamped = rounded < low ? low : rounded > high ? high : rounded;
  if (invalid) {
    feraiseexcept(FE_INVALID);
  } else if (rounded != value) {
    feraiseexcept(FE_INEXACT);
  }
  c.x[o->rd] = static_cast<uint32_t>(static_cast<int64_t>(clamped));
}

template <bool kSigned>
void ConvertToInteger(Core& c, const Op* o) {
  ToInteger(c, o, kSigned);
  P4_NEXT_OF(c, o);
}

void FromInteger(Core& c, const Op* o, bool is_signed) __attribute__((noinline));
void FromInteger(Core& c, const Op* o, bool is_signed) {
  const HostRounding rounding(c, o);
  const volatile double exact = is_signed ? static_cast<double>(static_cast<int32_t>(c.x[o->rs1]))
                                          : static_cast<double>(c.x[o->rs1]);
  const volatile float value = static_cast<float>(exact);
  c.f[o->rd] = B(value);
}

template <bool kSigned>
void ConvertFromInteger(Core& c, const Op* o) {
  FromInteger(c, o, kSigned);
  P4_NEXT_OF(c, o);
}

void MoveToInteger(Core& c, const Op* o) {
  c.x[o->rd] = c.f[o->rs1];
  P4_NEXT_OF(c, o);
}

void MoveFromInteger(Core& c, const Op* o) {
  c.f[o->rd] = c.x[o->rs1];
  P4_NEXT_OF(c, o);
}

void Classify(Core& c, const Op* o) {
  const uint32_t bits = c.f[o->rs1];
  const bool negative = (bits & kSign) != 0;
  const uint32_t magnitude = bits & ~kSign;
  int kind;
  if (IsNan(bits)) {
    kind = IsSignaling(bits) ? 8 : 9;
  } else if (magnitude == 0x7F800000u) {
    kind = negative ? 0 : 7;
  } else if (magnitude >= 0x00800000u) {
    kind = negative ? 1 : 6;
  } else if (magnitude != 0) {
    kind = negative ? 2 : 5;
  } else {
    kind = negative ? 3 : 4;
  }
  c.x[o->rd] = 1u << kind;
  P4_NEXT_OF(c, o);
}

void LoadFloat(Core& c, const Op* o) {
  c.f[o->rd] = Load<uint32_t>(c, o, c.x[o->rs1] + static_cast<uint32_t>(o->imm));
  P4_NEXT_OF(c, o);
}

void StoreFloat(Core& c, const Op* o) {
  Store<uint32_t>(c, o, c.x[o->rs1] + static_cast<uint32_t>(o->imm), c.f[o->rs2]);
  P4_NEXT_OF(c, o);
}

constexpr Handler kFused[4] = {Fused<false, false>, Fused<false, true>, Fused<true, false>,
                               Fused<true, true>};

bool DecodeFloatOp(uint32_t w, const Parameters& parameters, Op& op, Timing& timing) {
  const uint32_t mode = (w >> 12) & 7;
  const uint32_t source2 = (w >> 20) & 31;
  bool to_integer = false, from_integer = false, two_sources = true;
  double latency = 0;
  switch (w >> 25) {
    case 0x00:
      op.handler = FloatOp<Arithmetic::kAdd>;
      latency = parameters.float_latency;
      break;
    case 0x04:
      op.handler = FloatOp<Arithmetic::kSubtract>;
      latency = parameters.float_latency;
      break;
    case 0x08:
      op.handler = FloatOp<Arithmetic::kMultiply>;
      latency = parameters.float_latency;
      break;
    case 0x0C:
      op.handler = FloatOp<Arithmetic::kDivide>;
      latency = parameters.float_div_latency;
      break;
    case 0x2C:
      if (source2 != 0) return false;
      op.handler = FloatOp<Arithmetic::kSquareRoot>;
      latency = parameters.float_div_latency;
      two_sources = false;
      break;
    case 0x10:
      op.handler = mode == 0   ? SignInject<0>
                   : mode == 1 ? SignInject<1>
                   : mode == 2 ? SignInject<2>
                               : nullptr;
      break;
    case 0x14:
      op.handler = mode == 0 ? MinMax<false> : mode == 1 ? MinMax<true> : nullptr;
      break;
    case 0x50:
      op.handler = mode == 0   ? Compare<0>
                   : mode == 1 ? Compare<1>
                   : mode == 2 ? Compare<2>
                               : nullptr;
      to_integer = true;
      break;
    case 0x60:
      if (source2 > 1) return false;
      op.handler = source2 == 0 ? ConvertToInteger<true> : ConvertToInteger<false>;
      latency = parameters.convert_latency;
      to_integer = true;
      two_sources = false;
      break;
    case 0x68:
      if (source2 > 1) return false;
      op.handler = source2 == 0 ? ConvertFromInteger<true> : ConvertFromInteger<false>;
      latency = parameters.convert_latency;
      from_integer = true;
      two_sources = false;
      break;
    case 0x70:
      if (source2 != 0) return false;
      op.handler = mode == 0 ? MoveToInteger : mode == 1 ? Classify : nullptr;
      to_integer = true;
      two_sources = false;
      break;
    case 0x78:
      if (source2 != 0 || mode != 0) return false;
      op.handler = MoveFromInteger;
      from_integer = true;
      two_sources = false;
      break;
    default:
      return false;
  }
  if (!to_integer) op.rd = static_cast<uint8_t>((w >> 7) & 31);
  timing.Read(from_integer ? op.rs1 : kFloatBase + op.rs1);
  if (two_sources) timing.Read(kFloatBase + op.rs2);
  if (latency > 0) {
    if (to_integer) {
      timing.WriteInteger(op.rd);
    } else {
      timing.Write(kFloatBase + op.rd);
    }
    timing.latency = static_cast<uint8_t>(latency);
  }
  return op.handler != nullptr;
}

}  // namespace

bool DecodeFloat(Core& core, uint32_t w, const Parameters& parameters, Op& op, Timing& timing) {
  if (!core.FloatOn()) return false;
  const uint32_t opcode = w & 0x7F;
  op.sel2 = static_cast<uint8_t>((w >> 12) & 7);
  switch (opcode) {
    case 0x07:
      if (op.sel2 != 2) return false;
      op.handler = LoadFloat;
      op.rd = static_cast<uint8_t>((w >> 7) & 31);
      timing.Read(op.rs1);
      timing.Write(kFloatBase + op.rd);
      timing.latency = static_cast<uint8_t>(parameters.load_use);
      return true;
    case 0x27:
      if (op.sel2 != 2) return false;
      op.handler = StoreFloat;
      op.imm = static_cast<int32_t>((static_cast<uint32_t>(op.imm) & ~31u) | ((w >> 7) & 31));
      timing.Read(op.rs1);
      timing.Read(kFloatBase + op.rs2);
      return true;
    case 0x43:
    case 0x47:
    case 0x4B:
    case 0x4F:
      if (((w >> 25) & 3) != 0) return false;
      op.handler = kFused[(opcode >> 2) & 3];
      op.rd = static_cast<uint8_t>((w >> 7) & 31);
      op.rs3 = static_cast<uint8_t>(w >> 27);
      for (const int reg : {op.rs1, op.rs2}) timing.Read(kFloatBase + reg);
      timing.addend = static_cast<uint8_t>(kFloatBase + op.rs3);
      timing.addend_delay = static_cast<uint8_t>(parameters.fused_addend);
      timing.Write(kFloatBase + op.rd);
      timing.latency = static_cast<uint8_t>(parameters.float_latency);
      return true;
    case 0x53:
      return DecodeFloatOp(w, parameters, op, timing);
    default:
      return false;
  }
}

}  // namespace p4
