// Camera and file images to a network's input: crop, resize, normalise and quantize in one pass
// without a buffer. Colour goes through one table of 256 entries per channel, q = quantize((v -
// mean) / deviation), made once.
#ifndef ESPGEN_IMAGE_H_
#define ESPGEN_IMAGE_H_

#include <stdint.h>

#include "espgen/real.h"
#include "espgen/tensor_io.h"

namespace espgen {

enum class PixelFormat : uint8_t { kRgb888, kBgr888, kGray8, kRgb565 };
enum class Resize : uint8_t { kNearest, kBilinear };

// `data` points to the first pixel; rows lie `stride` bytes apart.
struct Image {
  const uint8_t* data;
  int32_t width, height, stride;
  PixelFormat format;
};

// Part of an image: [x, x + width) by [y, y + height).
struct Crop {
  int32_t x, y, width, height;
};

inline Crop whole(const Image& image) { return {0, 0, image.width, image.height}; }

// Quantized input value of every pixel value, per channel.
template <typename T>
struct PixelTable {
  T value[3][256];
};

template <typename T>
inline void fill_pixel_table(PixelTable<T>& table, const float* mean, const float* deviation,
                             int32_t channels, float scale, int32_t zero_point, int32_t low,
                             int32_t high) {
  for (int32_t c = 0; c < channels; ++c) {
    for (int32_t v = 0; v < 256; ++v) {
      const float real = (static_cast<float>(v) - mean[c]) / deviation[c];
      table.value[c][v] = static_cast<T>(quantize_real(real, scale, zero_point, low, high));
    }
  }
}

// Channel `c` (0 red, 1 green, 2 blue; gray images have one) of a pixel.
inline int32_t pixel_channel(const Image& image, int32_t x, int32_t y, int32_t c) {
  const uint8_t* row = image.data + y * image.stride;
  switch (image.format) {
    case PixelFormat::kRgb888:
      return row[3 * x + c];
    case PixelFormat::kBgr888:
      return row[3 * x + 2 - c];
    case PixelFormat::kRgb565: {
      const int32_t word = row[2 * x] | (row[2 * x + 1] << 8);
      if (c == 0) return ((word >> 11) & 31) * 255 / 31;
      if (c == 1) return ((word >> 5) & 63) * 255 / 63;
      return (word & 31) * 255 / 31;
    }
    case PixelFormat::kGray8:
      break;
  }
  return row[x];
}

// Where output position `index` of `count` samples an axis of `extent`: the pixel, the next one,
// and 11 bits of fraction.
struct Sample {
  int32_t first, second, fraction;
};

inline Sample sample_axis(int32_t index, int32_t count, int32_t extent, Resize resize) {
  if (resize == Resize::kNearest) {
    const int32_t nearest = index * extent / count;
    return {nearest, nearest, 0};
  }
  // Half-pixel centres: (index + 0.5) * extent / count - 0.5, in 1/2048 of a pixel.
  int32_t place =
      static_cast<int32_t>((static_cast<int64_t>(2 * index + 1) * extent * 1024) / count) - 1024;
  if (place < 0) place = 0;
  const int32_t last = extent - 1;
  const int32_t first = (place >> 11) < last ? place >> 11 : last;
  return {first, first < last ? first + 1 : last, first < last ? place & 2047 : 0};
}

inline int32_t sample_pixel(const Image& image, const Crop& crop, const Sample& x, const Sample& y,
                            int32_t c) {
  const int32_t top = pixel_channel(image, crop.x + x.first, crop.y + y.first, c);
  if (x.fraction == 0 && y.fraction == 0) return top;
  const int32_t right = pixel_channel(image, crop.x + x.second, crop.y + y.first, c);
  const int32_t below = pixel_channel(image, crop.x + x.first, crop.y + y.second, c);
  const int32_t corner = pixel_channel(image, crop.x + x.second, crop.y + y.second, c);
  const int32_t upper = top * (2048 - x.fraction) + right * x.fraction;
  const int32_t lower = below * (2048 - x.fraction) + corner * x.fraction;
  const int64_t sum =
      static_cast<int64_t>(upper) * (2048 - y.fraction) + static_cast<int64_t>(lower) * y.fraction;
  return static_cast<int32_t>((sum + (1 << 21)) >> 22);
}

// The cropped image, resized to the tensor's rows and pixels; `channels` are 1 or 3.
template <typename T>
inline void write_image(const Tensor& tensor, int32_t channels, const Image& image,
                        const Crop& crop, Resize resize, const PixelTable<T>& table) {
  const int32_t rows = static_cast<int32_t>(tensor.rows);
  const int32_t columns = static_cast<int32_t>(tensor.pixels);
  for (int32_t row = 0; row < rows; ++row) {
    const Sample y = sample_axis(row, rows, crop.height, resize);
    for (int32_t column = 0; column < columns; ++column) {
      const Sample x = sample_axis(column, columns, crop.width, resize);
      T* pixel = reinterpret_cast<T*>(
          tensor_pixel(tensor, static_cast<uint32_t>(row), static_cast<uint32_t>(column)));
      for (int32_t c = 0; c < channels; ++c) {
        pixel[c] = table.value[c][sample_pixel(image, crop, x, y, c)];
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_IMAGE_H_
