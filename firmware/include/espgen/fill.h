// Rows and halos full of a zero point, for kernels that read across a tensor's border without
// asking.
#ifndef ESPGEN_FILL_H_
#define ESPGEN_FILL_H_

#include <stdint.h>

namespace espgen {

// `count` elements of type T at `destination`.
template <typename T>
inline void fill(void* destination, T value, uint32_t count) {
  T* elements = static_cast<T*>(destination);
  for (uint32_t i = 0; i < count; ++i) elements[i] = value;
}

// The `left` elements in front of and the `right` elements behind the image in each of `rows` rows
// that start at `base` and lie `row_pitch` bytes apart; the right part begins `right_offset` bytes
// into the row.
template <typename T>
inline void fill_halo(uint8_t* base, T value, uint32_t rows, uint32_t row_pitch, uint32_t left,
                      uint32_t right_offset, uint32_t right) {
  for (uint32_t row = 0; row < rows; ++row) {
    fill<T>(base + row * row_pitch, value, left);
    fill<T>(base + row * row_pitch + right_offset, value, right);
  }
}

}  // namespace espgen

#endif  // ESPGEN_FILL_H_
