// All movement of data whose source is a sum of a row's, a pixel's and a channel's place: slices,
// paddings, transposes, concatenations, depth to space and back, nearest resizing. A negative
// offset means `fill`.
#ifndef ESPGEN_KERNELS_GATHER_H_
#define ESPGEN_KERNELS_GATHER_H_

#include <string.h>

#include "rows.h"

namespace espgen {

struct GatherShape {
  int32_t pixels, channels;
  int32_t out_pitch;  // bytes per pixel
  int32_t
      contiguous_channels;  // 1: channels follow each other in the source, channel_offset is unused
  int32_t contiguous_pixels;  // 1: whole rows follow each other in both, pixel_offset is unused
  int32_t fill;
};

template <const GatherShape& s, typename Element>
inline void gather_pixel(Element* result, const void* source, int32_t offset,
                         const int32_t* channel_offset) {
  if constexpr (s.contiguous_channels != 0) {
    memcpy(result, static_cast<const uint8_t*>(source) + offset,
           static_cast<size_t>(s.channels) * sizeof(Element));
  } else {
    for (int32_t c = 0; c < s.channels; ++c) {
      result[c] = channel_offset[c] < 0 ? static_cast<Element>(s.fill)
                                        : load<Element>(source, offset + channel_offset[c], 0);
    }
  }
}

// Output row i is gathered from row in[i], starting row_offset[i] bytes after its first pixel.
template <const GatherShape& s, typename Element>
void gather(void* const* out, const void* const* in, const int32_t* row_offset,
            const int32_t* pixel_offset, const int32_t* channel_offset, int32_t rows) {
  for (int32_t row = 0; row < rows; ++row) {
    if (s.contiguous_pixels != 0 && row_offset[row] >= 0) {
      memcpy(out[row], static_cast<const uint8_t*>(in[row]) + row_offset[row],
             static_cast<size_t>(s.pixels * s.out_pitch));
      continue;
    }
    for (int32_t p = 0; p < s.pixels; ++p) {
      Element* result = pixel_at<Element>(out[row], p * s.out_pitch);
      if (row_offset[row] < 0 || pixel_offset[p] < 0) {
        for (int32_t c = 0; c < s.channels; ++c) result[c] = static_cast<Element>(s.fill);
      } else {
        gather_pixel<s>(result, in[row], row_offset[row] + pixel_offset[p], channel_offset);
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_KERNELS_GATHER_H_
