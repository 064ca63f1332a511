// What the element-wise kernels share: loads from rows of bytes, and requantization by constants.
#ifndef ESPGEN_KERNELS_ROWS_H_
#define ESPGEN_KERNELS_ROWS_H_

#include "espgen/arith.h"

namespace espgen {

// The row table of an operand of type `Element`.
template <typename Element>
using Rows = const void* const*;

// 64 bits where `wide` (the compiler found that 32 do not hold every sum), else 32.
template <bool wide>
struct Sum {
  using Type = int32_t;
};
template <>
struct Sum<true> {
  using Type = int64_t;
};

// Element `index` of the pixel at byte `offset` of a row.
template <typename Element>
inline Element load(const void* row, int32_t offset, int32_t index) {
  return reinterpret_cast<const Element*>(static_cast<const uint8_t*>(row) + offset)[index];
}

template <typename Element>
inline Element* pixel_at(void* row, int32_t offset) {
  return reinterpret_cast<Element*>(static_cast<uint8_t*>(row) + offset);
}

// value / 2^shift to nearest, ties to even. In 32 bits |value| + 2^shift / 2 must fit (the compiler
// sees to it): adding half less one, and one more where the floor is odd, then rounds by flooring.
template <typename Value>
constexpr Value rounded_shift(Value value, uint32_t shift) {
  if constexpr (sizeof(Value) == 4) {
    if (shift == 0) return value;
    const int32_t half = INT32_C(1) << (shift - 1);
    return (value + (half - 1) + ((value >> shift) & 1)) >> shift;
  } else {
    return rne_shift(value, shift);
  }
}

// numerator / denominator to nearest, ties to even; 32-bit division where both fit.
template <typename Value>
constexpr Value rounded_divide(Value numerator, Value denominator) {
  if constexpr (sizeof(Value) == 4) {
    Value quotient = numerator / denominator;
    Value remainder = numerator % denominator;
    if (remainder < 0) {
      remainder += denominator;
      quotient -= 1;
    }
    const Value rest = denominator - remainder;
    const bool up = remainder > rest || (remainder == rest && (quotient & 1) != 0);
    return quotient + (up ? 1 : 0);
  } else {
    return rne_divide(numerator, denominator);
  }
}

// value + zero_point within [low, high]; in 32 bits where the value has no more (the compiler
// leaves room for the sum).
template <typename Output, typename Value>
constexpr Output finished(Value value, int32_t zero_point, int32_t low, int32_t high) {
  if constexpr (sizeof(Value) == 4) {
    return static_cast<Output>(clamp32(value + zero_point, low, high));
  } else {
    return static_cast<Output>(clamp(value + zero_point, low, high));
  }
}

// A requantization with one entry for the whole tensor, known at compile time.
struct UniformRequant {
  Requant kind;
  int32_t split, multiplier, low, shift;
};

// 32 bits wide where the kind leaves no more of a 32-bit accumulator.
template <Requant kind, typename Acc>
using Rounded = typename Sum<sizeof(Acc) != 4 || kind == Requant::kWideScale>::Type;

template <Requant kind, int32_t split, typename Acc>
inline Rounded<kind, Acc> requantize_uniform(Acc acc, const UniformRequant& r) {
  const int32_t multiplier[1] = {r.multiplier};
  const int16_t low[1] = {static_cast<int16_t>(r.low)};
  const uint8_t shift[1] = {static_cast<uint8_t>(r.shift)};
  return static_cast<Rounded<kind, Acc>>(requantize<kind, split>(acc, multiplier, low, shift, 0));
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_ROWS_H_
