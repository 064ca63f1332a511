// Right shifts with the rounding modes of CFG.vxrm.
#pragma once

#include "pie.h"

namespace p4::pie {

enum Rounding : uint8_t {
  kFloor = 0,
  kCeiling = 1,
  kAwayFromZero = 2,
  kTowardZero = 3,
  kNearestAway = 4,
  kNearestToZero = 5,
  kNearestEven = 6,
};

[[noreturn]] void BadRoundingMode(Core& core, const Op* op);
[[noreturn]] void UnprovenRounding(Core& core, const Op* op);

// Whether floor(x / 2^s) has to be increased by one. `rest` = x - floor * 2^s, `half` = 2^(s-1).
template <class Wide>
inline bool RoundsUp(uint8_t mode, bool negative, bool odd, Wide rest, Wide half) {
  switch (mode) {
    case kCeiling:
      return rest != 0;
    case kAwayFromZero:
      return rest != 0 && !negative;
    case kTowardZero:
      return rest != 0 && negative;
    case kNearestAway:
      return rest > half || (rest == half && !negative);
    case kNearestToZero:
      return rest > half || (rest == half && negative);
    case kNearestEven:
      return rest > half || (rest == half && odd);
    default:
      return false;
  }
}

// Exact for every shift: shifts beyond the width behave like division by that power of two.
template <class T>
inline T RoundShift(T x, uint32_t shift, uint8_t mode) {
  if (shift == 0) return x;
  if (sizeof(T) == 8 && shift <= 62) {
    const T floor = x >> shift;
    const T rest = x & ((T{1} << shift) - 1);
    return static_cast<T>(floor +
                          RoundsUp<T>(mode, x < 0, (floor & 1) != 0, rest, T{1} << (shift - 1)));
  }
  if constexpr (sizeof(T) < 8) {
    const uint32_t s = shift > 62 ? 62 : shift;
    const auto wide = static_cast<int64_t>(x);
    const int64_t floor = wide >> s;
    const int64_t rest = wide & ((int64_t{1} << s) - 1);
    return static_cast<T>(
        floor + RoundsUp<int64_t>(mode, wide < 0, (floor & 1) != 0, rest, int64_t{1} << (s - 1)));
  } else {
    using Wide = __int128;
    const uint32_t s = shift > 100 ? 100 : shift;
    const auto wide = static_cast<Wide>(x);
    const Wide floor = wide >> s;
    const Wide rest = wide & ((static_cast<Wide>(1) << s) - 1);
    return static_cast<T>(floor + RoundsUp<Wide>(mode, wide < 0, (floor & 1) != 0, rest,
                                                 static_cast<Wide>(1) << (s - 1)));
  }
}

// The instruction's own mode, or CFG's.
inline uint8_t RoundingMode(Core& core, const Op* op) {
  const uint8_t named = op->rs3 & kRoundingBits;
  if (named != kRoundingOfCfg) return named;
  if (core.rounding > kNearestEven) BadRoundingMode(core, op);
  return core.rounding;
}

}  // namespace p4::pie
