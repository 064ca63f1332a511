#include "tensors.h"

#include <string.h>

#include "crc32.h"

namespace espgen {
namespace agent {
namespace {

// A run of bytes that lie together.
struct Span {
  uint8_t* bytes;
  size_t count;
};

uint8_t* RowStart(const Tensor& tensor, uint32_t row) {
  return tensor.base + static_cast<size_t>(row % tensor.ring_rows) * tensor.row_pitch;
}

// The bytes from packed offset `offset` on that lie together, at most `count`.
Span SpanAt(const Tensor& tensor, uint32_t offset, size_t count) {
  const uint32_t row_bytes = RowBytes(tensor);
  uint8_t* const row = RowStart(tensor, offset / row_bytes);
  const uint32_t in_row = offset % row_bytes;
  if (tensor.pixel_pitch == tensor.pixel_bytes) {
    const size_t left = row_bytes - in_row;
    return {row + in_row, count < left ? count : left};
  }
  const uint32_t in_pixel = in_row % tensor.pixel_bytes;
  const size_t left = tensor.pixel_bytes - in_pixel;
  uint8_t* const pixel =
      row + static_cast<size_t>(in_row / tensor.pixel_bytes) * tensor.pixel_pitch;
  return {pixel + in_pixel, count < left ? count : left};
}

}  // namespace

bool InRange(const Tensor& tensor, uint32_t offset, size_t count) {
  return static_cast<uint64_t>(offset) + count <= TotalBytes(tensor);
}

void ReadPacked(const Tensor& tensor, uint32_t offset, uint8_t* to, size_t count) {
  while (count > 0) {
    const Span span = SpanAt(tensor, offset, count);
    memcpy(to, span.bytes, span.count);
    to += span.count;
    offset += static_cast<uint32_t>(span.count);
    count -= span.count;
  }
}

void WritePacked(const Tensor& tensor, uint32_t offset, const uint8_t* from, size_t count) {
  while (count > 0) {
    const Span span = SpanAt(tensor, offset, count);
    memcpy(span.bytes, from, span.count);
    from += span.count;
    offset += static_cast<uint32_t>(span.count);
    count -= span.count;
  }
}

uint32_t HashRows(const Tensor& tensor, uint32_t begin, uint32_t end) {
  const bool packed = tensor.pixel_pitch == tensor.pixel_bytes;
  uint32_t sum = 0;
  for (uint32_t row = begin; row < end; ++row) {
    const uint8_t number[4] = {static_cast<uint8_t>(row), static_cast<uint8_t>(row >> 8),
                               static_cast<uint8_t>(row >> 16), static_cast<uint8_t>(row >> 24)};
    uint32_t crc = CrcUpdate(kCrcStart, number, sizeof number);
    const uint8_t* pixel = RowStart(tensor, row);
    if (packed) {
      crc = CrcUpdate(crc, pixel, RowBytes(tensor));
    } else {
      for (uint32_t i = 0; i < tensor.pixels; ++i) {
        crc = CrcUpdate(crc, pixel, tensor.pixel_bytes);
        pixel += tensor.pixel_pitch;
      }
    }
    sum += CrcFinish(crc);
  }
  return sum;
}

}  // namespace agent
}  // namespace espgen
