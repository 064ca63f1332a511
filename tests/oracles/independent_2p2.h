/* State, numbers and lanes of the independent reference of the vector instructions.
 *
 * Every value is a mathematical integer of 128 bits, so that no sum, product or shift of the
 * instructions can overflow: saturation and wrapping are what happens when a result is stored.
 */
#ifndef INDEPENDENT_2P2_H
#define INDEPENDENT_2P2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

__extension__ typedef __int128 integer;

enum { MEMORY_BASE = 0x4FF40000, MEMORY_BYTES = 256 };

/* The records that tests run: little-endian bytes, no padding (xacc would be misaligned). */
struct state {
  uint32_t word;
  uint32_t x[32];
  uint8_t q[8][16];
  uint8_t qacc[64];
  uint8_t xacc[8];
  uint32_t sar;
  uint32_t sar_byte;
  uint32_t cfg;
  uint8_t ua_state[16];
  uint8_t mem[MEMORY_BYTES];
};

enum outcome {
  DONE = 0,
  NOT_SIMULATED = 1, /* no verified meaning: the simulator must stop */
  DISPUTED = 2,      /* the documents contradict each other: no comparison */
  NOT_COVERED = 3,   /* this reference does not know the mnemonic */
};

/* Element type of lanes and accumulators: "s8", "u16", ... */
struct type {
  unsigned bits;
  bool is_signed;
};

/* Rounding modes, by the numbers of CFG.vxrm and of the optional operand. */
enum rounding { RDN, RUP, RAZ, RTZ, RHAZ, RHTZ, RNE, DYN };

static inline integer power_of_two(unsigned exponent) { return (integer)1 << exponent; }

static inline integer smallest(struct type type) {
  return type.is_signed ? -power_of_two(type.bits - 1) : 0;
}

static inline integer largest(struct type type) {
  return power_of_two(type.is_signed ? type.bits - 1 : type.bits) - 1;
}

static inline integer between(integer low, integer value, integer high) {
  return value < low ? low : value > high ? high : value;
}

/* Bytes as an integer of the type, whose width is a multiple of eight. */
static inline integer read_bytes(const uint8_t* bytes, struct type type) {
  integer value = 0;
  for (unsigned i = type.bits / 8; i-- > 0;) value = value * 256 + bytes[i];
  return type.is_signed && value > largest(type) ? value - power_of_two(type.bits) : value;
}

/* Keeps the low bits of a value. */
static inline void write_bytes(uint8_t* bytes, unsigned bits, integer value) {
  for (unsigned i = 0; i < bits / 8; i++) {
    integer byte = value % 256;
    if (byte < 0) byte += 256;
    bytes[i] = (uint8_t)byte;
    value = (value - byte) / 256;
  }
}

static inline integer lane(const uint8_t* bytes, struct type type, unsigned index) {
  return read_bytes(bytes + index * type.bits / 8, type);
}

/* A lane takes a result: the nearest value it can hold, or its low bits. */
static inline void set_lane(uint8_t* bytes, struct type type, unsigned index, integer value,
                            bool saturate) {
  if (saturate) value = between(smallest(type), value, largest(type));
  write_bytes(bytes + index * type.bits / 8, type.bits, value);
}

/* A register's low bits as an integer of the type. */
static inline integer low_bits(uint32_t reg, struct type type) {
  uint8_t bytes[4];
  write_bytes(bytes, 32, reg);
  return read_bytes(bytes, type);
}

/* value / 2^shift, rounded. Amounts beyond the widest accumulator give what their limit gives. */
static inline integer round_shift(integer value, unsigned shift, enum rounding mode) {
  const integer divisor = power_of_two(shift < 100 ? shift : 100);
  const integer toward_zero = value / divisor, rest = value % divisor;
  const integer away = rest > 0 ? toward_zero + 1 : rest < 0 ? toward_zero - 1 : toward_zero;
  const integer twice = 2 * (rest < 0 ? -rest : rest);
  switch (mode) {
    case RDN:
      return rest < 0 ? away : toward_zero;
    case RUP:
      return rest > 0 ? away : toward_zero;
    case RAZ:
      return away;
    case RTZ:
      return toward_zero;
    case RHAZ:
      return twice >= divisor ? away : toward_zero;
    case RHTZ:
      return twice > divisor ? away : toward_zero;
    default:
      if (twice == divisor) return toward_zero % 2 == 0 ? toward_zero : away;
      return twice > divisor ? away : toward_zero;
  }
}

#endif
