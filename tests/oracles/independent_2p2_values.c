/* Independent reference: arithmetic on lanes and accumulators. */
#include "independent_2p2_step.h"

/* ---- arithmetic on lanes ---- */

enum outcome three_operands(struct step* t) {
  const char* name = t->token[1];
  const bool compares = same(name, "vcmp");
  const struct type type = type_of(t->token[compares ? 3 : 2]);
  uint8_t* result = take_q(t);
  const struct vector a = take_value(t), b = take_value(t);
  const char* relation = t->token[2];
  for (unsigned i = 0; i < lanes_of(type); i++) {
    const integer x = lane(a.bytes, type, i), y = lane(b.bytes, type, i);
    integer value;
    if (same(name, "vadd"))
      value = x + y;
    else if (same(name, "vsub"))
      value = x - y;
    else if (same(name, "vmax"))
      value = x > y ? x : y;
    else if (same(name, "vmin"))
      value = x < y ? x : y;
    else if (same(name, "vmul"))
      value = round_shift(x * y, t->s->sar & 63, t->mode);
    else { /* vcmp: all ones or zero */
      const bool holds = same(relation, "eq") ? x == y : same(relation, "gt") ? x > y : x < y;
      write_bytes(result + i * type.bits / 8, type.bits, holds ? -1 : 0);
      continue;
    }
    set_lane(result, type, i, value, t->saturate);
  }
  return DONE;
}

/* vmul.s16.s8xs8, vmul.s32.s16xs16: the first destination takes the low lanes. */
enum outcome widening_product(struct step* t) {
  const struct type to = type_of(t->token[2]), from = {to.bits / 2, true};
  uint8_t *low = take_q(t), *high = take_q(t);
  const struct vector a = take_value(t), b = take_value(t);
  const unsigned half = lanes_of(to);
  for (unsigned i = 0; i < 2 * half; i++) {
    const integer product = lane(a.bytes, from, i) * lane(b.bytes, from, i);
    set_lane(i < half ? low : high, to, i % half, round_shift(product, t->s->sar & 63, t->mode),
             true);
  }
  return DONE;
}

enum outcome add_scalar(struct step* t) {
  const struct type type = type_of(t->token[2]);
  uint8_t* result = take_q(t);
  const struct vector a = take_value(t);
  const integer scalar = low_bits(*take_x(t), type);
  for (unsigned i = 0; i < lanes_of(type); i++) {
    const integer x = lane(a.bytes, type, i);
    set_lane(result, type, i, same(t->token[1], "vsadds") ? x + scalar : x - scalar, t->saturate);
  }
  return DONE;
}

enum outcome absolute(struct step* t) {
  const struct type type = {type_of(t->token[2]).bits, true};
  uint8_t* result = take_q(t);
  const struct vector a = take_value(t);
  for (unsigned i = 0; i < lanes_of(type); i++) {
    const integer x = lane(a.bytes, type, i);
    set_lane(result, type, i, x < 0 ? -x : x, true);
  }
  return DONE;
}

enum outcome clamp(struct step* t) {
  const struct type type = type_of(t->token[2]);
  uint8_t* result = take_q(t);
  const struct vector a = take_value(t);
  integer low, high;
  if (same(t->token[1], "vclamp")) {
    const unsigned bits = (unsigned)take(t);
    low = -power_of_two(bits), high = power_of_two(bits) - 1;
  } else {
    const integer one = low_bits(*take_x(t), type), other = low_bits(*take_x(t), type);
    low = one < other ? one : other, high = one < other ? other : one;
  }
  for (unsigned i = 0; i < lanes_of(type); i++)
    set_lane(result, type, i, between(low, lane(a.bytes, type, i), high), true);
  return DONE;
}

/* vrelu q, alpha, shift in place; vprelu q, data, alphas, shift. */
enum outcome activation(struct step* t) {
  const struct type type = type_of(t->token[2]);
  const bool per_lane = same(t->token[1], "vprelu");
  uint8_t* result = take_q(t);
  struct vector data, slopes = {{0}};
  integer slope = 0;
  if (per_lane) {
    data = take_value(t), slopes = take_value(t);
  } else {
    copy(data.bytes, result, 16);
    slope = low_bits(*take_x(t), type);
  }
  const unsigned shift = *take_x(t) & 31;
  bool overflows = false;
  for (unsigned i = 0; i < lanes_of(type); i++) {
    integer x = lane(data.bytes, type, i);
    if (x <= 0)
      x = round_shift(x * (per_lane ? lane(slopes.bytes, type, i) : slope), shift, t->mode);
    overflows |= x != between(smallest(type), x, largest(type));
    set_lane(result, type, i, x, t->saturate);
  }
  /* 2.1: its table keeps the low bits, the comparison of both levels says that it saturates. */
  return overflows && !per_lane && t->level == LEVEL_V21 ? DISPUTED : DONE;
}

