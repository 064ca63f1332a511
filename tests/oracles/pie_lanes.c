/* Operations on whole q registers, lane by lane. */
#include <string.h>

#include "pie_operations.h"

static unsigned lanes_of(Lane lane) { return 128 / lane.bits; }

static int64_t arithmetic(const char* operation, const Operands* o, int64_t a, int64_t b,
                          Lane lane) {
  const int sat = o->saturates;
  if (!strcmp(operation, "vadd") || !strcmp(operation, "vsadds")) return fit(a + b, lane, sat);
  if (!strcmp(operation, "vsub") || !strcmp(operation, "vssubs")) return fit(a - b, lane, sat);
  if (!strcmp(operation, "vmax")) return a > b ? a : b;
  return a < b ? a : b;
}

int vector_arithmetic(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  uint8_t result[16];
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    const int64_t a = get_lane(s->q[o->qx], i, lane);
    const int64_t b = get_lane(s->q[o->qy], i, lane);
    set_lane(result, i, lane.bits, (uint64_t)arithmetic(name->part[0], o, a, b, lane));
  }
  const int is_sum = !strcmp(name->part[0], "vadd") || !strcmp(name->part[0], "vsub");
  memcpy(s->q[is_sum ? o->qv : o->qz], result, 16);
  return STATUS_OK;
}

int vector_scalar(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  const int64_t b = extend(s->x[o->rs1], lane);
  uint8_t result[16];
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    const int64_t a = get_lane(s->q[o->qx], i, lane);
    set_lane(result, i, lane.bits, (uint64_t)arithmetic(name->part[0], o, a, b, lane));
  }
  memcpy(s->q[o->qv], result, 16);
  return STATUS_OK;
}

int vector_multiply(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  const unsigned mode = rounding_mode(s, o);
  if (mode > 6) return STATUS_STOPPED;
  uint8_t result[16];
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    const int64_t product = get_lane(s->q[o->qx], i, lane) * get_lane(s->q[o->qy], i, lane);
    const int64_t shifted = round_shift_signed(product, s->sar & 63, mode);
    set_lane(result, i, lane.bits, (uint64_t)fit(shifted, lane, o->saturates));
  }
  memcpy(s->q[o->qz], result, 16);
  return STATUS_OK;
}

/* esp.vmul.s16.s8xs8 and esp.vmul.s32.s16xs16: the results fill two registers. */
int vector_multiply_widening(State* s, const Name* name, const Operands* o) {
  const Lane wide = name_lane(name);
  const Lane narrow = {wide.bits / 2, 1};
  const unsigned mode = rounding_mode(s, o);
  if (mode > 6) return STATUS_STOPPED;
  uint8_t result[32];
  for (unsigned i = 0; i < lanes_of(narrow); i++) {
    const int64_t product = get_lane(s->q[o->qx], i, narrow) * get_lane(s->q[o->qy], i, narrow);
    set_lane(result, i, wide.bits, (uint64_t)round_shift_signed(product, s->sar & 63, mode));
  }
  memcpy(s->q[o->qz], result, 16);
  memcpy(s->q[o->qv], result + 16, 16);
  return STATUS_OK;
}

static int64_t clamp(int64_t value, int64_t lowest, int64_t highest) {
  if (value < lowest) return lowest;
  return value > highest ? highest : value;
}

int vector_clamp(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  const int64_t bound = (int64_t)1 << o->select[0];
  uint8_t result[16];
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    const int64_t value = get_lane(s->q[o->qx], i, lane);
    set_lane(result, i, lane.bits, (uint64_t)clamp(value, -bound, bound - 1));
  }
  memcpy(s->q[o->qz], result, 16);
  return STATUS_OK;
}

int vector_bounds(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  const int64_t a = extend(s->x[o->rs1], lane);
  const int64_t b = extend(s->x[o->rs2], lane);
  uint8_t result[16];
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    const int64_t value = get_lane(s->q[o->qx], i, lane);
    set_lane(result, i, lane.bits, (uint64_t)clamp(value, a < b ? a : b, a < b ? b : a));
  }
  memcpy(s->q[o->qz], result, 16);
  return STATUS_OK;
}

/* Operands qy, alpha (rs2), shift (rs1); in place. */
int vector_relu(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  const unsigned mode = rounding_mode(s, o);
  if (mode > 6) return STATUS_STOPPED;
  const int64_t alpha = extend(s->x[o->rs2], lane);
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    const int64_t value = get_lane(s->q[o->qy], i, lane);
    if (value > 0) continue;
    const int64_t scaled = round_shift_signed(value * alpha, s->x[o->rs1] & 31, mode);
    set_lane(s->q[o->qy], i, lane.bits, (uint64_t)fit(scaled, lane, o->saturates));
  }
  return STATUS_OK;
}

