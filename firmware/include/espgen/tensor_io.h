// Copies between a packed array (C order, channels last) and a tensor's rows.
#ifndef ESPGEN_TENSOR_IO_H_
#define ESPGEN_TENSOR_IO_H_

#include <string.h>

#include "espgen/model.h"
#include "espgen/real.h"

namespace espgen {

inline uint8_t* tensor_pixel(const Tensor& tensor, uint32_t row, uint32_t pixel) {
  return tensor.base + (row % tensor.ring_rows) * tensor.row_pitch + pixel * tensor.pixel_pitch;
}

inline void write_tensor(const Tensor& tensor, const void* packed) {
  const uint8_t* source = static_cast<const uint8_t*>(packed);
  for (uint32_t row = 0; row < tensor.rows; ++row) {
    for (uint32_t pixel = 0; pixel < tensor.pixels; ++pixel) {
      memcpy(tensor_pixel(tensor, row, pixel), source, tensor.pixel_bytes);
      source += tensor.pixel_bytes;
    }
  }
}

inline void read_tensor(const Tensor& tensor, void* packed) {
  uint8_t* target = static_cast<uint8_t*>(packed);
  for (uint32_t row = 0; row < tensor.rows; ++row) {
    for (uint32_t pixel = 0; pixel < tensor.pixels; ++pixel) {
      memcpy(target, tensor_pixel(tensor, row, pixel), tensor.pixel_bytes);
      target += tensor.pixel_bytes;
    }
  }
}

// Real values in the tensor's logical order to its integers.
template <typename T>
inline void write_real(const Tensor& tensor, const float* real, float scale, int32_t zero_point,
                       int32_t low, int32_t high) {
  for (uint32_t row = 0; row < tensor.rows; ++row) {
    for (uint32_t pixel = 0; pixel < tensor.pixels; ++pixel) {
      T* values = reinterpret_cast<T*>(tensor_pixel(tensor, row, pixel));
      for (uint32_t i = 0; i < tensor.pixel_bytes / sizeof(T); ++i) {
        values[i] = static_cast<T>(quantize_real(*real++, scale, zero_point, low, high));
      }
    }
  }
}

// The tensor's integers as real values, in its logical order.
template <typename T>
inline void read_real(const Tensor& tensor, float* real, float scale, int32_t zero_point) {
  for (uint32_t row = 0; row < tensor.rows; ++row) {
    for (uint32_t pixel = 0; pixel < tensor.pixels; ++pixel) {
      const T* values = reinterpret_cast<const T*>(tensor_pixel(tensor, row, pixel));
      for (uint32_t i = 0; i < tensor.pixel_bytes / sizeof(T); ++i) {
        *real++ = scale * static_cast<float>(static_cast<int32_t>(values[i]) - zero_point);
      }
    }
  }
}

}  // namespace espgen

#endif  // ESPGEN_TENSOR_IO_H_
