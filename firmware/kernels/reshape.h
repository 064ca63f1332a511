// The same elements in the same order in another shape, between storages with gaps of their own.
#ifndef ESPGEN_KERNELS_RESHAPE_H_
#define ESPGEN_KERNELS_RESHAPE_H_

#include "rows.h"

namespace espgen {

struct ReshapeShape {
  int32_t in_pixels, in_channels, in_pitch;
  int32_t pixels, channels, out_pitch;
};

// Reads the rows in[0..] one after the other while the output's rows out[0..rows) fill.
template <const ReshapeShape& s, typename Element>
void reshape(void* const* out, const void* const* in, int32_t rows) {
  int32_t source_row = 0;
  int32_t source_pixel = 0;
  int32_t source_channel = 0;
  for (int32_t row = 0; row < rows; ++row) {
    for (int32_t p = 0; p < s.pixels; ++p) {
      Element* result = pixel_at<Element>(out[row], p * s.out_pitch);
      for (int32_t c = 0; c < s.channels; ++c) {
        result[c] = load<Element>(in[source_row], source_pixel * s.in_pitch, source_channel);
        if (++source_channel == s.in_channels) {
          source_channel = 0;
          if (++source_pixel == s.in_pixels) {
            source_pixel = 0;
            ++source_row;
          }
        }
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_RESHAPE_H_
