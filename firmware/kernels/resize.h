// Resizing by weighted taps along rows and columns: y = clip(z + rne(multiplier * sum wy wx (x -
// zx) / 2^shift)), weights in units of 2^-11.
#ifndef ESPGEN_KERNELS_RESIZE_H_
#define ESPGEN_KERNELS_RESIZE_H_

#include "rows.h"

namespace espgen {

struct ResizeShape {
  int32_t out_width, channels;
  int32_t row_taps, column_taps;
  int32_t in_pitch, out_pitch;  // bytes per pixel
  int32_t in_zero_point, out_zero_point, low, high;
  int64_t multiplier;
  int32_t shift;
  int32_t wide;  // 1: sums need 64 bits
};

// Output row i reads in[i * row_taps ..] with weights row_weight[i * row_taps ..]; output pixel x
// the pixels at bytes column_offset[x * column_taps ..] with weights column_weight[x * column_taps
// ..].
template <const ResizeShape& s, typename Input, typename Output>
void resize(void* const* out, const void* const* in, const int16_t* row_weight,
            const int32_t* column_offset, const int16_t* column_weight, int32_t rows) {
  using Acc = typename Sum<s.wide != 0>::Type;
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t x = 0; x < s.out_width; ++x) {
      Output* result = pixel_at<Output>(out[row], x * s.out_pitch);
      for (int32_t c = 0; c < s.channels; ++c) {
        Acc total = 0;
        for (int32_t ky = 0; ky < s.row_taps; ++ky) {
          Acc line = 0;
          for (int32_t kx = 0; kx < s.column_taps; ++kx) {
            const int32_t tap = x * s.column_taps + kx;
            const Acc value =
                load<Input>(in[row * s.row_taps + ky], column_offset[tap], c) - s.in_zero_point;
            line += value * column_weight[tap];
          }
          total += line * row_weight[row * s.row_taps + ky];
        }
        const Acc value = rounded_shift<Acc>(total * static_cast<Acc>(s.multiplier),
                                             static_cast<uint32_t>(s.shift));
        result[c] = finished<Output>(value, s.out_zero_point, s.low, s.high);
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_RESIZE_H_
