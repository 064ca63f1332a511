/* Multiply-accumulate into QACC and XACC, and the ways out of them. */
#include <string.h>

#include "pie_operations.h"

static const Lane kXacc = {40, 1};
static const uint64_t kXaccMask = ((uint64_t)1 << 40) - 1;

/* QACC holds 16 lanes of 32 bits for 8-bit data and 8 lanes of 64 bits for 16-bit data. */
static Lane accumulator_of(Lane data) {
  const Lane lane = {data.bits * 4, data.is_signed};
  return lane;
}

static void accumulate_qacc(State* s, const Operands* o, Lane lane, int by_one_lane) {
  const Lane wide = accumulator_of(lane);
  for (unsigned i = 0; i < 128 / lane.bits; i++) {
    const unsigned other = by_one_lane ? o->select[0] : i;
    const int64_t product = get_lane(s->q[o->qx], i, lane) * get_lane(s->q[o->qy], other, lane);
    const int64_t acc = get_lane(s->qacc, i, wide);
    uint64_t sum;
    if (!o->saturates) {
      sum = (uint64_t)acc + (uint64_t)product;
    } else if (wide.bits == 32) {
      sum = (uint64_t)saturate(acc + product, wide);
    } else if (wide.is_signed) {
      sum = (uint64_t)add_saturate_s64(acc, product);
    } else {
      sum = add_saturate_u64((uint64_t)acc, (uint64_t)product);
    }
    set_lane(s->qacc, i, wide.bits, sum);
  }
}

static void accumulate_xacc(State* s, const Operands* o, Lane lane) {
  const Lane format = {kXacc.bits, lane.is_signed};
  int64_t sum = extend(s->xacc, format);
  for (unsigned i = 0; i < 128 / lane.bits; i++) {
    sum += get_lane(s->q[o->qx], i, lane) * get_lane(s->q[o->qy], i, lane);
  }
  s->xacc = (uint64_t)fit(sum, format, o->saturates) & kXaccMask;
}

int multiply_accumulate(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  if (name_has(name, "xacc")) {
    accumulate_xacc(s, o, lane);
  } else {
    accumulate_qacc(s, o, lane, name_has(name, "vsmulas"));
  }
  return STATUS_OK;
}

/* esp.mov.*.qacc */
int qacc_from_lanes(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  for (unsigned i = 0; i < 128 / lane.bits; i++) {
    set_lane(s->qacc, i, lane.bits * 4, (uint64_t)get_lane(s->q[o->qu], i, lane));
  }
  return STATUS_OK;
}

/* esp.srcmb: shift every lane with rounding, write the shifted value back, narrow into qu.
 * The .q form takes the shift of each lane from qw, the other from the low 6 bits of rs1. */
int qacc_to_lanes(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  const Lane wide = accumulator_of(lane);
  const Lane shift_lane = {lane.bits, 0};
  const unsigned mode = rounding_mode(s, o);
  if (mode > 6) return STATUS_STOPPED;
  uint8_t result[16];
  for (unsigned i = 0; i < 128 / lane.bits; i++) {
    const uint32_t shift =
        name_has(name, "q") ? (uint32_t)get_lane(s->q[o->qw], i, shift_lane) : s->x[o->rs1] & 63;
    const int64_t acc = get_lane(s->qacc, i, wide);
    uint64_t shifted;
    uint64_t narrow;
    if (wide.is_signed) {
      const int64_t value = round_shift_signed(acc, shift, mode);
      shifted = (uint64_t)value;
      narrow = (uint64_t)saturate(value, lane);
    } else {
      const uint64_t highest = ((uint64_t)1 << lane.bits) - 1;
      shifted = round_shift_unsigned((uint64_t)acc, shift, mode);
      narrow = shifted > highest ? highest : shifted;
    }
    set_lane(s->qacc, i, wide.bits, shifted);
    set_lane(result, i, lane.bits, o->saturates ? narrow : shifted);
  }
  memcpy(s->q[o->qu], result, 16);
  return STATUS_OK;
}

/* esp.srs.{s,u}.xacc */
int xacc_to_register(State* s, const Name* name, const Operands* o) {
  const Lane format = {kXacc.bits, name_has(name, "s")};
  const Lane word = {32, format.is_signed};
  const unsigned mode = rounding_mode(s, o);
  if (mode > 6) return STATUS_STOPPED;
  const int64_t value = round_shift_signed(extend(s->xacc, format), s->x[o->rs1] & 63, mode);
  s->xacc = (uint64_t)value & kXaccMask;
  set_x(s, o->rd, (uint32_t)fit(value, word, o->saturates));
  return STATUS_OK;
}
