// y = clip(z + (x > zx ? positive(x - zx) : negative((x - zx) * (slope - zs)))), one rounding each.
#ifndef ESPGEN_KERNELS_PRELU_H_
#define ESPGEN_KERNELS_PRELU_H_

#include "rows.h"

namespace espgen {

struct PreluShape {
  int32_t pixels, channels;
  int32_t in_pitch, out_pitch;                       // bytes per pixel
  int32_t slope_pixel_stride, slope_channel_stride;  // 0 where broadcast
  int32_t in_zero_point, slope_zero_point, out_zero_point, low, high;
  UniformRequant positive, negative;
};

template <const PreluShape& s, typename Input, typename Slope, typename Output>
void prelu(void* const* out, const void* const* in, const void* const* slope, int32_t rows) {
  using Acc = typename Sum<(sizeof(Input) + sizeof(Slope) > 2)>::Type;
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t p = 0; p < s.pixels; ++p) {
      Output* result = pixel_at<Output>(out[row], p * s.out_pitch);
      for (int32_t c = 0; c < s.channels; ++c) {
        const Acc x = load<Input>(in[row], p * s.in_pitch, c) - s.in_zero_point;
        const Acc factor =
            load<Slope>(slope[row], p * s.slope_pixel_stride, c * s.slope_channel_stride) -
            s.slope_zero_point;
        if (x > 0) {
          const auto value = requantize_uniform<s.positive.kind, s.positive.split>(x, s.positive);
          result[c] = finished<Output>(value, s.out_zero_point, s.low, s.high);
        } else {
          const auto value =
              requantize_uniform<s.negative.kind, s.negative.split>(x * factor, s.negative);
          result[c] = finished<Output>(value, s.out_zero_point, s.low, s.high);
        }
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_PRELU_H_
