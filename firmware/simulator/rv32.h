// Parts of the base instruction set's decoder.
#pragma once

#include "core.h"
#include "parameters.h"

// Runs the following instruction; a macro so that compilers see a call in tail position.
#define P4_NEXT_OF(c, o) return (o[1].handler)(c, o + 1)

namespace p4 {

bool DecodeFloat(Core& core, uint32_t word, const Parameters& parameters, Op& op, Timing& timing);
bool DecodeCsr(uint32_t word, const Parameters& parameters, Op& op, Timing& timing);

}  // namespace p4
