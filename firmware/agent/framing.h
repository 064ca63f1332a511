// Frames: consistent overhead byte stuffing (Cheshire and Baker, 1999) round a header, data and a
// CRC-32.
#ifndef ESPGEN_AGENT_FRAMING_H_
#define ESPGEN_AGENT_FRAMING_H_

#include "protocol.h"

namespace espgen {
namespace agent {

struct Frame {
  uint8_t type;
  uint16_t sequence;
  uint32_t session;
  const uint8_t* data;
  size_t length;
};

// Writes the frame with both delimiters to `out` (kMaxEncoded + 2 bytes); returns the size.
// `frame.length` must not exceed kMaxData.
size_t EncodeFrame(const Frame& frame, uint8_t* out);

// Takes bytes one by one and puts frames together. Never keeps more than kMaxEncoded bytes: what is
// longer is dropped up to the next delimiter.
class FrameReader {
 public:
  enum Result : uint8_t { kNothing, kFrame, kBadEncoding, kBadLength, kBadCrc };

  // kFrame: `frame` is filled and stays valid until the next call.
  Result Push(uint8_t byte, Frame* frame);

 private:
  Result Finish(Frame* frame);

  uint8_t buffer_[kMaxEncoded];
  size_t size_ = 0;
  bool too_long_ = false;
};

}  // namespace agent
}  // namespace espgen

#endif  // ESPGEN_AGENT_FRAMING_H_
