// Copies between a packed array (C order, channels last) and a tensor's rows.
#ifndef ESPGEN_TENSOR_IO_H_
#define ESPGEN_TENSOR_IO_H_

#include <string.h>

#include "espgen/model.h"

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

}  // namespace espgen

#endif  // ESPGEN_TENSOR_IO_H_
