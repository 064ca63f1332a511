#include "pie_state.h"

#include <stddef.h>

int64_t extend(uint64_t value, Lane lane) {
  if (lane.bits == 64) return (int64_t)value;
  const uint64_t one = 1;
  const uint64_t low = value & ((one << lane.bits) - 1);
  if (lane.is_signed && (low >> (lane.bits - 1))) return (int64_t)(low - (one << lane.bits));
  return (int64_t)low;
}

int64_t get_lane(const uint8_t* bytes, unsigned index, Lane lane) {
  const unsigned width = lane.bits / 8;
  uint64_t value = 0;
  for (unsigned i = 0; i < width; i++) value |= (uint64_t)bytes[index * width + i] << (8 * i);
  return extend(value, lane);
}

void set_lane(uint8_t* bytes, unsigned index, unsigned bits, uint64_t value) {
  const unsigned width = bits / 8;
  for (unsigned i = 0; i < width; i++) bytes[index * width + i] = (uint8_t)(value >> (8 * i));
}

int64_t saturate(int64_t value, Lane lane) {
  const int64_t range = (int64_t)1 << lane.bits;
  const int64_t lowest = lane.is_signed ? -range / 2 : 0;
  const int64_t highest = lane.is_signed ? range / 2 - 1 : range - 1;
  if (value < lowest) return lowest;
  return value > highest ? highest : value;
}

int64_t fit(int64_t value, Lane lane, int saturates) {
  return saturates ? saturate(value, lane) : extend((uint64_t)value, lane);
}

int64_t add_saturate_s64(int64_t acc, int64_t product) {
  if (product > 0 && acc > INT64_MAX - product) return INT64_MAX;
  if (product < 0 && acc < INT64_MIN - product) return INT64_MIN;
  return acc + product;
}

uint64_t add_saturate_u64(uint64_t acc, uint64_t product) {
  return acc > UINT64_MAX - product ? UINT64_MAX : acc + product;
}

/* Whether the exact quotient rounds up from its floor.
 * against_half: sign of (what the floor drops - one half); inexact: the floor dropped something. */
static int rounds_up(unsigned mode, int positive, int inexact, int against_half, int floor_is_odd) {
  switch (mode) {
    case 0:
      return 0; /* floor */
    case 1:
      return inexact; /* ceiling */
    case 2:
      return inexact && positive; /* away from zero */
    case 3:
      return inexact && !positive; /* toward zero */
    case 4:
      return against_half > 0 || (against_half == 0 && positive); /* ties away */
    case 5:
      return against_half > 0 || (against_half == 0 && !positive); /* ties to zero */
    default:
      return against_half > 0 || (against_half == 0 && floor_is_odd); /* ties to even */
  }
}

static int compare(uint64_t a, uint64_t b) { return (a > b) - (a < b); }

int64_t round_shift_signed(int64_t value, uint32_t shift, unsigned mode) {
  if (shift == 0) return value;
  const int positive = value > 0;
  int64_t quotient = value < 0 ? -1 : 0;
  int inexact = value != 0;
  int against_half;
  if (shift < 64) {
    /* Floor division without relying on >> of negative numbers. */
    const uint64_t size = (uint64_t)1 << shift;
    const uint64_t dropped = (uint64_t)value & (size - 1);
    uint64_t floor_bits = (uint64_t)value >> shift;
    if (value < 0) floor_bits |= ~(UINT64_MAX >> shift);
    quotient = (int64_t)floor_bits;
    inexact = dropped != 0;
    against_half = compare(dropped, size / 2);
  } else if (shift == 64) {
    against_half = compare((uint64_t)value, (uint64_t)1 << 63);
  } else {
    against_half = value < 0 ? 1 : -1;
  }
  return quotient + rounds_up(mode, positive, inexact, against_half, (int)(quotient & 1));
}

uint64_t round_shift_unsigned(uint64_t value, uint32_t shift, unsigned mode) {
  if (shift == 0) return value;
  const int positive = value > 0;
  uint64_t quotient = 0;
  int inexact = value != 0;
  int against_half = -1;
  if (shift < 64) {
    const uint64_t size = (uint64_t)1 << shift;
    const uint64_t dropped = value & (size - 1);
    quotient = value >> shift;
    inexact = dropped != 0;
    against_half = compare(dropped, size / 2);
  } else if (shift == 64) {
    against_half = compare(value, (uint64_t)1 << 63);
  }
  return quotient + (uint64_t)rounds_up(mode, positive, inexact, against_half, (int)(quotient & 1));
}

unsigned rounding_mode(const State* s, const Operands* o) {
  return o->rounding == 7 ? (s->cfg >> 4) & 15u : o->rounding;
}
int loads_may_be_misaligned(const State* s) { return (s->cfg >> 1) & 1; }
int stores_may_be_misaligned(const State* s) { return s->cfg & 1; }

uint8_t* bytes_at(State* s, uint32_t address, uint32_t count) {
  const uint32_t offset = address - kMemoryBase;
  if (offset > MEMORY_BYTES - count) return NULL;
  return s->memory + offset;
}

void set_x(State* s, int number, uint32_t value) {
  if (number != 0) s->x[number] = value;
}
