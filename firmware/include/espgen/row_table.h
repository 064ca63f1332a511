// Tables of row pointers, which kernels read and write through, made at compile time.
#ifndef ESPGEN_ROW_TABLE_H_
#define ESPGEN_ROW_TABLE_H_

#include <stdint.h>

namespace espgen {

// Used wherever a kernel takes `void* const*`; adding n starts at row n.
template <uint32_t count>
struct RowTable {
  void* at[count];
  constexpr operator void* const*() const { return at; }
};

// `count` rows that lie `pitch` bytes apart. A ring holds only `held` of them at a time: row n lies
// where row n % held does.
template <uint32_t count>
constexpr RowTable<count> rows(uint8_t* first, int32_t pitch, uint32_t held = count) {
  RowTable<count> table{};
  for (uint32_t row = 0; row < count; ++row) {
    table.at[row] = first + static_cast<int32_t>(row % held) * pitch;
  }
  return table;
}

// The same between `above` and `below` rows of padding, `count` in all.
template <uint32_t count>
constexpr RowTable<count> padded_rows(uint32_t above, uint8_t* first, int32_t pitch, uint32_t below,
                                      uint8_t* padding, uint32_t held = count) {
  RowTable<count> table{};
  for (uint32_t row = 0; row < count; ++row) {
    const bool inside = row >= above && row < count - below;
    table.at[row] = inside ? first + static_cast<int32_t>((row - above) % held) * pitch : padding;
  }
  return table;
}

}  // namespace espgen

#endif  // ESPGEN_ROW_TABLE_H_
