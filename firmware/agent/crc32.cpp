#include "crc32.h"

namespace espgen {
namespace agent {
namespace {

struct Tables {
  uint32_t entry[4][256];
};

constexpr Tables MakeTables() {
  Tables tables{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0xEDB88320u : 0u);
    tables.entry[0][byte] = crc;
  }
  for (uint32_t byte = 0; byte < 256; ++byte) {
    for (int table = 1; table < 4; ++table) {
      const uint32_t crc = tables.entry[table - 1][byte];
      tables.entry[table][byte] = (crc >> 8) ^ tables.entry[0][crc & 0xFFu];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

inline uint32_t OneByte(uint32_t crc, uint8_t byte) {
  return (crc >> 8) ^ kTables.entry[0][(crc ^ byte) & 0xFFu];
}

}  // namespace

uint32_t CrcUpdate(uint32_t crc, const uint8_t* bytes, size_t count) {
  while (count > 0 && (reinterpret_cast<uintptr_t>(bytes) & 3u) != 0) {
    crc = OneByte(crc, *bytes++);
    --count;
  }
  while (count >= 4) {
    uint32_t word;
    __builtin_memcpy(&word, __builtin_assume_aligned(bytes, 4), 4);
    crc ^= word;
    crc = kTables.entry[3][crc & 0xFFu] ^ kTables.entry[2][(crc >> 8) & 0xFFu] ^
          kTables.entry[1][(crc >> 16) & 0xFFu] ^ kTables.entry[0][crc >> 24];
    bytes += 4;
    count -= 4;
  }
  while (count > 0) {
    crc = OneByte(crc, *bytes++);
    --count;
  }
  return crc;
}

}  // namespace agent
}  // namespace espgen
