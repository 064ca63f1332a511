// The arithmetic contract in C++: the same bytes as espgen/arith.py (docs/arithmetic.md gives the
// formulas). Right shifts of negative numbers are arithmetic in every compiler espgen supports (and
// in C++20).
#ifndef ESPGEN_ARITH_H_
#define ESPGEN_ARITH_H_

#include <stdint.h>

namespace espgen {

enum class Requant : uint8_t { kNone, kShift, kScale, kWideScale };

constexpr uint32_t kMaxShift = 62;
constexpr int64_t kInt32Min = -2147483647LL - 1;
constexpr int64_t kInt32Max = 2147483647LL;

// value / 2^shift, to nearest, ties to even.
constexpr int64_t rne_shift(int64_t value, uint32_t shift) {
  if (shift == 0) return value;
  const uint32_t amount = shift < kMaxShift ? shift : kMaxShift;
  const int64_t floor = value >> amount;
  const int64_t remainder = value - (floor * (INT64_C(1) << amount));
  const int64_t half = INT64_C(1) << (amount - 1);
  const bool up = remainder > half || (remainder == half && (floor & 1) != 0);
  return floor + (up ? 1 : 0);
}

// The same where value fits 32 bits: adding half minus one, plus the floor's parity, then flooring.
constexpr int32_t rne_shift32(int32_t value, uint32_t shift) {
  if (shift == 0) return value;
  if (shift > 31) return 0;
  const int32_t floor = value >> shift;
  const uint32_t remainder = static_cast<uint32_t>(value) & ((UINT32_C(1) << shift) - 1);
  const uint32_t half = UINT32_C(1) << (shift - 1);
  const bool up = remainder > half || (remainder == half && (floor & 1) != 0);
  return floor + (up ? 1 : 0);
}

// numerator / denominator, to nearest, ties to even; denominator > 0.
constexpr int64_t rne_divide(int64_t numerator, int64_t denominator) {
  int64_t quotient = numerator / denominator;
  int64_t remainder = numerator % denominator;
  if (remainder < 0) {
    remainder += denominator;
    quotient -= 1;
  }
  const int64_t twice = 2 * remainder;
  const bool up = twice > denominator || (twice == denominator && (quotient & 1) != 0);
  return quotient + (up ? 1 : 0);
}

constexpr int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : (value > high ? high : value);
}

constexpr int32_t clamp32(int32_t value, int32_t low, int32_t high) {
  return value < low ? low : (value > high ? high : value);
}

// Scale: two 16-bit products and one rounding; see arith.Scale.
constexpr int32_t requantize_scale(int32_t acc, int32_t split, int32_t high, int32_t low,
                                   uint32_t shift) {
  if (split > 0) {
    const int64_t limit = INT64_C(1) << (15 + split);
    const int32_t bounded = static_cast<int32_t>(clamp(acc, -limit, limit - 1));
    const int32_t upper = bounded >> split;
    const int32_t lower = bounded - upper * (INT32_C(1) << split);
    return static_cast<int32_t>(
        rne_shift(static_cast<int64_t>(upper) * high + static_cast<int64_t>(lower) * low, shift));
  }
  const int32_t limit = INT32_C(1) << (15 + split);
  const int32_t bounded = clamp32(acc, -limit, limit - 1);
  const int32_t upper = bounded * (INT32_C(1) << -split);
  return static_cast<int32_t>(
      rne_shift(static_cast<int64_t>(upper) * high + static_cast<int64_t>(bounded) * low, shift));
}

// WideScale: a 32 x 31 bit product and one rounding; see arith.WideScale.
constexpr int64_t requantize_wide(int64_t acc, int32_t split, int32_t multiplier, uint32_t shift) {
  const int64_t bounded = clamp(acc >> split, kInt32Min, kInt32Max);
  return rne_shift(bounded * multiplier, shift);
}

// The type in which products of `Input` are summed: 32 bits for 8-bit inputs, else 64.
template <typename Input>
struct Accumulator {
  using Type = int64_t;
};
template <>
struct Accumulator<int8_t> {
  using Type = int32_t;
};

// One accumulator to the rounded output before zero point and clipping.
template <Requant kind, int32_t split, typename Acc, typename Multiplier>
inline int64_t requantize(Acc acc, const Multiplier* multiplier, const int16_t* low,
                          const uint8_t* shift, uint32_t channel) {
  if constexpr (kind == Requant::kNone) {
    return acc;
  } else if constexpr (kind == Requant::kShift) {
    if constexpr (sizeof(Acc) == 4) {
      return rne_shift32(acc, shift[channel]);
    } else {
      return rne_shift(acc, shift[channel]);
    }
  } else if constexpr (kind == Requant::kScale) {
    const int32_t narrow = static_cast<int32_t>(clamp(acc, kInt32Min, kInt32Max));
    return requantize_scale(narrow, split, multiplier[channel], low[channel], shift[channel]);
  } else {
    return requantize_wide(acc, split, static_cast<int32_t>(multiplier[channel]), shift[channel]);
  }
}

}  // namespace espgen

#endif  // ESPGEN_ARITH_H_
