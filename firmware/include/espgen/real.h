// Between real values and a tensor's integers, as ONNX defines it: float32 division, nearest, ties
// to even. For what lies in front of and behind a network; inside of it there is no float.
#ifndef ESPGEN_REAL_H_
#define ESPGEN_REAL_H_

#include <stdint.h>

namespace espgen {

// To the nearest integer, ties to even, for |value| < 2^22: adding 1.5 * 2^23 leaves no room for a
// fraction.
inline float round_even(float value) {
  volatile float shifted = value + 12582912.0f;
  return shifted - 12582912.0f;
}

// sat(round(real / scale) + zero_point); NaN gives the zero point.
inline int32_t quantize_real(float real, float scale, int32_t zero_point, int32_t low,
                             int32_t high) {
  constexpr float kFar = 1048576.0f;
  float quotient = real / scale;
  if (!(quotient == quotient)) quotient = 0.0f;
  if (quotient > kFar) quotient = kFar;
  if (quotient < -kFar) quotient = -kFar;
  const int32_t value = static_cast<int32_t>(round_even(quotient)) + zero_point;
  return value < low ? low : (value > high ? high : value);
}

}  // namespace espgen

#endif  // ESPGEN_REAL_H_
