/* Independent reference: what only moves, from lanes to registers to memory. */
#include "independent_2p2_step.h"

/* ---- layout ---- */

static void widen_to_qacc(struct step* t, const uint8_t* from, struct type type) {
  for (unsigned i = 0; i < lanes_of(type); i++)
    set_lane(t->s->qacc, accumulator_of(type), i, lane(from, type, i), false);
}

enum outcome zip(struct step* t) {
  const struct type type = type_of(t->token[2]);
  const unsigned n = lanes_of(type);
  uint8_t *first = take_q(t), *second = take_q(t);
  uint8_t before[32], after[32];
  copy(before, first, 16), copy(before + 16, second, 16);
  for (unsigned i = 0; i < n; i++) {
    const bool joins = same(t->token[1], "vzip");
    set_lane(after, type, joins ? 2 * i : i, lane(before, type, joins ? i : 2 * i), false);
    set_lane(after, type, joins ? 2 * i + 1 : n + i, lane(before, type, joins ? n + i : 2 * i + 1),
             false);
  }
  copy(first, after, 16), copy(second, after + 16, 16);
  return DONE;
}

static void extend(const uint8_t* from, struct type type, uint8_t* low, uint8_t* high) {
  const struct type twice = {2 * type.bits, type.is_signed};
  const unsigned half = lanes_of(twice);
  for (unsigned i = 0; i < 2 * half; i++)
    set_lane(i < half ? low : high, twice, i % half, lane(from, type, i), false);
}

/* The 16 bytes of {high:low} from a byte on. */
static struct vector window(struct vector high, struct vector low, unsigned from) {
  uint8_t both[48] = {0};
  copy(both, low.bytes, 16), copy(both + 16, high.bytes, 16);
  struct vector v;
  copy(v.bytes, both + from, 16);
  return v;
}

/* slci, srci, slcxxp, srcxxp: {first:second} moves by 1..16 bytes, zeros follow. */
enum outcome shift_pair(struct step* t) {
  uint8_t *first = take_q(t), *second = take_q(t);
  struct vector high, low;
  copy(high.bytes, first, 16), copy(low.bytes, second, 16);
  const struct vector zero = {{0}};
  unsigned bytes;
  if (t->token[1][3] == 'i') {
    bytes = (unsigned)take(t) + 1;
  } else {
    uint32_t* rs1 = take_x(t);
    bytes = (*rs1 & 15) + 1;
    *rs1 += *take_x(t);
  }
  const bool left = t->token[1][1] == 'l';
  const struct vector upper = left ? window(high, low, 16 - bytes) : window(zero, high, bytes);
  const struct vector lower = left ? window(low, zero, 16 - bytes) : window(high, low, bytes);
  copy(first, upper.bytes, 16), copy(second, lower.bytes, 16);
  return DONE;
}

/* src.q qz, qw, qy; src.q.qup; src.q.ld.* qu, rs1, step, qw, qy; srcq.128.st.incp qw, qy, rs1. */
enum outcome byte_window(struct step* t) {
  uint8_t *qz = NULL, *loaded = NULL;
  uint32_t *rs1 = NULL, increment = 16;
  if (same(t->token[3], "ld")) {
    loaded = take_q(t), rs1 = take_x(t);
    increment = take_increment(t, t->token[4], 16);
  } else if (same(t->token[1], "src")) {
    qz = take_q(t);
  }
  uint8_t* qw = take_q(t);
  struct vector low;
  copy(low.bytes, qw, 16);
  const struct vector high = take_value(t);
  const struct vector v = window(high, low, t->s->sar_byte & 15);
  if (qz) {
    copy(qz, v.bytes, 16);
    if (same(t->token[3], "qup")) copy(qw, high.bytes, 16);
    return DONE;
  }
  if (!loaded) rs1 = take_x(t);
  uint8_t* place = wide(t, *rs1, 16, loaded != NULL);
  if (!place) return NOT_SIMULATED;
  if (loaded)
    copy(loaded, place, 16), copy(qw, v.bytes, 16);
  else
    copy(place, v.bytes, 16);
  *rs1 += increment;
  return DONE;
}

/* ---- loads and stores ---- */

/* ldxq.32, stxq.32: one word of a table by a lane's index; rs1 keeps its value. */
enum outcome indexed_word(struct step* t) {
  uint8_t* data = take_q(t);
  const struct vector indices = take_value(t);
  const uint32_t base = *take_x(t);
  data += 4 * take(t);
  const struct type u16 = {16, false};
  uint8_t* place = memory(t, base + 4 * (uint32_t)lane(indices.bytes, u16, (unsigned)take(t)), 4);
  if (!place) return NOT_SIMULATED;
  if (same(t->token[1], "ldxq"))
    copy(data, place, 4);
  else
    copy(place, data, 4);
  return DONE;
}

