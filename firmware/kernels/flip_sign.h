// Unsigned to signed of the same width and back: the top bit is inverted, the zero point moves by
// half the range.
#ifndef ESPGEN_KERNELS_FLIP_SIGN_H_
#define ESPGEN_KERNELS_FLIP_SIGN_H_

#include "rows.h"

namespace espgen {

struct FlipSignShape {
  int32_t pixels, channels;
  int32_t in_pitch, out_pitch;  // bytes per pixel
};

template <const FlipSignShape& s, typename Input, typename Output>
void flip_sign(void* const* out, const void* const* in, int32_t rows) {
  constexpr uint32_t top = UINT32_C(1) << (8 * sizeof(Input) - 1);
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t p = 0; p < s.pixels; ++p) {
      Output* result = pixel_at<Output>(out[row], p * s.out_pitch);
      for (int32_t c = 0; c < s.channels; ++c) {
        const uint32_t bits = static_cast<uint32_t>(load<Input>(in[row], p * s.in_pitch, c));
        result[c] = static_cast<Output>(bits ^ top);
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_FLIP_SIGN_H_
