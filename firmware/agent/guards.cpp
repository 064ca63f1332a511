#include "guards.h"

#include <string.h>

namespace espgen {
namespace agent {
namespace {

// Calls visit(arena, begin, end) for every run of bytes that no buffer holds during the step, until
// it returns false.
template <class Visit>
void ForEachGap(const Model& model, uint32_t step, Visit visit) {
  uint32_t next = 0;
  for (uint32_t index = 0; index < model.arena_count; ++index) {
    const Arena& arena = model.arenas[index];
    uint32_t free_from = 0;
    for (; next < model.buffer_count && model.buffers[next].arena == index; ++next) {
      const LiveBuffer& buffer = model.buffers[next];
      if (step < buffer.first_step || step > buffer.last_step) continue;
      if (buffer.offset > free_from && !visit(arena, free_from, buffer.offset)) return;
      const uint32_t end = buffer.offset + buffer.bytes;
      if (end > free_from) free_from = end;
    }
    if (arena.bytes > free_from && !visit(arena, free_from, arena.bytes)) return;
  }
}

}  // namespace

void FillFreeBytes(const Model& model, uint32_t step, uint8_t value) {
  ForEachGap(model, step, [value](const Arena& arena, uint32_t begin, uint32_t end) {
    memset(arena.base + begin, value, end - begin);
    return true;
  });
}

bool FindStray(const Model& model, uint32_t step, uint8_t value, Stray* stray) {
  bool found = false;
  ForEachGap(model, step, [value, stray, &found](const Arena& arena, uint32_t begin, uint32_t end) {
    const size_t at = FirstOther(arena.base + begin, end - begin, value);
    found = at != end - begin;
    if (found) *stray = {&arena, begin + static_cast<uint32_t>(at)};
    return !found;
  });
  return found;
}

size_t FirstOther(const uint8_t* bytes, size_t count, uint8_t value) {
  size_t at = 0;
  while (at < count && (reinterpret_cast<uintptr_t>(bytes + at) & 3u) != 0) {
    if (bytes[at] != value) return at;
    ++at;
  }
  const uint32_t wanted = value * 0x01010101u;
  for (; at + 4 <= count; at += 4) {
    uint32_t word;
    __builtin_memcpy(&word, __builtin_assume_aligned(bytes + at, 4), 4);
    if (word != wanted) break;
  }
  while (at < count && bytes[at] == value) ++at;
  return at;
}

}  // namespace agent
}  // namespace espgen
