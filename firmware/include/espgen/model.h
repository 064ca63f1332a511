// What a generated component tells about itself: tensors, layers and the static list of kernel
// calls. Everything here is read-only data; the verification agent and the profiler need nothing
// else. A component defines one description in its own namespace, `const espgen::Model kModel`.
#ifndef ESPGEN_MODEL_H_
#define ESPGEN_MODEL_H_

#include <stddef.h>
#include <stdint.h>

#include "espgen/arena.h"

namespace espgen {

constexpr uint32_t kModelAbi = 4;  // changes with any change of the structures below
constexpr size_t kMaxRank = 6;
constexpr size_t kHashBytes = 32;

enum class DType : uint8_t { kInt8, kUint8, kInt16, kUint16, kInt32, kInt64, kFloat32 };

// A tensor and where its rows lie. Logical element (row, i) is byte i of `row_bytes` packed bytes,
// gathered from `pixels` pixels of `pixel_bytes` each at distance `pixel_pitch`; row r starts at
// base + (r % ring_rows) * row_pitch. The logical order of the elements is the tensor's shape in C
// order, channels last.
struct Tensor {
  const char* name;
  DType dtype;
  uint8_t rank;
  int32_t shape[kMaxRank];
  float scale;
  int32_t zero_point;
  uint8_t* base;
  uint32_t rows;
  uint32_t pixels;
  uint32_t pixel_bytes;
  uint32_t pixel_pitch;
  uint32_t row_pitch;
  uint32_t ring_rows;  // equals `rows` where the whole tensor is held
};

// One node of the integer graph. `first_output` indexes Model::layer_outputs.
struct Layer {
  const char* name;
  const char* op;
  uint64_t macs;
  uint16_t first_output;
  uint16_t outputs;
};

// Some rows of one layer: after run(row_begin, row_end) these rows of every output of `layer` are
// valid until a later step overwrites them.
struct Step {
  void (*run)(uint32_t begin, uint32_t end);
  uint16_t layer;
  uint32_t row_begin;
  uint32_t row_end;
};

struct Memory {
  uint32_t internal_bytes;  // activation arena in internal RAM
  uint32_t psram_bytes;     // activation arena in PSRAM
  uint32_t weight_bytes;
  const char* planner;  // "optimal" or the gap
};

// How a model notices that another task used the vector unit (espgen/run.h); null where no layer
// uses it. `disturbed` is 0 while nobody did.
struct Watch {
  void (*start)();
  uint32_t (*disturbed)();
};

struct Model {
  uint32_t abi;
  const char* name;
  uint8_t hash[kHashBytes];  // SHA-256 of the integer graph
  const Tensor* tensors;
  uint16_t tensor_count;
  const Layer* layers;
  uint16_t layer_count;
  const uint16_t* layer_outputs;  // tensor indices
  const Step* steps;
  uint32_t step_count;
  const uint16_t* inputs;  // tensor indices
  uint16_t input_count;
  const uint16_t* outputs;
  uint16_t output_count;
  const Arena* arenas;
  uint16_t arena_count;
  const LiveBuffer* buffers;  // of the memory plan, sorted by arena and offset
  uint32_t buffer_count;
  Memory memory;
  Watch watch;
};

// espgen counts the bytes of a component's tables by these sizes (codegen/flash.py).
static_assert(sizeof(void*) != 4 ||
                  (sizeof(Tensor) == 68 && sizeof(Layer) == 24 && sizeof(Step) == 16 &&
                   sizeof(LiveBuffer) == 20 && sizeof(Arena) == 12 && sizeof(Model) == 124),
              "sizes on the chip");

}  // namespace espgen

#endif  // ESPGEN_MODEL_H_
