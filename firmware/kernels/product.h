// y = clip(z + requantize((x1 - z1) * (x2 - z2))), operands broadcast by repeated rows and strides
// of 0.
#ifndef ESPGEN_KERNELS_PRODUCT_H_
#define ESPGEN_KERNELS_PRODUCT_H_

#include "rows.h"

namespace espgen {

struct ProductShape {
  int32_t pixels, channels;
  int32_t out_pitch;  // bytes per pixel
  int32_t first_pixel_stride, first_channel_stride, first_zero_point;
  int32_t second_pixel_stride, second_channel_stride, second_zero_point;
  int32_t out_zero_point, low, high;
  UniformRequant requant;
  int32_t wide;  // 1: products need 64 bits
};

template <const ProductShape& s, typename First, typename Second, typename Output>
void product(void* const* out, const void* const* first, const void* const* second, int32_t rows) {
  using Acc = typename Sum<s.wide != 0>::Type;
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t p = 0; p < s.pixels; ++p) {
      Output* result = pixel_at<Output>(out[row], p * s.out_pitch);
      for (int32_t c = 0; c < s.channels; ++c) {
        const Acc a = load<First>(first[row], p * s.first_pixel_stride, c * s.first_channel_stride);
        const Acc b =
            load<Second>(second[row], p * s.second_pixel_stride, c * s.second_channel_stride);
        const Acc acc = (a - s.first_zero_point) * (b - s.second_zero_point);
        const auto value = requantize_uniform<s.requant.kind, s.requant.split>(acc, s.requant);
        result[c] = finished<Output>(value, s.out_zero_point, s.low, s.high);
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_PRODUCT_H_