/* vsl, vsr by SAR[4:0]. */
enum outcome shift_words(struct step* t) {
  const struct type type = {32, t->token[2][0] == 's'};
  const bool left = same(t->token[1], "vsl");
  const bool v21 = t->level == LEVEL_V21;
  if (left && !v21 && !type.is_signed && t->saturate) return NOT_SIMULATED;
  if (!left && !v21 && t->mode != RDN) return NOT_SIMULATED;
  uint8_t* result = take_q(t);
  const struct vector a = take_value(t);
  const unsigned amount = t->s->sar & 31;
  for (unsigned i = 0; i < 4; i++) {
    const integer x = lane(a.bytes, type, i);
    const integer value = left ? x * power_of_two(amount) : round_shift(x, amount, RDN);
    set_lane(result, type, i, value, t->saturate && !v21);
  }
  return DONE;
}

enum outcome logic(struct step* t) {
  const char* name = t->token[1];
  uint8_t* result = take_q(t);
  const struct vector a = take_value(t);
  const struct vector b = same(name, "notq") ? a : take_value(t);
  for (unsigned i = 0; i < 16; i++) {
    const uint8_t x = a.bytes[i], y = b.bytes[i];
    const int value = same(name, "andq")   ? x & y
                      : same(name, "orq")  ? x | y
                      : same(name, "xorq") ? x ^ y
                                           : ~x;
    result[i] = (uint8_t)value;
  }
  return DONE;
}

/* max.*.a, min.*.a: the largest or smallest lane into a register. */
enum outcome extreme(struct step* t) {
  const struct type type = type_of(t->token[2]);
  const struct vector a = take_value(t);
  integer best = lane(a.bytes, type, 0);
  for (unsigned i = 1; i < lanes_of(type); i++) {
    const integer x = lane(a.bytes, type, i);
    if (same(t->token[1], "max") ? x > best : x < best) best = x;
  }
  *take_x(t) = (uint32_t)best;
  return DONE;
}

/* ---- accumulators ---- */

enum outcome multiply_accumulate(struct step* t) {
  const struct type type = type_of(t->token[2]);
  const bool by_lane = same(t->token[1], "vsmulas");
  const struct vector a = take_value(t), b = take_value(t);
  const unsigned select = by_lane ? (unsigned)take(t) : 0;
  const bool into_xacc = same(t->token[3], "xacc");
  integer sum = into_xacc ? xacc(t, type.is_signed) : 0;
  for (unsigned i = 0; i < lanes_of(type); i++) {
    const integer product = lane(a.bytes, type, i) * lane(b.bytes, type, by_lane ? select : i);
    const struct type lanes = accumulator_of(type);
    if (into_xacc)
      sum += product;
    else
      set_lane(t->s->qacc, lanes, i, lane(t->s->qacc, lanes, i) + product, t->saturate);
  }
  if (into_xacc) set_lane(t->s->xacc, (struct type){40, type.is_signed}, 0, sum, t->saturate);
  return DONE;
}

/* srcmb.T.qacc q, rs1 and srcmb.T.q.qacc q, amounts: the rounded value goes back to QACC. */
enum outcome leave_qacc(struct step* t) {
  const struct type type = type_of(t->token[2]), lanes = accumulator_of(type);
  uint8_t* result = take_q(t);
  const bool per_lane = same(t->token[3], "q");
  struct vector amounts = {{0}};
  unsigned amount = 0;
  if (per_lane)
    amounts = take_value(t);
  else
    amount = *take_x(t) & 63;
  if (t->level == LEVEL_V21) t->saturate = take(t) == 1;
  for (unsigned i = 0; i < lanes_of(type); i++) {
    if (per_lane) amount = (unsigned)lane(amounts.bytes, (struct type){type.bits, false}, i);
    const integer value = round_shift(lane(t->s->qacc, lanes, i), amount, t->mode);
    set_lane(t->s->qacc, lanes, i, value, false);
    set_lane(result, type, i, value, t->saturate);
  }
  return DONE;
}

/* srs: shift XACC, write it back, narrow to a register. */
enum outcome leave_xacc(struct step* t) {
  const struct type to = {32, t->token[2][0] == 's'};
  uint32_t* result = take_x(t);
  const unsigned amount = *take_x(t) & 63;
  const integer value = round_shift(xacc(t, to.is_signed), amount, t->mode);
  write_bytes(t->s->xacc, 40, value);
  uint8_t narrow[4];
  set_lane(narrow, to, 0, value, t->saturate);
  *result = (uint32_t)read_bytes(narrow, (struct type){32, false});
  return DONE;
}
