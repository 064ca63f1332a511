// Softmax along one axis: y = clip(z + rne(e_i * numerator / (denominator * sum e))), e_i = exp(s
// (x_i - max x)) in Q30. 8-bit inputs take e from one table of 256 differences; 16-bit ones
// multiply two, for the high and low byte.
#ifndef ESPGEN_KERNELS_SOFTMAX_H_
#define ESPGEN_KERNELS_SOFTMAX_H_

#include "rows.h"

namespace espgen {

struct SoftmaxShape {
  int32_t pixels, channels;  // vectors: one per pixel and channel of every group of rows
  int32_t length;
  int32_t row_step;             // rows between elements of a vector: 1 along rows, else 0
  int32_t in_step, out_step;    // bytes between elements of a vector, 0 along rows
  int32_t in_pitch, out_pitch;  // bytes per pixel
  int32_t out_zero_point, low, high;
  int64_t numerator, denominator;
};

template <typename Input>
inline int64_t exponential(int32_t difference, const int32_t* fine, const int32_t* coarse) {
  if constexpr (sizeof(Input) == 1) {
    return fine[difference];
  } else {
    const int64_t wide = int64_t{coarse[difference >> 8]} * fine[difference & 255];
    return (wide + (INT64_C(1) << 29)) >> 30;
  }
}

// Group i of rows reads in[i * rows_per_group ..], where a group is `length` rows along rows, else
// one.
template <const SoftmaxShape& s, typename Input, typename Output>
void softmax(void* const* out, const void* const* in, const int32_t* fine, const int32_t* coarse,
             int32_t groups) {
  constexpr int32_t rows_per_group = s.row_step != 0 ? s.length : 1;
  for (int32_t group = 0; group < groups; ++group) {
    const void* const* source = in + group * rows_per_group;
    void* const* target = out + group * rows_per_group;
    for (int32_t p = 0; p < s.pixels; ++p) {
      for (int32_t c = 0; c < s.channels; ++c) {
        const auto x = [&](int32_t i) -> int32_t {
          return load<Input>(source[i * s.row_step], p * s.in_pitch + i * s.in_step, c);
        };
        int32_t largest = x(0);
        for (int32_t i = 1; i < s.length; ++i) largest = x(i) > largest ? x(i) : largest;
        int64_t sum = 0;
        for (int32_t i = 0; i < s.length; ++i) {
          sum += exponential<Input>(largest - x(i), fine, coarse);
        }
        // Up to here a quotient is at most one half and rounds to 0: most of many classes need no
        // division.
        const int64_t zero_up_to = sum * s.denominator / (2 * int64_t{s.numerator});
        for (int32_t i = 0; i < s.length; ++i) {
          const int64_t e = exponential<Input>(largest - x(i), fine, coarse);
          const int64_t quotient =
              e <= zero_up_to ? 0 : rne_divide(e * s.numerator, sum * s.denominator);
          const int64_t value = quotient + s.out_zero_point;
          pixel_at<Output>(target[i * s.row_step], p * s.out_pitch + i * s.out_step)[c] =
              static_cast<Output>(clamp(value, s.low, s.high));
        }
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_SOFTMAX_H_
