// What compilers call by themselves and a bare board has no library for. Word by word where both
// sides are aligned.
#include "include/string.h"

#include <stdint.h>

namespace {

bool Aligned(const void* a, const void* b) {
  return ((reinterpret_cast<uintptr_t>(a) | reinterpret_cast<uintptr_t>(b)) & 3u) == 0;
}

// Not to be taken for the functions they serve to write.
typedef uint32_t __attribute__((may_alias)) Word;

inline void Barrier() { asm volatile("" ::: "memory"); }

}  // namespace

extern "C" {

void* memcpy(void* to, const void* from, size_t count) {
  uint8_t* out = static_cast<uint8_t*>(to);
  const uint8_t* in = static_cast<const uint8_t*>(from);
  if (Aligned(out, in)) {
    for (; count >= 16; count -= 16, in += 16, out += 16) {
      const Word* words = reinterpret_cast<const Word*>(in);
      Word* const target = reinterpret_cast<Word*>(out);
      const Word a = words[0], b = words[1], c = words[2], d = words[3];
      target[0] = a;
      target[1] = b;
      target[2] = c;
      target[3] = d;
      Barrier();
    }
    for (; count >= 4; count -= 4, in += 4, out += 4) {
      *reinterpret_cast<Word*>(out) = *reinterpret_cast<const Word*>(in);
      Barrier();
    }
  }
  for (; count > 0; --count) {
    *out++ = *in++;
    Barrier();
  }
  return to;
}

void* memmove(void* to, const void* from, size_t count) {
  uint8_t* out = static_cast<uint8_t*>(to);
  const uint8_t* in = static_cast<const uint8_t*>(from);
  if (out <= in) return memcpy(to, from, count);
  while (count > 0) {
    --count;
    out[count] = in[count];
    Barrier();
  }
  return to;
}

void* memset(void* to, int value, size_t count) {
  uint8_t* out = static_cast<uint8_t*>(to);
  const Word word = static_cast<uint8_t>(value) * Word{0x01010101};
  for (; count > 0 && !Aligned(out, out); --count) *out++ = static_cast<uint8_t>(value);
  for (; count >= 4; count -= 4, out += 4) {
    *reinterpret_cast<Word*>(out) = word;
    Barrier();
  }
  for (; count > 0; --count) {
    *out++ = static_cast<uint8_t>(value);
    Barrier();
  }
  return to;
}

int memcmp(const void* left, const void* right, size_t count) {
  const uint8_t* a = static_cast<const uint8_t*>(left);
  const uint8_t* b = static_cast<const uint8_t*>(right);
  for (; count > 0; --count, ++a, ++b) {
    if (*a != *b) return *a < *b ? -1 : 1;
  }
  return 0;
}

size_t strlen(const char* text) {
  size_t length = 0;
  while (text[length] != 0) {
    ++length;
    Barrier();
  }
  return length;
}
}
