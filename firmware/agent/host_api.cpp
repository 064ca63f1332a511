#include "host_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "describe.h"
#include "espgen/arena.h"
#include "espgen/model.h"
#include "tensors.h"

namespace {

using espgen::agent::ReadPacked;
using espgen::agent::RowBytes;
using espgen::agent::TotalBytes;
using espgen::agent::WhollyHeld;

constexpr uint8_t kGuardValue = 0xC3;
constexpr size_t kGuardAfter = espgen::kGuardBytes + espgen::kOverreadBytes;

char failure[512] = "";
uint8_t poison = 0;

EspgenHostBuffer* watched = nullptr;  // sorted by arena and offset
uint32_t watched_count = 0;

// Index of the first byte that is not the guard's; `count` where all are.
size_t FirstChanged(const uint8_t* bytes, size_t count) {
  size_t i = 0;
  while (i < count && bytes[i] == kGuardValue) ++i;
  return i;
}

bool GuardsHold(const char* layer) {
  for (uint32_t i = 0; i < espgen_arena_count; ++i) {
    const espgen::Arena& arena = espgen_arenas[i];
    const uint8_t* const before = arena.base - espgen::kGuardBytes;
    const uint8_t* const after = arena.base + arena.bytes;
    const size_t at_before = FirstChanged(before, espgen::kGuardBytes);
    const size_t at_after = FirstChanged(after, kGuardAfter);
    if (at_before == espgen::kGuardBytes && at_after == kGuardAfter) continue;
    const bool is_before = at_before != espgen::kGuardBytes;
    const size_t distance = is_before ? espgen::kGuardBytes - at_before : at_after;
    snprintf(failure, sizeof failure, "arena %s was written %zu bytes %s, in %s", arena.name,
             distance, is_before ? "before its start" : "past its end", layer);
    return false;
  }
  return true;
}

// Calls visit(arena, begin, end) for every run of bytes that belongs to no buffer of the step;
// stops at false.
template <class Visit>
bool ForEachGap(uint32_t step, Visit visit) {
  uint32_t next = 0;
  for (uint32_t index = 0; index < espgen_arena_count; ++index) {
    const espgen::Arena& arena = espgen_arenas[index];
    uint32_t free_from = 0;
    for (; next < watched_count && watched[next].arena == index; ++next) {
      const EspgenHostBuffer& buffer = watched[next];
      if (step < buffer.first_step || step > buffer.last_step) continue;
      if (buffer.offset > free_from && !visit(arena, free_from, buffer.offset)) return false;
      const uint32_t end = buffer.offset + buffer.bytes;
      if (end > free_from) free_from = end;
    }
    if (arena.bytes > free_from && !visit(arena, free_from, arena.bytes)) return false;
  }
  return true;
}

void FillGaps(uint32_t step) {
  ForEachGap(step, [](const espgen::Arena& arena, uint32_t begin, uint32_t end) {
    memset(arena.base + begin, poison, end - begin);
    return true;
  });
}

bool GapsHold(uint32_t step) {
  const char* const layer = espgen_model.layers[espgen_model.steps[step].layer].name;
  return ForEachGap(step, [layer](const espgen::Arena& arena, uint32_t begin, uint32_t end) {
    const uint8_t* const bytes = arena.base + begin;
    const size_t count = end - begin;
    if (bytes[0] == poison && memcmp(bytes, bytes + 1, count - 1) == 0) return true;
    size_t at = 0;
    while (bytes[at] == poison) ++at;
    snprintf(failure, sizeof failure, "arena %s was written at byte %zu, in no buffer of %s",
             arena.name, begin + at, layer);
    return false;
  });
}

int CompareBuffers(const void* left, const void* right) {
  const EspgenHostBuffer& a = *static_cast<const EspgenHostBuffer*>(left);
  const EspgenHostBuffer& b = *static_cast<const EspgenHostBuffer*>(right);
  if (a.arena != b.arena) return a.arena < b.arena ? -1 : 1;
  return a.offset < b.offset ? -1 : a.offset > b.offset ? 1 : 0;
}

void Capture(const espgen::Step& step, uint8_t* const* captures, uint32_t* rows) {
  const espgen::Layer& layer = espgen_model.layers[step.layer];
  for (uint16_t i = 0; i < layer.outputs; ++i) {
    const size_t at = static_cast<size_t>(layer.first_output) + i;
    const espgen::Tensor& tensor = espgen_model.tensors[espgen_model.layer_outputs[at]];
    const uint32_t end = step.row_end < tensor.rows ? step.row_end : tensor.rows;
    if (captures[at] == nullptr || step.row_begin >= end) continue;
    const uint32_t offset = step.row_begin * RowBytes(tensor);
    const size_t count = static_cast<size_t>(end - step.row_begin) * RowBytes(tensor);
    ReadPacked(tensor, offset, captures[at] + offset, count);
    rows[at] += end - step.row_begin;
  }
}

}  // namespace

