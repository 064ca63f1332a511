// Convolution on rows: 2-D, 1-D, grouped, depthwise, dilated, any padding; products by constant
// matrices as 1x1. Weights are [out_channels][kernel_h][kernel_w][group_channels]; the bias already
// holds -zx * sum(w - zw), so that rows and pixels outside the image count as zx. y = clip(z +
// requantize(sum x * (w - zw) + bias)).
#ifndef ESPGEN_KERNELS_CONV2D_H_
#define ESPGEN_KERNELS_CONV2D_H_

#include "espgen/arith.h"

namespace espgen {

struct Conv2dShape {
  int32_t width, out_width, channels, out_channels;
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_left;
  int32_t group_channels, group_outputs;
  bool weights_have_zero_point;
  int32_t in_pitch, out_pitch;  // bytes per pixel
  int32_t in_zero_point, out_zero_point, low, high;
  Requant requant;
  int32_t split;
};

// One output element: the window starts at input pixel `x0` of rows[0..kernel_h).
template <const Conv2dShape& s, typename Input, typename Weight>
inline typename Accumulator<Input>::Type conv2d_sum(const void* const* rows, int32_t x0,
                                                    int32_t first_channel, const Weight* weights,
                                                    int32_t weight_zero) {
  using Acc = typename Accumulator<Input>::Type;
  const int32_t offset = s.weights_have_zero_point ? weight_zero : 0;
  Acc sum = 0;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const uint8_t* row = static_cast<const uint8_t*>(rows[ky * s.dilation_h]);
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
      const int32_t x = x0 + kx * s.dilation_w;
      if (x >= 0 && x < s.width) {
        const Input* pixel = reinterpret_cast<const Input*>(row + x * s.in_pitch) + first_channel;
        for (int32_t c = 0; c < s.group_channels; ++c) {
          sum += static_cast<Acc>(pixel[c]) * static_cast<Acc>(weights[c] - offset);
        }
      } else {
        for (int32_t c = 0; c < s.group_channels; ++c) {
          sum += static_cast<Acc>(s.in_zero_point) * static_cast<Acc>(weights[c] - offset);
        }
      }
      weights += s.group_channels;
    }
  }
  return sum;
}

// Output rows out[0..rows); output row i reads in[i * stride_h + ky * dilation_h], pointers to
// pixel 0.
template <const Conv2dShape& s, typename Input, typename Weight, typename Output, typename Bias,
          typename Multiplier>
void conv2d(void* const* out, const void* const* in, const Weight* weights, const Bias* bias,
            const int16_t* weight_zero_point, const Multiplier* multiplier, const int16_t* low,
            const uint8_t* shift, int32_t rows) {
  constexpr int32_t taps = s.kernel_h * s.kernel_w * s.group_channels;
  for (int32_t row = 0; row < rows; ++row) {
    const void* const* window = in + row * s.stride_h;
    uint8_t* result = static_cast<uint8_t*>(out[row]);
    for (int32_t x = 0; x < s.out_width; ++x) {
      Output* pixel = reinterpret_cast<Output*>(result + x * s.out_pitch);
      const int32_t x0 = x * s.stride_w - s.pad_left;
      for (int32_t o = 0; o < s.out_channels; ++o) {
        const int32_t first_channel = o / s.group_outputs * s.group_channels;
        const auto sum = conv2d_sum<s, Input, Weight>(window, x0, first_channel, weights + o * taps,
                                                      weight_zero_point[o]);
        const auto acc = sum + static_cast<decltype(sum)>(bias[o]);
        const int64_t value =
            requantize<s.requant, s.split>(acc, multiplier, low, shift, static_cast<uint32_t>(o)) +
            s.out_zero_point;
        pixel[o] = static_cast<Output>(clamp(value, s.low, s.high));
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_CONV2D_H_
