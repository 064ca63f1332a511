// y = clip(z + rne((sum_i (x_i - z_i) * multiplier[i]) / 2^shift)): sums of differently scaled
// operands with one rounding. One operand: a change of scale or type. Operands broadcast by
// repeated rows and strides of 0.
#ifndef ESPGEN_KERNELS_WEIGHTED_SUM_H_
#define ESPGEN_KERNELS_WEIGHTED_SUM_H_

#include "rows.h"

namespace espgen {

constexpr int32_t kMaxOperands = 8;

struct WeightedSumShape {
  int32_t pixels, channels;
  int32_t out_pitch;                     // bytes per pixel
  int32_t pixel_stride[kMaxOperands];    // bytes, 0 where broadcast
  int32_t channel_stride[kMaxOperands];  // elements, 0 or 1
  int32_t zero_point[kMaxOperands];
  int32_t multiplier[kMaxOperands];
  int32_t shift, out_zero_point, low, high;
  int32_t wide;  // 1: sums need 64 bits
};

// Output rows out[0..rows); operand k of output row i is row in_k[i].
template <const WeightedSumShape& s, typename Output, typename... Inputs>
void weighted_sum(void* const* out, Rows<Inputs>... in, int32_t rows) {
  using Acc = typename Sum<s.wide != 0>::Type;
  for (int32_t row = 0; row < rows; ++row) {
    const void* const operands[] = {in[row]...};
    for (int32_t p = 0; p < s.pixels; ++p) {
      Output* result = pixel_at<Output>(out[row], p * s.out_pitch);
      for (int32_t c = 0; c < s.channels; ++c) {
        Acc total = 0;
        int32_t k = 0;
        ((total += (static_cast<Acc>(
                        load<Inputs>(operands[k], p * s.pixel_stride[k], c * s.channel_stride[k])) -
                    s.zero_point[k]) *
                   s.multiplier[k],
          ++k),
         ...);
        result[c] = finished<Output>(rounded_shift(total, static_cast<uint32_t>(s.shift)),
                                     s.out_zero_point, s.low, s.high);
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_WEIGHTED_SUM_H_