int vector_prelu(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  const unsigned mode = rounding_mode(s, o);
  if (mode > 6) return STATUS_STOPPED;
  uint8_t result[16];
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    int64_t value = get_lane(s->q[o->qy], i, lane);
    if (value <= 0) {
      const int64_t product = value * get_lane(s->q[o->qx], i, lane);
      value = fit(round_shift_signed(product, s->x[o->rs1] & 31, mode), lane, o->saturates);
    }
    set_lane(result, i, lane.bits, (uint64_t)value);
  }
  memcpy(s->q[o->qz], result, 16);
  return STATUS_OK;
}

/* -2^(n-1) has no magnitude in its lane and becomes the highest value. */
int vector_absolute(State* s, const Name* name, const Operands* o) {
  const Lane lane = {name_lane(name).bits, 1};
  uint8_t result[16];
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    const int64_t value = get_lane(s->q[o->qy], i, lane);
    set_lane(result, i, lane.bits, (uint64_t)saturate(value < 0 ? -value : value, lane));
  }
  memcpy(s->q[o->qv], result, 16);
  return STATUS_OK;
}

int vector_compare(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  uint8_t result[16];
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    const int64_t a = get_lane(s->q[o->qx], i, lane);
    const int64_t b = get_lane(s->q[o->qy], i, lane);
    const int holds = name_has(name, "eq") ? a == b : name_has(name, "lt") ? a < b : a > b;
    set_lane(result, i, lane.bits, holds ? UINT64_MAX : 0);
  }
  memcpy(s->q[o->qz], result, 16);
  return STATUS_OK;
}

/* esp.max.*.a and esp.min.*.a */
int vector_reduce(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  int64_t best = get_lane(s->q[o->qw], 0, lane);
  for (unsigned i = 1; i < lanes_of(lane); i++) {
    const int64_t value = get_lane(s->q[o->qw], i, lane);
    if (name_has(name, "max") ? value > best : value < best) best = value;
  }
  set_x(s, o->rd, (uint32_t)best);
  return STATUS_OK;
}

/* esp.vsl.32, .u32, .s32; esp.vsr.u32, .s32, of which only rounding down is known. */
int vector_shift(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  const unsigned amount = s->sar & 31;
  const int left = name_has(name, "vsl");
  if (!left && rounding_mode(s, o) != 0) return STATUS_STOPPED;
  if (left && name_has(name, "u32") && o->saturates) return STATUS_STOPPED;
  uint8_t result[16];
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    const int64_t value = get_lane(s->q[o->qy], i, lane);
    const int64_t shifted = left ? value * ((int64_t)1 << amount) /* fits: 31 + 32 bits */
                                 : round_shift_signed(value, amount, 0);
    set_lane(result, i, lane.bits, (uint64_t)fit(shifted, lane, o->saturates));
  }
  memcpy(s->q[o->qu], result, 16);
  return STATUS_OK;
}

int bitwise(State* s, const Name* name, const Operands* o) {
  uint8_t result[16];
  for (unsigned i = 0; i < 16; i++) {
    const uint8_t a = s->q[o->qx][i];
    const uint8_t b = s->q[o->qy][i];
    result[i] = (uint8_t)(name_has(name, "andq")   ? a & b
                          : name_has(name, "orq")  ? a | b
                          : name_has(name, "xorq") ? a ^ b
                                                   : ~a);
  }
  memcpy(s->q[o->qz], result, 16);
  return STATUS_OK;
}

/* esp.vext: the lower half of qw to qz, the upper to qv, each lane doubled in width. */
int vector_extend(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  uint8_t result[32];
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    set_lane(result, i, 2 * lane.bits, (uint64_t)get_lane(s->q[o->qw], i, lane));
  }
  memcpy(s->q[o->qz], result, 16);
  memcpy(s->q[o->qv], result + 16, 16);
  return STATUS_OK;
}

int vector_interleave(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  uint8_t result[32];
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    set_lane(result, 2 * i, lane.bits, (uint64_t)get_lane(s->q[o->qx], i, lane));
    set_lane(result, 2 * i + 1, lane.bits, (uint64_t)get_lane(s->q[o->qy], i, lane));
  }
  memcpy(s->q[o->qx], result, 16);
  memcpy(s->q[o->qy], result + 16, 16);
  return STATUS_OK;
}

int vector_deinterleave(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  uint8_t joined[32];
  uint8_t even[16];
  uint8_t odd[16];
  memcpy(joined, s->q[o->qx], 16);
  memcpy(joined + 16, s->q[o->qy], 16);
  for (unsigned i = 0; i < lanes_of(lane); i++) {
    set_lane(even, i, lane.bits, (uint64_t)get_lane(joined, 2 * i, lane));
    set_lane(odd, i, lane.bits, (uint64_t)get_lane(joined, 2 * i + 1, lane));
  }
  memcpy(s->q[o->qx], even, 16);
  memcpy(s->q[o->qy], odd, 16);
  return STATUS_OK;
}

