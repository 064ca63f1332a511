// Reading and writing the rows of a tensor in their logical packed order, wherever they lie.
#ifndef ESPGEN_AGENT_TENSORS_H_
#define ESPGEN_AGENT_TENSORS_H_

#include <stddef.h>
#include <stdint.h>

#include "espgen/model.h"

namespace espgen {
namespace agent {

inline uint32_t RowBytes(const Tensor& tensor) { return tensor.pixels * tensor.pixel_bytes; }
inline uint64_t TotalBytes(const Tensor& tensor) {
  return static_cast<uint64_t>(tensor.rows) * RowBytes(tensor);
}
inline bool WhollyHeld(const Tensor& tensor) { return tensor.ring_rows >= tensor.rows; }

// True where bytes [offset, offset + count) of the packed tensor exist.
bool InRange(const Tensor& tensor, uint32_t offset, size_t count);

// Copies packed bytes [offset, offset + count) out of or into the tensor. The range must exist.
void ReadPacked(const Tensor& tensor, uint32_t offset, uint8_t* to, size_t count);
void WritePacked(const Tensor& tensor, uint32_t offset, const uint8_t* from, size_t count);

// Sum over rows [begin, end) of CRC-32(row number as u32 little-endian, row bytes), modulo 2^32:
// the order in which rows are made does not matter, so they may be hashed as they come.
uint32_t HashRows(const Tensor& tensor, uint32_t begin, uint32_t end);

}  // namespace agent
}  // namespace espgen

#endif  // ESPGEN_AGENT_TENSORS_H_
