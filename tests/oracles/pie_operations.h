/* What the instructions compute, by family; see pie_reference.c for how they are found. */
#ifndef ESPGEN_TESTS_PIE_OPERATIONS_H
#define ESPGEN_TESTS_PIE_OPERATIONS_H

#include "pie_state.h"

/* A mnemonic without its "esp." cut at the dots: "vmulas" "s8" "qacc" "ld" "ip". */
typedef struct {
  const char* part[8];
  int count;
} Name;

int name_has(const Name* name, const char* part);

/* The first lane format in a name ("s8", "u16", "32"); bits = 0 where there is none. */
Lane name_lane(const Name* name);

/* Each executes one instruction on the state and returns a status. A state after STATUS_STOPPED is
 * not looked at. Fused loads and stores are done by the caller. */
typedef int Operation(State* s, const Name* name, const Operands* o);

/* pie_lanes.c: results in q registers or x registers, no memory, no accumulator. */
Operation vector_arithmetic, vector_multiply, vector_multiply_widening, vector_scalar, vector_clamp;
Operation vector_bounds, vector_relu, vector_prelu, vector_absolute, vector_compare, vector_reduce;
Operation vector_shift, bitwise, vector_extend, vector_interleave, vector_deinterleave;
Operation move_lane, move_special, byte_shift_pair, byte_shift_pair_by_register, byte_extract;
Operation scalar_shift_add, zero, nothing;

/* pie_accumulators.c: QACC and XACC. */
Operation multiply_accumulate, qacc_from_lanes, qacc_to_lanes, xacc_to_register;

/* pie_memory.c: loads and stores that stand alone. */
Operation load_or_store, load_broadcast, load_extend, load_pairs, load_into_qacc, indexed_word;
Operation store_extracted, load_usar, special_load_or_store;

#endif
