// Guard bytes: during a step, every byte of the arenas that no live buffer holds belongs to nobody.
#ifndef ESPGEN_AGENT_GUARDS_H_
#define ESPGEN_AGENT_GUARDS_H_

#include <stddef.h>
#include <stdint.h>

#include "espgen/model.h"

namespace espgen {
namespace agent {

// Overwrites these bytes with `value`, so that nothing can live on what was there.
void FillFreeBytes(const Model& model, uint32_t step, uint8_t value);

struct Stray {
  const Arena* arena;
  uint32_t offset;
};

// True where one of these bytes is no longer `value`; `stray` then tells the first.
bool FindStray(const Model& model, uint32_t step, uint8_t value, Stray* stray);

// Index of the first byte that is not `value`; `count` where all are.
size_t FirstOther(const uint8_t* bytes, size_t count, uint8_t value);

}  // namespace agent
}  // namespace espgen

#endif  // ESPGEN_AGENT_GUARDS_H_
