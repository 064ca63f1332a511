// Transposed convolution, gathered: output (y, x) sums the taps whose input position is whole and
// inside the image. Weights are [out_channels][kernel_h][kernel_w][group_channels].
#ifndef ESPGEN_KERNELS_CONV_TRANSPOSE2D_H_
#define ESPGEN_KERNELS_CONV_TRANSPOSE2D_H_

#include "rows.h"

namespace espgen {

struct ConvTranspose2dShape {
  int32_t width, out_width, channels, out_channels;
  int32_t kernel_h, kernel_w, stride_w, dilation_w, pad_left;
  int32_t group_channels, group_outputs;
  int32_t in_pitch, out_pitch;  // bytes per pixel
  int32_t in_zero_point, out_zero_point, low, high;
  Requant requant;
  int32_t split;
};

// Output channel `o` of output pixel x; rows[ky] is the input row under tap row ky, filled with the
// zero point where there is none.
template <const ConvTranspose2dShape& s, typename Input, typename Weight, typename Acc>
inline Acc conv_transpose2d_sum(const void* const* rows, int32_t x, int32_t o,
                                const Weight* weights, Acc weight_zero) {
  const int32_t first_channel = o / s.group_outputs * s.group_channels;
  Acc sum = 0;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
      const Weight* tap = weights + (ky * s.kernel_w + kx) * s.group_channels;
      const int32_t scaled = x + s.pad_left - kx * s.dilation_w;
      if (scaled < 0 || scaled % s.stride_w != 0 || scaled / s.stride_w >= s.width) continue;
      const int32_t offset = scaled / s.stride_w * s.in_pitch;
      for (int32_t c = 0; c < s.group_channels; ++c) {
        const Acc value = load<Input>(rows[ky], offset, first_channel + c) - s.in_zero_point;
        sum += value * (static_cast<Acc>(tap[c]) - weight_zero);
      }
    }
  }
  return sum;
}

// Output row i reads in[i * kernel_h + ky] for every tap row ky.
template <const ConvTranspose2dShape& s, typename Input, typename Weight, typename Output,
          typename Bias, typename Multiplier>
void conv_transpose2d(void* const* out, const void* const* in, const Weight* weights,
                      const Bias* bias, const int16_t* weight_zero_point,
                      const Multiplier* multiplier, const int16_t* low, const uint8_t* shift,
                      int32_t rows) {
  constexpr int32_t taps = s.kernel_h * s.kernel_w * s.group_channels;
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t x = 0; x < s.out_width; ++x) {
      Output* result = pixel_at<Output>(out[row], x * s.out_pitch);
      for (int32_t o = 0; o < s.out_channels; ++o) {
        const Bias acc =
            bias[o] + conv_transpose2d_sum<s, Input, Weight, Bias>(
                          in + row * s.kernel_h, x, o, weights + o * taps, weight_zero_point[o]);
        const int64_t value =
            requantize<s.requant, s.split>(acc, multiplier, low, shift, static_cast<uint32_t>(o)) +
            s.out_zero_point;
        result[o] = static_cast<Output>(clamp(value, s.low, s.high));
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_CONV_TRANSPOSE2D_H_
