// Unary functions through tables made at compile time: 256 entries for 8-bit inputs; for 16-bit
// ones entries at equal distances, interpolated or the nearest, or segments of steps of their own.
#ifndef ESPGEN_KERNELS_TABLE_H_
#define ESPGEN_KERNELS_TABLE_H_

#include "rows.h"

namespace espgen {

// With p = x + 32768:
//   kInterpolate  between entries p / 2^bits and the next, one rounding, then clipped
//   kNearest      entry p / 2^bits, ties to the even index, clipped
//   kSegments     interpolation within segment p / 2^bits: its word holds 16 * first entry + bits
//   of a
//                 step; entries are outputs
enum class TableForm : int32_t { kInterpolate, kNearest, kSegments };

struct TableShape {
  int32_t pixels, channels;
  int32_t in_pitch, out_pitch;  // bytes per pixel
  TableForm form;
  uint32_t bits;
  int32_t low, high;
};

template <typename Entry>
inline int32_t interpolated(const Entry* entries, int32_t position, uint32_t bits) {
  const int32_t index = position >> bits;
  const int32_t size = INT32_C(1) << bits;
  const int32_t fraction = position & (size - 1);
  return rne_shift32(entries[index] * (size - fraction) + entries[index + 1] * fraction, bits);
}

template <const TableShape& s, typename Input, typename Entry>
inline int32_t looked_up(Input x, const Entry* entries, const int32_t* segments) {
  if constexpr (sizeof(Input) == 1) {
    return entries[x + 128];
  } else if constexpr (s.form == TableForm::kInterpolate) {
    return clamp32(interpolated(entries, x + 32768, s.bits), s.low, s.high);
  } else if constexpr (s.form == TableForm::kNearest) {
    return clamp32(entries[rne_shift32(x + 32768, s.bits)], s.low, s.high);
  } else {
    const int32_t position = x + 32768;
    const int32_t segment = segments[position >> s.bits];
    return interpolated(entries + (segment >> 4), position & ((INT32_C(1) << s.bits) - 1),
                        static_cast<uint32_t>(segment & 15));
  }
}

// Entries of kInterpolate may lie beyond the output's range, within 2^22.
template <const TableShape& s, typename Input, typename Output, typename Entry>
void table(void* const* out, const void* const* in, const Entry* entries, const int32_t* segments,
           int32_t rows) {
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t p = 0; p < s.pixels; ++p) {
      Output* result = pixel_at<Output>(out[row], p * s.out_pitch);
      for (int32_t c = 0; c < s.channels; ++c) {
        const Input x = load<Input>(in[row], p * s.in_pitch, c);
        result[c] = static_cast<Output>(looked_up<s>(x, entries, segments));
      }
    }
  }
}

template <const TableShape& s, typename Input, typename Output, typename Entry>
void table(void* const* out, const void* const* in, const Entry* entries, int32_t rows) {
  table<s, Input, Output>(out, in, entries, nullptr, rows);
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_TABLE_H_
