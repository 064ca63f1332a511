// The model's description as bytes, for the serial protocol and for the host library alike.
#ifndef ESPGEN_AGENT_DESCRIBE_H_
#define ESPGEN_AGENT_DESCRIBE_H_

#include "bytes.h"
#include "espgen/model.h"
#include "protocol.h"

namespace espgen {
namespace agent {

// Longest text sent; names come from the model and may be of any length.
constexpr size_t kMaxText = 480;

// Writes tensor or layer `index`, or the model's inputs and outputs (kDescribeInterface) from the
// `index`-th on, as many as fit. False where there is no such thing.
//   tensor     dtype u8, rank u8, extents i32, scale f32, zero point i32, rows u32, bytes per row
//   u32,
//              rows held at a time u32, name
//   layer      multiply-accumulates u64, first output u16, outputs u16, tensor u16 each, operator,
//              name
//   interface  inputs u16, outputs u16, then of the inputs and behind them the outputs: tensor u16
//              each
bool EncodeDescription(const Model& model, uint8_t what, uint16_t index, ByteWriter* writer);

// Number of entries of Model::layer_outputs.
uint32_t CountLayerOutputs(const Model& model);

}  // namespace agent
}  // namespace espgen

#endif  // ESPGEN_AGENT_DESCRIBE_H_
