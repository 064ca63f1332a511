// Bounded little-endian reading and writing. A step outside the buffer sets a flag and touches
// nothing.
#ifndef ESPGEN_AGENT_BYTES_H_
#define ESPGEN_AGENT_BYTES_H_

#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace espgen {
namespace agent {

class ByteReader {
 public:
  ByteReader(const uint8_t* bytes, size_t count) : bytes_(bytes), left_(count) {}

  uint8_t U8() { return static_cast<uint8_t>(Number(1)); }
  uint16_t U16() { return static_cast<uint16_t>(Number(2)); }
  uint32_t U32() { return Number(4); }

  const uint8_t* rest() const { return bytes_; }
  size_t left() const { return left_; }
  bool overrun() const { return overrun_; }
  // Everything was read, and nothing but what was there.
  bool finished() const { return !overrun_ && left_ == 0; }

 private:
  uint32_t Number(size_t size) {
    if (left_ < size) {
      overrun_ = true;
      left_ = 0;
      return 0;
    }
    uint32_t value = 0;
    for (size_t i = 0; i < size; ++i) value |= static_cast<uint32_t>(bytes_[i]) << (8 * i);
    bytes_ += size;
    left_ -= size;
    return value;
  }

  const uint8_t* bytes_;
  size_t left_;
  bool overrun_ = false;
};

class ByteWriter {
 public:
  ByteWriter(uint8_t* bytes, size_t capacity) : bytes_(bytes), capacity_(capacity) {}

  void U8(uint8_t value) { Number(value, 1); }
  void U16(uint16_t value) { Number(value, 2); }
  void U32(uint32_t value) { Number(value, 4); }
  void U64(uint64_t value) {
    U32(static_cast<uint32_t>(value));
    U32(static_cast<uint32_t>(value >> 32));
  }
  void Bytes(const uint8_t* bytes, size_t count) {
    if (uint8_t* place = Reserve(count)) memcpy(place, bytes, count);
  }
  // Length as u16, then at most `limit` bytes of the text.
  void Text(const char* text, size_t limit) {
    size_t length = 0;
    while (length < limit && text[length] != '\0') ++length;
    U16(static_cast<uint16_t>(length));
    Bytes(reinterpret_cast<const uint8_t*>(text), length);
  }
  // Room for `count` bytes to be filled by the caller; null where there is none.
  uint8_t* Reserve(size_t count) {
    if (capacity_ - size_ < count) {
      overrun_ = true;
      return nullptr;
    }
    uint8_t* place = bytes_ + size_;
    size_ += count;
    return place;
  }

  size_t size() const { return size_; }
  size_t room() const { return capacity_ - size_; }
  bool overrun() const { return overrun_; }

 private:
  void Number(uint32_t value, size_t size) {
    if (uint8_t* place = Reserve(size)) {
      for (size_t i = 0; i < size; ++i) place[i] = static_cast<uint8_t>(value >> (8 * i));
    }
  }

  uint8_t* bytes_;
  size_t capacity_;
  size_t size_ = 0;
  bool overrun_ = false;
};

}  // namespace agent
}  // namespace espgen

#endif  // ESPGEN_AGENT_BYTES_H_
