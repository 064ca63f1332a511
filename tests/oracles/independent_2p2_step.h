/* One instruction being executed: its operands are taken in the order of assembly.
 *
 * Included by the files that say what the families of instructions do.
 */
#ifndef INDEPENDENT_2P2_STEP_H
#define INDEPENDENT_2P2_STEP_H

#include "independent_2p2.h"

enum { TOKENS = 8, LEVEL_V21 = 21 };

struct step {
  struct state* s;
  unsigned level;
  char token[TOKENS][12]; /* "esp", "vadd", "s16", ... */
  const int32_t* operand; /* the next operand to take, in assembly order */
  bool saturate;
  enum rounding mode;
};

/* A family executes one instruction, operands of a fused access already taken. */
typedef enum outcome family_function(struct step* t);
family_function three_operands, widening_product, add_scalar, absolute, clamp, activation,
    shift_words, logic, extreme, multiply_accumulate, leave_qacc, leave_xacc;
family_function zip, shift_pair, byte_window, indexed_word, plain_access, move_lane, move_special,
    scaled_sum, move_widening, zero;

static inline bool same(const char* a, const char* b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static inline bool starts(const char* text, const char* prefix) {
  while (*prefix && *text == *prefix) text++, prefix++;
  return !*prefix;
}

/* "s8" is signed, "u8" and "8" are not. */
static inline struct type type_of(const char* text) {
  struct type type = {0, text[0] == 's'};
  for (; *text; text++)
    if (*text >= '0' && *text <= '9') type.bits = type.bits * 10 + (unsigned)(*text - '0');
  return type;
}

static inline unsigned lanes_of(struct type type) { return 128 / type.bits; }

static inline int32_t take(struct step* t) { return *t->operand++; }
static inline uint8_t* take_q(struct step* t) { return t->s->q[take(t)]; }
static inline uint32_t* take_x(struct step* t) { return &t->s->x[take(t)]; }

static inline void copy(uint8_t* to, const uint8_t* from, unsigned bytes) {
  for (unsigned i = 0; i < bytes; i++) to[i] = from[i];
}

static inline void broadcast(uint8_t* q, const uint8_t* element, unsigned bytes) {
  for (unsigned i = 0; i < 16; i += bytes) copy(q + i, element, bytes);
}

struct vector {
  uint8_t bytes[16];
};

static inline struct vector take_value(struct step* t) {
  struct vector v;
  copy(v.bytes, take_q(t), 16);
  return v;
}

/* ---- memory ---- */

static inline uint8_t* memory(struct step* t, uint32_t address, unsigned bytes) {
  const uint32_t offset = address - (uint32_t)MEMORY_BASE;
  return offset <= MEMORY_BYTES - bytes ? t->s->mem + offset : NULL;
}

/* Where 128 or 64 bits lie: the low address bits count only with CFG.mis_ld (1) or mis_st (0). */
static inline uint8_t* wide(struct step* t, uint32_t address, unsigned bytes, bool is_load) {
  const bool exact = (t->s->cfg >> (is_load ? 1 : 0)) & 1;
  return memory(t, exact ? address : address & ~(bytes - 1), bytes);
}

/* rs1 moves by an immediate, by rs2, or by a fixed amount. */
static inline uint32_t take_increment(struct step* t, const char* form, uint32_t fixed) {
  return same(form, "ip") ? (uint32_t)take(t) : same(form, "xp") ? *take_x(t) : fixed;
}

/* QACC holds 16 lanes of 32 bits for elements of 8 bits, 8 of 64 for those of 16. */
static inline struct type accumulator_of(struct type element) {
  return (struct type){4 * element.bits, element.is_signed};
}

static inline integer xacc(struct step* t, bool is_signed) {
  return read_bytes(t->s->xacc, (struct type){40, is_signed});
}

#endif