extern "C" {

uint32_t espgen_host_abi(void) { return espgen_model.abi; }
const char* espgen_host_name(void) { return espgen_model.name; }
const uint8_t* espgen_host_hash(void) { return espgen_model.hash; }

uint32_t espgen_host_count(uint32_t what) {
  switch (what) {
    case kHostTensors:
      return espgen_model.tensor_count;
    case kHostLayers:
      return espgen_model.layer_count;
    case kHostSteps:
      return espgen_model.step_count;
    case kHostLayerOutputs:
      return espgen::agent::CountLayerOutputs(espgen_model);
    case kHostArenas:
      return espgen_arena_count;
    default:
      return 0;
  }
}

size_t espgen_host_describe(uint8_t what, uint16_t index, uint8_t* out, size_t capacity) {
  espgen::agent::ByteWriter writer(out, capacity);
  if (!espgen::agent::EncodeDescription(espgen_model, what, index, &writer)) return 0;
  return writer.overrun() ? 0 : writer.size();
}

const char* espgen_host_arena(uint32_t index) {
  return index < espgen_arena_count ? espgen_arenas[index].name : nullptr;
}

int espgen_host_watch(const EspgenHostBuffer* buffers, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    if (buffers[i].arena >= espgen_arena_count) return 1;
    const uint32_t size = espgen_arenas[buffers[i].arena].bytes;
    if (buffers[i].offset > size || buffers[i].bytes > size - buffers[i].offset) return 1;
  }
  free(watched);
  watched = static_cast<EspgenHostBuffer*>(malloc((count + 1) * sizeof *watched));
  if (watched == nullptr) abort();
  memcpy(watched, buffers, count * sizeof *watched);
  qsort(watched, count, sizeof *watched, CompareBuffers);
  watched_count = count;
  return 0;
}

void espgen_host_prepare(uint8_t value) {
  poison = value;
  for (uint32_t i = 0; i < espgen_arena_count; ++i) {
    const espgen::Arena& arena = espgen_arenas[i];
    memset(arena.base - espgen::kGuardBytes, kGuardValue, espgen::kGuardBytes);
    memset(arena.base, value, arena.bytes);
    memset(arena.base + arena.bytes, kGuardValue, kGuardAfter);
  }
}

int espgen_host_set_input(uint16_t tensor, const uint8_t* bytes, size_t size) {
  for (uint16_t i = 0; i < espgen_model.input_count; ++i) {
    if (espgen_model.inputs[i] != tensor) continue;
    const espgen::Tensor& input = espgen_model.tensors[tensor];
    if (!WhollyHeld(input) || size != TotalBytes(input)) return 1;
    espgen::agent::WritePacked(input, 0, bytes, size);
    return 0;
  }
  return 1;
}

int espgen_host_run(uint8_t* const* captures, uint32_t* rows, int check_each_step) {
  for (uint32_t i = 0; i < espgen_model.step_count; ++i) {
    const espgen::Step& step = espgen_model.steps[i];
    if (watched_count > 0) FillGaps(i);
    step.run();
    if (watched_count > 0 && !GapsHold(i)) return 2;
    if (captures != nullptr) Capture(step, captures, rows);
    if (check_each_step != 0 && !GuardsHold(espgen_model.layers[step.layer].name)) return 2;
  }
  return GuardsHold("the run") ? 0 : 2;
}

const char* espgen_host_failure(void) { return failure; }

int espgen_host_read(uint16_t tensor, uint8_t* out, size_t size) {
  if (tensor >= espgen_model.tensor_count) return 1;
  const espgen::Tensor& source = espgen_model.tensors[tensor];
  if (!WhollyHeld(source) || size != TotalBytes(source)) return 1;
  ReadPacked(source, 0, out, size);
  return 0;
}
}
