// Products of two matrices computed at run time: y[m][n] = clip(z + requantize(sum_k (a - za)(b -
// zb) + bias[n])).
#ifndef ESPGEN_KERNELS_MATMUL_H_
#define ESPGEN_KERNELS_MATMUL_H_

#include "rows.h"

namespace espgen {

struct MatmulShape {
  int32_t pixels, depth, channels;      // a is pixels x depth, b depth x channels
  int32_t a_pitch, b_pitch, out_pitch;  // bytes per pixel
  int32_t a_zero_point, b_zero_point, out_zero_point, low, high;
  Requant requant;
  int32_t split;
};

// One product per row: out[i] = a[i] * b[i].
template <const MatmulShape& s, typename First, typename Second, typename Output, typename Bias,
          typename Multiplier>
void matmul(void* const* out, const void* const* a, const void* const* b, const Bias* bias,
            const Multiplier* multiplier, const int16_t* low, const uint8_t* shift, int32_t rows) {
  using Acc = Bias;
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t m = 0; m < s.pixels; ++m) {
      Output* result = pixel_at<Output>(out[row], m * s.out_pitch);
      for (int32_t n = 0; n < s.channels; ++n) {
        Acc acc = bias[n];
        for (int32_t k = 0; k < s.depth; ++k) {
          const Acc left = load<First>(a[row], m * s.a_pitch, k) - s.a_zero_point;
          const Acc right = load<Second>(b[row], k * s.b_pitch, n) - s.b_zero_point;
          acc += left * right;
        }
        const int64_t value =
            requantize<s.requant, s.split>(acc, multiplier, low, shift, static_cast<uint32_t>(n)) +
            s.out_zero_point;
        result[n] = static_cast<Output>(clamp(value, s.low, s.high));
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_MATMUL_H_
