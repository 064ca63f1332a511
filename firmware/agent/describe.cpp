#include "describe.h"

#include <string.h>

namespace espgen {
namespace agent {
namespace {

void EncodeTensor(const Tensor& tensor, ByteWriter* writer) {
  uint32_t scale_bits;
  static_assert(sizeof scale_bits == sizeof tensor.scale, "float is 32 bits wide");
  memcpy(&scale_bits, &tensor.scale, sizeof scale_bits);
  const uint8_t rank = tensor.rank <= kMaxRank ? tensor.rank : uint8_t{kMaxRank};
  writer->U8(static_cast<uint8_t>(tensor.dtype));
  writer->U8(rank);
  for (uint8_t i = 0; i < rank; ++i) writer->U32(static_cast<uint32_t>(tensor.shape[i]));
  writer->U32(scale_bits);
  writer->U32(static_cast<uint32_t>(tensor.zero_point));
  writer->U32(tensor.rows);
  writer->U32(tensor.pixels * tensor.pixel_bytes);
  writer->U32(tensor.ring_rows);
  writer->Text(tensor.name, kMaxText);
}

void EncodeIndices(const uint16_t* indices, uint16_t count, ByteWriter* writer) {
  writer->U16(count);
  for (uint16_t i = 0; i < count; ++i) writer->U16(indices[i]);
}

void EncodeLayer(const Model& model, const Layer& layer, ByteWriter* writer) {
  writer->U64(layer.macs);
  writer->U16(layer.first_output);
  EncodeIndices(model.layer_outputs + layer.first_output, layer.outputs, writer);
  writer->Text(layer.op, 64);
  writer->Text(layer.name, kMaxText);
}

// A model may have more inputs and outputs than a reply holds.
void EncodeInterface(const Model& model, uint32_t first, ByteWriter* writer) {
  writer->U16(model.input_count);
  writer->U16(model.output_count);
  const uint32_t count = uint32_t{model.input_count} + model.output_count;
  for (uint32_t i = first; i < count && writer->room() >= 2; ++i) {
    writer->U16(i < model.input_count ? model.inputs[i] : model.outputs[i - model.input_count]);
  }
}

}  // namespace

bool EncodeDescription(const Model& model, uint8_t what, uint16_t index, ByteWriter* writer) {
  switch (what) {
    case kDescribeTensor:
      if (index >= model.tensor_count) return false;
      EncodeTensor(model.tensors[index], writer);
      return true;
    case kDescribeLayer:
      if (index >= model.layer_count) return false;
      EncodeLayer(model, model.layers[index], writer);
      return true;
    case kDescribeInterface:
      if (index > uint32_t{model.input_count} + model.output_count) return false;
      EncodeInterface(model, index, writer);
      return true;
    default:
      return false;
  }
}

uint32_t CountLayerOutputs(const Model& model) {
  uint32_t count = 0;
  for (uint16_t i = 0; i < model.layer_count; ++i) count += model.layers[i].outputs;
  return count;
}

}  // namespace agent
}  // namespace espgen
