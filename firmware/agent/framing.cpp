#include "framing.h"

#include <string.h>

#include "bytes.h"
#include "crc32.h"

namespace espgen {
namespace agent {
namespace {

// Stuffs bytes as they come: every zero becomes the distance to the next one.
class Stuffer {
 public:
  explicit Stuffer(uint8_t* out) : out_(out), code_at_(0), size_(1) {}

  void Put(uint8_t byte) {
    if (byte != 0) out_[size_++] = byte;
    if (byte == 0 || size_ - code_at_ == 0xFF) Close();
  }
  void Put(const uint8_t* bytes, size_t count) {
    for (size_t i = 0; i < count; ++i) Put(bytes[i]);
  }
  size_t Finish() {
    out_[code_at_] = static_cast<uint8_t>(size_ - code_at_);
    return size_;
  }

 private:
  void Close() {
    out_[code_at_] = static_cast<uint8_t>(size_ - code_at_);
    code_at_ = size_++;
  }

  uint8_t* out_;
  size_t code_at_;
  size_t size_;
};

// Undoes the stuffing in place. Returns false for a stream no Stuffer makes.
bool Unstuff(uint8_t* bytes, size_t count, size_t* decoded) {
  size_t in = 0;
  size_t out = 0;
  while (in < count) {
    const size_t code = bytes[in++];
    if (code == 0 || code - 1 > count - in) return false;
    memmove(bytes + out, bytes + in, code - 1);
    out += code - 1;
    in += code - 1;
    if (code != 0xFF && in < count) bytes[out++] = 0;
  }
  *decoded = out;
  return true;
}

}  // namespace

size_t EncodeFrame(const Frame& frame, uint8_t* out) {
  uint8_t header[kHeaderBytes];
  ByteWriter header_writer(header, sizeof header);
  header_writer.U8(frame.type);
  header_writer.U8(0);
  header_writer.U16(frame.sequence);
  header_writer.U32(frame.session);
  header_writer.U16(static_cast<uint16_t>(frame.length));
  uint32_t crc = CrcUpdate(kCrcStart, header, sizeof header);
  crc = CrcFinish(CrcUpdate(crc, frame.data, frame.length));
  uint8_t trailer[kCrcBytes];
  ByteWriter(trailer, sizeof trailer).U32(crc);

  out[0] = 0;
  Stuffer stuffer(out + 1);
  stuffer.Put(header, sizeof header);
  stuffer.Put(frame.data, frame.length);
  stuffer.Put(trailer, sizeof trailer);
  const size_t size = 1 + stuffer.Finish();
  out[size] = 0;
  return size + 1;
}

FrameReader::Result FrameReader::Push(uint8_t byte, Frame* frame) {
  if (byte == 0) return Finish(frame);
  if (size_ == kMaxEncoded) {
    too_long_ = true;
  } else {
    buffer_[size_++] = byte;
  }
  return kNothing;
}

FrameReader::Result FrameReader::Finish(Frame* frame) {
  const size_t encoded = size_;
  const bool too_long = too_long_;
  size_ = 0;
  too_long_ = false;
  if (too_long) return kBadLength;
  if (encoded == 0) return kNothing;
  size_t count = 0;
  if (!Unstuff(buffer_, encoded, &count)) return kBadEncoding;
  if (count < kHeaderBytes + kCrcBytes) return kBadLength;
  ByteReader reader(buffer_, count);
  frame->type = reader.U8();
  const uint8_t reserved = reader.U8();
  frame->sequence = reader.U16();
  frame->session = reader.U32();
  frame->length = reader.U16();
  frame->data = reader.rest();
  if (reserved != 0 || frame->length != count - kHeaderBytes - kCrcBytes ||
      frame->length > kMaxData) {
    return kBadLength;
  }
  ByteReader trailer(buffer_ + count - kCrcBytes, kCrcBytes);
  return trailer.U32() == Crc32(buffer_, count - kCrcBytes) ? kFrame : kBadCrc;
}

}  // namespace agent
}  // namespace espgen