/* Loads and stores that move one piece of the state: which piece, how many bytes. */
enum outcome plain_access(struct step* t) {
  const char *name = t->token[1], *form = t->token[2];
  const bool is_load = name[0] == 'l' || name[1] == 'l';
  unsigned bytes = 16, last = 2;
  while (*t->token[last + 1]) last++;
  uint8_t *piece = NULL, *second = NULL;
  bool usar = false;
  if (same(form, "qacc")) {
    piece = t->s->qacc + (t->token[3][0] == 'h' ? 32 : 0) + (t->token[4][0] == 'h' ? 16 : 0);
  } else if (same(form, "ua")) {
    piece = t->s->ua_state;
  } else if (same(form, "xacc") || same(t->token[3], "xacc")) {
    bytes = 8;
  } else if (!same(name, "ldqa")) {
    piece = take_q(t);
    usar = same(t->token[3], "usar");
    if (same(form, "h")) piece += 8;
    if (same(t->token[3], "64")) bytes = 8;
    if (same(name, "vldext") || same(name, "vldhbc")) second = take_q(t);
  }
  uint32_t* rs1 = take_x(t);
  const uint32_t address = *rs1;
  const uint32_t increment = take_increment(t, t->token[last], 16);
  uint8_t* place;
  if (same(name, "vldbc")) {
    bytes = type_of(form).bits / 8;
    place = memory(t, address & ~(bytes - 1), bytes);
  } else {
    place = usar ? memory(t, address & ~15u, 16) : wide(t, address, bytes, is_load);
  }
  if (!place) return NOT_SIMULATED;
  *rs1 += increment;
  if (usar) t->s->sar_byte = address & 15;
  if (same(name, "ldqa"))
    widen_to_qacc(t, place, type_of(form));
  else if (same(name, "vldext"))
    extend(place, type_of(form), piece, second);
  else if (same(name, "vldbc"))
    broadcast(piece, place, bytes);
  else if (same(name, "vldhbc"))
    for (unsigned i = 0; i < 16; i++)
      copy((i < 8 ? piece : second) + i % 8 * 2, place + i / 2 * 2, 2);
  else if (piece)
    copy(is_load ? piece : place, is_load ? place : piece, bytes);
  else if (is_load)
    copy(t->s->xacc, place, 5);
  else
    write_bytes(place, 64, xacc(t, form[0] == 's'));
  return DONE;
}

/* ---- registers ---- */

/* movi.T.a q, rd, lane and movi.T.q q, rs1, lane. */
enum outcome move_lane(struct step* t) {
  const struct type type = {type_of(t->token[2]).bits, true};
  uint8_t* q = take_q(t);
  uint32_t* x = take_x(t);
  const unsigned select = (unsigned)take(t);
  if (same(t->token[3], "a"))
    *x = (uint32_t)lane(q, type, select);
  else
    set_lane(q, type, select, *x, false);
  return DONE;
}

enum outcome move_special(struct step* t) {
  struct state* s = t->s;
  uint32_t* x = take_x(t);
  const bool reads = same(t->token[2], "r");
  if (same(t->token[3], "xacc")) {
    const bool high = same(t->token[4], "h");
    uint8_t* part = s->xacc + (high ? 4 : 0);
    const struct type type = {high ? 8 : 32, false};
    if (reads)
      *x = (uint32_t)read_bytes(part, type);
    else
      write_bytes(part, type.bits, *x);
    return DONE;
  }
  const bool cfg = same(t->token[3], "cfg"), bytes = same(t->token[4], "bytes");
  uint32_t* special = cfg ? &s->cfg : bytes ? &s->sar_byte : &s->sar;
  if (reads)
    *x = *special;
  else
    *special = cfg ? *x : *x & (bytes ? 15 : 63);
  return DONE;
}

enum outcome scaled_sum(struct step* t) {
  uint32_t* rd = take_x(t);
  const uint32_t a = *take_x(t), b = *take_x(t) * (t->token[1][4] == '4' ? 4 : 2);
  if (rd != t->s->x) *rd = starts(t->token[1], "add") ? a + b : a - b;
  return DONE;
}

enum outcome move_widening(struct step* t) {
  const struct type type = type_of(t->token[2]);
  if (same(t->token[1], "mov")) {
    widen_to_qacc(t, take_q(t), type);
  } else {
    uint8_t *low = take_q(t), *high = take_q(t);
    const struct vector from = take_value(t);
    extend(from.bytes, type, low, high);
  }
  return DONE;
}

enum outcome zero(struct step* t) {
  const bool q = same(t->token[2], "q"), qacc = same(t->token[2], "qacc");
  uint8_t* bytes = q ? take_q(t) : qacc ? t->s->qacc : t->s->xacc;
  for (unsigned i = 0; i < (q ? 16 : qacc ? 64 : 8); i++) bytes[i] = 0;
  return DONE;
}
