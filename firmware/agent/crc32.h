// CRC-32 as in zlib (reflected polynomial 0xEDB88320), four bytes at a time.
#ifndef ESPGEN_AGENT_CRC32_H_
#define ESPGEN_AGENT_CRC32_H_

#include <stddef.h>
#include <stdint.h>

namespace espgen {
namespace agent {

constexpr uint32_t kCrcStart = 0xFFFFFFFFu;

// Carries `crc` (kCrcStart at first) over `count` bytes.
uint32_t CrcUpdate(uint32_t crc, const uint8_t* bytes, size_t count);

constexpr uint32_t CrcFinish(uint32_t crc) { return crc ^ 0xFFFFFFFFu; }

inline uint32_t Crc32(const uint8_t* bytes, size_t count) {
  return CrcFinish(CrcUpdate(kCrcStart, bytes, count));
}

}  // namespace agent
}  // namespace espgen

#endif  // ESPGEN_AGENT_CRC32_H_
