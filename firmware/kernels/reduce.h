// Mean, maximum and minimum over any axes. An output element's elements lie in `reduce_rows` rows
// of the input, in reduce_pixels pixels of each and reduce_channels channels of each pixel.
#ifndef ESPGEN_KERNELS_REDUCE_H_
#define ESPGEN_KERNELS_REDUCE_H_

#include "float_ties.h"

namespace espgen {

enum class Reduction : uint8_t { kMean, kMax, kMin };

struct ReduceShape {
  int32_t pixels, channels;  // of the output
  int32_t out_pitch;         // bytes per pixel
  int32_t reduce_rows, reduce_pixels, reduce_channels;
  int32_t in_pitch;
  int32_t in_zero_point, out_zero_point, low, high;
  int64_t numerator, denominator;
  Reduction reduction;
  int32_t wide;  // 1: sums need 64 bits
  FloatTies float_ties;
};

// Whether float32 rounds the mean floor + 1/2 of the elements at byte `offset` of the rows up.
template <const ReduceShape& s, typename Input>
inline bool tie_goes_up(const void* const* in, int32_t offset, int32_t floor) {
  FloatMean mean(s.reduce_rows * s.reduce_pixels * s.reduce_channels, s.float_ties);
  for (int32_t r = 0; r < s.reduce_rows; ++r) {
    for (int32_t p = 0; p < s.reduce_pixels; ++p) {
      for (int32_t c = 0; c < s.reduce_channels; ++c) {
        mean.add(load<Input>(in[r], offset + p * s.in_pitch, c) - s.in_zero_point);
      }
    }
  }
  return mean.rounds_up(floor);
}

// The element that starts at byte `offset` of the rows in[0..reduce_rows), before clipping.
template <const ReduceShape& s, typename Input, typename Acc>
inline Acc reduced(const void* const* in, int32_t offset) {
  Acc total = s.reduction == Reduction::kMean ? 0 : s.reduction == Reduction::kMax ? -32768 : 32767;
  for (int32_t r = 0; r < s.reduce_rows; ++r) {
    for (int32_t p = 0; p < s.reduce_pixels; ++p) {
      for (int32_t c = 0; c < s.reduce_channels; ++c) {
        const Acc value = load<Input>(in[r], offset + p * s.in_pitch, c);
        if constexpr (s.reduction == Reduction::kMean) {
          total += value - s.in_zero_point;
        } else if constexpr (s.reduction == Reduction::kMax) {
          if (value > total) total = value;
        } else {
          if (value < total) total = value;
        }
      }
    }
  }
  if constexpr (s.reduction == Reduction::kMean) {
    const Acc scaled = total * static_cast<Acc>(s.numerator);
    const Acc rounded = rounded_divide<Acc>(scaled, static_cast<Acc>(s.denominator));
    if constexpr (s.float_ties.input_scale != 0) {
      const Acc rest = scaled - rounded * static_cast<Acc>(s.denominator);
      const Acc distance = rest < 0 ? -rest : rest;
      if (distance == static_cast<Acc>(s.denominator) - distance) {
        const int32_t floor = static_cast<int32_t>(rounded) - (rest < 0 ? 1 : 0);
        return floor + (tie_goes_up<s, Input>(in, offset, floor) ? 1 : 0) + s.out_zero_point;
      }
    }
    return rounded + s.out_zero_point;
  } else {
    return total;
  }
}

// Output row i reads in[i * reduce_rows ..]; element (pixel, channel) starts at row_offset[i] +
// pixel_offset[pixel] + channel_offset[channel] bytes in each of them.
template <const ReduceShape& s, typename Input, typename Output>
void reduce(void* const* out, const void* const* in, const int32_t* row_offset,
            const int32_t* pixel_offset, const int32_t* channel_offset, int32_t rows) {
  using Acc = typename Sum<s.wide != 0>::Type;
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t p = 0; p < s.pixels; ++p) {
      Output* result = pixel_at<Output>(out[row], p * s.out_pitch);
      for (int32_t c = 0; c < s.channels; ++c) {
        const Acc value = reduced<s, Input, Acc>(
            in + row * s.reduce_rows, row_offset[row] + pixel_offset[p] + channel_offset[c]);
        result[c] = finished<Output>(value, 0, s.low, s.high);
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_REDUCE_H_
