#include "host_api.h"

#include <stdio.h>
#include <string.h>

#include "boards/served_model.h"
#include "bytes.h"
#include "describe.h"
#include "espgen/model.h"
#include "guards.h"
#include "tensors.h"

namespace {

using espgen::agent::FirstOther;
using espgen::agent::ReadPacked;
using espgen::agent::RowBytes;
using espgen::agent::TotalBytes;
using espgen::agent::WhollyHeld;

constexpr uint8_t kGuardValue = 0xC3;
constexpr size_t kGuardAfter = espgen::kGuardBytes + espgen::kOverreadBytes;

const espgen::Model& model = espgen::ServedModel();
char failure[512] = "";
uint8_t poison = 0;

bool GuardsHold(const char* layer) {
  for (uint32_t i = 0; i < model.arena_count; ++i) {
    const espgen::Arena& arena = model.arenas[i];
    const uint8_t* const before = arena.base - espgen::kGuardBytes;
    const uint8_t* const after = arena.base + arena.bytes;
    const size_t at_before = FirstOther(before, espgen::kGuardBytes, kGuardValue);
    const size_t at_after = FirstOther(after, kGuardAfter, kGuardValue);
    if (at_before == espgen::kGuardBytes && at_after == kGuardAfter) continue;
    const bool is_before = at_before != espgen::kGuardBytes;
    const size_t distance = is_before ? espgen::kGuardBytes - at_before : at_after;
    snprintf(failure, sizeof failure, "arena %s was written %zu bytes %s, in %s", arena.name,
             distance, is_before ? "before its start" : "past its end", layer);
    return false;
  }
  return true;
}

bool FreeBytesHold(uint32_t step, const char* layer) {
  espgen::agent::Stray stray;
  if (!espgen::agent::FindStray(model, step, poison, &stray)) return true;
  snprintf(failure, sizeof failure, "arena %s was written at byte %u, in no buffer of %s",
           stray.arena->name, static_cast<unsigned>(stray.offset), layer);
  return false;
}

void Capture(const espgen::Step& step, uint8_t* const* captures, uint32_t* rows) {
  const espgen::Layer& layer = model.layers[step.layer];
  for (uint16_t i = 0; i < layer.outputs; ++i) {
    const size_t at = static_cast<size_t>(layer.first_output) + i;
    const espgen::Tensor& tensor = model.tensors[model.layer_outputs[at]];
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

uint32_t espgen_host_abi(void) { return model.abi; }
const char* espgen_host_name(void) { return model.name; }
const uint8_t* espgen_host_hash(void) { return model.hash; }

uint32_t espgen_host_count(uint32_t what) {
  switch (what) {
    case kHostTensors:
      return model.tensor_count;
    case kHostLayers:
      return model.layer_count;
    case kHostSteps:
      return model.step_count;
    case kHostLayerOutputs:
      return espgen::agent::CountLayerOutputs(model);
    case kHostArenas:
      return model.arena_count;
    default:
      return 0;
  }
}

size_t espgen_host_describe(uint8_t what, uint16_t index, uint8_t* out, size_t capacity) {
  espgen::agent::ByteWriter writer(out, capacity);
  if (!espgen::agent::EncodeDescription(model, what, index, &writer)) return 0;
  return writer.overrun() ? 0 : writer.size();
}

void espgen_host_prepare(uint8_t value) {
  poison = value;
  for (uint32_t i = 0; i < model.arena_count; ++i) {
    const espgen::Arena& arena = model.arenas[i];
    memset(arena.base - espgen::kGuardBytes, kGuardValue, espgen::kGuardBytes);
    memset(arena.base, value, arena.bytes);
    memset(arena.base + arena.bytes, kGuardValue, kGuardAfter);
  }
}

int espgen_host_set_input(uint16_t tensor, const uint8_t* bytes, size_t size) {
  for (uint16_t i = 0; i < model.input_count; ++i) {
    if (model.inputs[i] != tensor) continue;
    const espgen::Tensor& input = model.tensors[tensor];
    if (!WhollyHeld(input) || size != TotalBytes(input)) return 1;
    espgen::agent::WritePacked(input, 0, bytes, size);
    return 0;
  }
  return 1;
}

int espgen_host_run(uint8_t* const* captures, uint32_t* rows) {
  for (uint32_t i = 0; i < model.step_count; ++i) {
    const espgen::Step& step = model.steps[i];
    const char* const layer = model.layers[step.layer].name;
    espgen::agent::FillFreeBytes(model, i, poison);
    step.run(step.row_begin, step.row_end);
    if (!GuardsHold(layer) || !FreeBytesHold(i, layer)) return 2;
    if (captures != nullptr) Capture(step, captures, rows);
  }
  return 0;
}

const char* espgen_host_failure(void) { return failure; }

int espgen_host_read(uint16_t tensor, uint8_t* out, size_t size) {
  if (tensor >= model.tensor_count) return 1;
  const espgen::Tensor& source = model.tensors[tensor];
  if (!WhollyHeld(source) || size != TotalBytes(source)) return 1;
  ReadPacked(source, 0, out, size);
  return 0;
}
}
