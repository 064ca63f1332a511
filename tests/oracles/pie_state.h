/* The machine state of one step and the arithmetic every instruction shares.
 *
 * Part of the reference for PIE: plain C, one lane at a time, written from the instruction table's
 * pseudo code so that it shares nothing with the simulator it checks. */
#ifndef ESPGEN_TESTS_PIE_STATE_H
#define ESPGEN_TESTS_PIE_STATE_H

#include <stdint.h>

enum { MEMORY_BYTES = 256, QACC_BYTES = 64 };
enum { STATUS_OK = 0, STATUS_STOPPED = 1 };
static const uint32_t kMemoryBase = 0x4FF40000u;

typedef struct {
  uint32_t word;
  uint32_t x[32];
  uint8_t q[8][16];
  uint8_t qacc[QACC_BYTES]; /* QACC_L first, lane 0 first */
  uint64_t xacc;            /* 40 bits */
  uint32_t sar;
  uint32_t sar_byte;
  uint32_t cfg;
  uint8_t ua_state[16];
  uint8_t memory[MEMORY_BYTES];
} State;

/* A lane format: width in bits and signedness. */
typedef struct {
  unsigned bits;
  int is_signed;
} Lane;

/* The operands of one instruction by the vendor's field names; absent ones are 0. */
typedef struct {
  int qx, qy, qz, qu, qv, qw;
  int rs1, rs2, rd;
  int32_t immediate;  /* simm */
  uint32_t select[3]; /* uimm operands in assembly order */
  int saturates;      /* 1: clamp what does not fit; 0 (trunc): keep the low bits */
  unsigned rounding;  /* 0..6 a mode of its own; 7 (dyn): that of CFG.vxrm */
} Operands;

/* Lanes of a little-endian register or memory image, sign- or zero-extended to 64 bits. */
int64_t get_lane(const uint8_t* bytes, unsigned index, Lane lane);
void set_lane(uint8_t* bytes, unsigned index, unsigned bits, uint64_t value);

/* Low bits of a value, sign- or zero-extended. */
int64_t extend(uint64_t value, Lane lane);

/* What a lane of at most 40 bits keeps: clamped to its range, or the low bits of the value. */
int64_t fit(int64_t value, Lane lane, int saturates);

/* Clamp to the range of a lane of at most 32 bits. */
int64_t saturate(int64_t value, Lane lane);

/* acc + product, clamped to 64 bits. Products are never negative in the unsigned form. */
int64_t add_saturate_s64(int64_t acc, int64_t product);
uint64_t add_saturate_u64(uint64_t acc, uint64_t product);

/* value / 2^shift, exact, rounded as CFG.vxrm says (0..6); any shift is legal. */
int64_t round_shift_signed(int64_t value, uint32_t shift, unsigned mode);
uint64_t round_shift_unsigned(uint64_t value, uint32_t shift, unsigned mode);

/* CFG fields. */
unsigned rounding_mode(const State* s, const Operands* o);
int loads_may_be_misaligned(const State* s);
int stores_may_be_misaligned(const State* s);

/* The bytes at an address, or null where any lies outside the memory. */
uint8_t* bytes_at(State* s, uint32_t address, uint32_t count);

void set_x(State* s, int number, uint32_t value);

#endif
