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
  int32_t low, high;
};

template <const TableShape& s, typename Input, typename Entry>
inline int32_t looked_up(Input x, const Entry* entries) {
  if constexpr (sizeof(Input) == 1) {
    return entries[x + 128];
  } else if constexpr (s.interpolate != 0) {
    const int32_t index = (x + 32768) >> 8;
    const int32_t fraction = (x + 32768) & 255;
    const int32_t sum = entries[index] * (256 - fraction) + entries[index + 1] * fraction;
    return clamp32(rne_shift32(sum, 8), s.low, s.high);
  } else {
    return clamp32(entries[rne_shift32(x + 32768, 8)], s.low, s.high);
  }
}

// Entries for 8-bit inputs are outputs already; those for 16-bit ones may lie beyond the output's
// range, within 2^22.
template <const TableShape& s, typename Input, typename Output, typename Entry>
void table(void* const* out, const void* const* in, const Entry* entries, int32_t rows) {
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t p = 0; p < s.pixels; ++p) {
      Output* result = pixel_at<Output>(out[row], p * s.out_pitch);
      for (int32_t c = 0; c < s.channels; ++c) {
        const Input x = load<Input>(in[row], p * s.in_pitch, c);
        result[c] = static_cast<Output>(looked_up<s>(x, entries));
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_TABLE_H_
