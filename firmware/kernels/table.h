// Unary functions through tables made at compile time: 256 entries for 8-bit inputs; 257 for 16-bit
// ones, every 256th value, either the nearest entry (ties to the even index) or interpolated with
// one rounding.
#ifndef ESPGEN_KERNELS_TABLE_H_
#define ESPGEN_KERNELS_TABLE_H_

#include "rows.h"

namespace espgen {

struct TableShape {
  int32_t pixels, channels;
  int32_t in_pitch, out_pitch;  // bytes per pixel
  int32_t interpolate;
};

template <const TableShape& s, typename Input, typename Entry>
inline Entry looked_up(Input x, const Entry* table) {
  if constexpr (sizeof(Input) == 1) {
    return table[x + 128];
  } else if constexpr (s.interpolate != 0) {
    const int32_t index = (x + 32768) >> 8;
    const int32_t fraction = (x + 32768) & 255;
    const int32_t sum = table[index] * (256 - fraction) + table[index + 1] * fraction;
    return static_cast<Entry>(rne_shift32(sum, 8));
  } else {
    return table[rne_shift32(x + 32768, 8)];
  }
}

template <const TableShape& s, typename Input, typename Output>
void table(void* const* out, const void* const* in, const Output* entries, int32_t rows) {
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t p = 0; p < s.pixels; ++p) {
      Output* result = pixel_at<Output>(out[row], p * s.out_pitch);
      for (int32_t c = 0; c < s.channels; ++c) {
        result[c] = looked_up<s>(load<Input>(in[row], p * s.in_pitch, c), entries);
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_TABLE_H_
