// Rows and halos full of a zero point, for kernels that read across a tensor's border without
// asking.
#ifndef ESPGEN_FILL_H_
#define ESPGEN_FILL_H_

#include <stdint.h>

namespace espgen {

// `count` elements of type T at `destination`, four bytes at a time where it is aligned to them.
template <typename T>
inline void fill(void* destination, T value, uint32_t count) {
  typedef uint32_t __attribute__((may_alias)) Word;
  constexpr uint32_t kPerWord = sizeof(Word) / sizeof(T);
  T* element = static_cast<T*>(destination);
  T* const end = element + count;
  while (element < end && reinterpret_cast<uintptr_t>(element) % sizeof(Word) != 0) {
    *element++ = value;
  }
  Word pattern = 0;
  for (uint32_t i = 0; i < kPerWord; ++i) {
    const uint32_t bits = static_cast<uint32_t>(value) << (32 - 8 * sizeof(T));
    pattern |= bits >> (8 * sizeof(T) * i);
  }
  for (; static_cast<uint32_t>(end - element) >= 4 * kPerWord; element += 4 * kPerWord) {
    Word* const words = reinterpret_cast<Word*>(element);
    words[0] = pattern;
    words[1] = pattern;
    words[2] = pattern;
    words[3] = pattern;
  }
  while (element < end) *element++ = value;
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
