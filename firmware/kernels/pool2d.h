// Maximum and average over windows. Elements outside the image do not take part in a maximum and
// count as zero in an average, whose divisor is row_count[y] * column_count[x].
#ifndef ESPGEN_KERNELS_POOL2D_H_
#define ESPGEN_KERNELS_POOL2D_H_

#include "rows.h"

namespace espgen {

struct Pool2dShape {
  int32_t width, out_width, channels;
  int32_t kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_left;
  int32_t in_pitch, out_pitch;  // bytes per pixel
  int32_t in_zero_point, out_zero_point, low, high;
  int64_t numerator, denominator;
  int32_t wide;  // 1: averages need 64 bits
};

// Window taps [begin, end) that lie inside the image, for the output pixel x.
struct TapRange {
  int32_t begin, end;
};

template <const Pool2dShape& s>
inline TapRange taps_inside(int32_t x) {
  const int32_t first = x * s.stride_w - s.pad_left;
  const int32_t beyond = s.width - first;
  TapRange range = {0, 0};
  if (first < 0) range.begin = (-first + s.dilation_w - 1) / s.dilation_w;
  if (beyond > 0) range.end = (beyond + s.dilation_w - 1) / s.dilation_w;
  if (range.end > s.kernel_w) range.end = s.kernel_w;
  return range;
}

// Output row i reads in[i * stride_h + ky * dilation_h] for ky in [row_begin[i], row_end[i]).
template <const Pool2dShape& s, typename Element>
void max_pool2d(void* const* out, const void* const* in, const int16_t* row_begin,
                const int16_t* row_end, int32_t rows) {
  for (int32_t row = 0; row < rows; ++row) {
    const void* const* window = in + row * s.stride_h;
    for (int32_t x = 0; x < s.out_width; ++x) {
      Element* result = pixel_at<Element>(out[row], x * s.out_pitch);
      const TapRange columns = taps_inside<s>(x);
      const int32_t first = x * s.stride_w - s.pad_left;
      for (int32_t c = 0; c < s.channels; ++c) {
        int32_t largest = -32768;
        for (int32_t ky = row_begin[row]; ky < row_end[row]; ++ky) {
          const void* line = window[ky * s.dilation_h];
          for (int32_t kx = columns.begin; kx < columns.end; ++kx) {
            const int32_t value = load<Element>(line, (first + kx * s.dilation_w) * s.in_pitch, c);
            if (value > largest) largest = value;
          }
        }
        result[c] = static_cast<Element>(clamp32(largest, s.low, s.high));
      }
    }
  }
}

template <const Pool2dShape& s, typename Input, typename Output>
void average_pool2d(void* const* out, const void* const* in, const int16_t* row_begin,
                    const int16_t* row_end, const int32_t* row_count, const int32_t* column_count,
                    int32_t rows) {
  using Acc = typename Sum<s.wide != 0>::Type;
  for (int32_t row = 0; row < rows; ++row) {
    const void* const* window = in + row * s.stride_h;
    for (int32_t x = 0; x < s.out_width; ++x) {
      Output* result = pixel_at<Output>(out[row], x * s.out_pitch);
      const TapRange columns = taps_inside<s>(x);
      const int32_t first = x * s.stride_w - s.pad_left;
      const Acc divisor =
          static_cast<Acc>(row_count[row] * column_count[x]) * static_cast<Acc>(s.denominator);
      for (int32_t c = 0; c < s.channels; ++c) {
        Acc total = 0;
        for (int32_t ky = row_begin[row]; ky < row_end[row]; ++ky) {
          const void* line = window[ky * s.dilation_h];
          for (int32_t kx = columns.begin; kx < columns.end; ++kx) {
            total +=
                load<Input>(line, (first + kx * s.dilation_w) * s.in_pitch, c) - s.in_zero_point;
          }
        }
        const Acc value = rounded_divide<Acc>(total * static_cast<Acc>(s.numerator), divisor);
        result[c] = finished<Output>(value, s.out_zero_point, s.low, s.high);
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_POOL2D_H_