/* esp.movi.*.a (lane to register, sign-extended) and esp.movi.*.q (register to lane) */
int move_lane(State* s, const Name* name, const Operands* o) {
  const Lane lane = {name_lane(name).bits, 1};
  if (name_has(name, "a")) {
    set_x(s, o->rd, (uint32_t)get_lane(s->q[o->qy], o->select[0], lane));
  } else {
    set_lane(s->q[o->qy], o->select[0], lane.bits, s->x[o->rs1]);
  }
  return STATUS_OK;
}

/* esp.movx.{r,w}.*. The FFT width and the counters are not part of a step: they read 0. */
int move_special(State* s, const Name* name, const Operands* o) {
  const int reads = name_has(name, "r");
  const uint32_t value = s->x[o->rs1];
  const uint64_t high = (uint64_t)0xFF << 32;
  uint32_t read = 0;
  if (name_has(name, "cfg")) {
    read = s->cfg;
    if (!reads) s->cfg = value;
  } else if (name_has(name, "bytes")) {
    read = s->sar_byte;
    if (!reads) s->sar_byte = value & 15;
  } else if (name_has(name, "sar")) {
    read = s->sar;
    if (!reads) s->sar = value & 63;
  } else if (name_has(name, "h")) {
    read = (uint32_t)(s->xacc >> 32);
    if (!reads) s->xacc = (s->xacc & ~high) | ((uint64_t)value << 32 & high);
  } else if (name_has(name, "l")) {
    read = (uint32_t)s->xacc;
    if (!reads) s->xacc = (s->xacc & high) | value;
  }
  if (reads) set_x(s, o->rd, read);
  return STATUS_OK;
}

/* {qy:qw} shifted by whole bytes, zeros in. */
static void shift_pair(State* s, const Operands* o, int left, unsigned count) {
  uint8_t joined[32];
  uint8_t result[32];
  memcpy(joined, s->q[o->qw], 16);
  memcpy(joined + 16, s->q[o->qy], 16);
  for (unsigned i = 0; i < 32; i++) {
    const unsigned from = left ? i - count : i + count; /* wraps below 0 to a large number */
    result[i] = from < 32 ? joined[from] : 0;
  }
  memcpy(s->q[o->qw], result, 16);
  memcpy(s->q[o->qy], result + 16, 16);
}

int byte_shift_pair(State* s, const Name* name, const Operands* o) {
  shift_pair(s, o, name_has(name, "slci"), o->select[0] + 1);
  return STATUS_OK;
}

int byte_shift_pair_by_register(State* s, const Name* name, const Operands* o) {
  shift_pair(s, o, name_has(name, "slcxxp"), (s->x[o->rs1] & 15) + 1);
  set_x(s, o->rs1, s->x[o->rs1] + s->x[o->rs2]);
  return STATUS_OK;
}

/* esp.src.q, .qup, and the part of .ld.* that goes to qw (the caller loads qu). */
int byte_extract(State* s, const Name* name, const Operands* o) {
  uint8_t joined[48] = {0};
  memcpy(joined, s->q[o->qw], 16);
  memcpy(joined + 16, s->q[o->qy], 16);
  const uint8_t* extracted = joined + (s->sar_byte & 15);
  if (name_has(name, "ld")) {
    memcpy(s->q[o->qw], extracted, 16);
  } else {
    memcpy(s->q[o->qz], extracted, 16);
    if (name_has(name, "qup")) memcpy(s->q[o->qw], joined + 16, 16);
  }
  return STATUS_OK;
}

int scalar_shift_add(State* s, const Name* name, const Operands* o) {
  const char* mnemonic = name->part[0];
  const uint32_t shifted = s->x[o->rs2] << (mnemonic[4] == '4' ? 2 : 1);
  const uint32_t a = s->x[o->rs1];
  set_x(s, o->rd, mnemonic[0] == 'a' ? a + shifted : a - shifted);
  return STATUS_OK;
}

int zero(State* s, const Name* name, const Operands* o) {
  if (name_has(name, "q")) {
    memset(s->q[o->qz], 0, 16);
  } else if (name_has(name, "qacc")) {
    memset(s->qacc, 0, sizeof s->qacc);
  } else {
    s->xacc = 0;
  }
  return STATUS_OK;
}

/* Hardware-loop set-up changes only loop registers, which a step does not show. */
int nothing(State* s, const Name* name, const Operands* o) {
  (void)s, (void)name, (void)o;
  return STATUS_OK;
}
