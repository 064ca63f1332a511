/* Reference for the PIE instructions: executes one instruction per record.
 *
 *   pie_reference LEVEL IN OUT
 *
 * IN is a sequence of packed little-endian records: word, x[32] (u32), q[8] (16 bytes each), qacc
 * (64 bytes), xacc (u64), sar, sar_byte, cfg (u32), ua_state (16 bytes), mem (256 bytes at
 * 0x4FF40000). OUT has the same records after the instruction, each followed by a u32 status: 0
 * done; 1 stopped (unknown instruction, semantics not verified, address outside mem), with the
 * record as it was.
 *
 * LEVEL is 21 (ESPV 2.1) or 22 (ESPV 2.2). The tables of encodings are generated from the project's instruction table when this is built. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pie_operations.h"

enum { RECORD_BYTES = 616 };

typedef struct {
  const char* field;
  char kind; /* q, p (x8-x15, x24-x31), x, s (simm), u (uimm), l (label), t (sat or trunc), m (rounding) */
  unsigned shift;
  uint32_t highest;
  unsigned pieces;
  struct {
    unsigned value_low, count, word_low;
  } piece[4];
} Field;

typedef struct {
  uint32_t match, mask;
  const char* mnemonic;
  int verified;
  unsigned fields;
  Field field[9];
} Encoding;

static const Encoding kLevel21[] = {
#include "pie_reference_table_21.inc"
};
static const Encoding kLevel22[] = {
#include "pie_reference_table_22.inc"
};

static int level;

typedef enum { ALONE, FUSED } Fusion;

/* The first part of a mnemonic -> what it does. */
static const struct {
  const char* family;
  Operation* operation;
  Fusion fusion;
} kFamilies[] = {
    {"vmulas", multiply_accumulate, FUSED},
    {"vsmulas", multiply_accumulate, FUSED},
    {"vadd", vector_arithmetic, FUSED},
    {"vsub", vector_arithmetic, FUSED},
    {"vmax", vector_arithmetic, FUSED},
    {"vmin", vector_arithmetic, FUSED},
    {"vmul", vector_multiply, FUSED},
    {"src", byte_extract, FUSED},
    {"vsadds", vector_scalar, ALONE},
    {"vssubs", vector_scalar, ALONE},
    {"vclamp", vector_clamp, ALONE},
    {"vsat", vector_bounds, ALONE},
    {"vrelu", vector_relu, ALONE},
    {"vprelu", vector_prelu, ALONE},
    {"vabs", vector_absolute, ALONE},
    {"vcmp", vector_compare, ALONE},
    {"max", vector_reduce, ALONE},
    {"min", vector_reduce, ALONE},
    {"vsl", vector_shift, ALONE},
    {"vsr", vector_shift, ALONE},
    {"andq", bitwise, ALONE},
    {"orq", bitwise, ALONE},
    {"xorq", bitwise, ALONE},
    {"notq", bitwise, ALONE},
    {"vext", vector_extend, ALONE},
    {"vzip", vector_interleave, ALONE},
    {"vunzip", vector_deinterleave, ALONE},
    {"movi", move_lane, ALONE},
    {"movx", move_special, ALONE},
    {"slci", byte_shift_pair, ALONE},
    {"srci", byte_shift_pair, ALONE},
    {"slcxxp", byte_shift_pair_by_register, ALONE},
    {"srcxxp", byte_shift_pair_by_register, ALONE},
    {"addx2", scalar_shift_add, ALONE},
    {"addx4", scalar_shift_add, ALONE},
    {"subx2", scalar_shift_add, ALONE},
    {"subx4", scalar_shift_add, ALONE},
    {"zero", zero, ALONE},
    {"lp", nothing, ALONE},
    {"mov", qacc_from_lanes, ALONE},
    {"srcmb", qacc_to_lanes, ALONE},
    {"srs", xacc_to_register, ALONE},
    {"vld", load_or_store, ALONE},
    {"vst", load_or_store, ALONE},
    {"vldbc", load_broadcast, ALONE},
    {"vldext", load_extend, ALONE},
    {"vldhbc", load_pairs, ALONE},
    {"ldqa", load_into_qacc, ALONE},
    {"ldxq", indexed_word, ALONE},
    {"stxq", indexed_word, ALONE},
    {"srcq", store_extracted, ALONE},
    {"ld", special_load_or_store, ALONE},
    {"st", special_load_or_store, ALONE},
};

int name_has(const Name* name, const char* part) {
  for (int i = 0; i < name->count; i++) {
    if (!strcmp(name->part[i], part)) return 1;
  }
  return 0;
}

Lane name_lane(const Name* name) {
  static const struct {
    const char* text;
    Lane lane;
  } kFormats[] = {{"s8", {8, 1}},   {"u8", {8, 0}},   {"8", {8, 0}},
                  {"s16", {16, 1}}, {"u16", {16, 0}}, {"16", {16, 0}},
                  {"s32", {32, 1}}, {"u32", {32, 0}}, {"32", {32, 0}}};
  for (int i = 1; i < name->count; i++) {
    for (unsigned k = 0; k < sizeof kFormats / sizeof kFormats[0]; k++) {
      if (!strcmp(name->part[i], kFormats[k].text)) return kFormats[k].lane;
    }
  }
  const Lane none = {0, 0};
  return none;
}

/* Cut "esp.a.b.c" into parts; `text` holds their characters. */
static Name split(const char* mnemonic, char* text, size_t size) {
  Name name = {{0}, 0};
  snprintf(text, size, "%s", mnemonic + strlen("esp."));
  for (char* part = strtok(text, "."); part; part = strtok(NULL, "."))
    name.part[name.count++] = part;
  return name;
}

static const Encoding* find(uint32_t word) {
  const Encoding* table = level == 22 ? kLevel22 : kLevel21;
  const size_t count =
      level == 22 ? sizeof kLevel22 / sizeof kLevel22[0] : sizeof kLevel21 / sizeof kLevel21[0];
  for (size_t i = 0; i < count; i++) {
    if ((word & table[i].mask) == table[i].match) return &table[i];
  }
  return NULL;
}

static int32_t field_value(const Field* field, uint32_t word) {
  uint32_t value = field->kind == 'p' ? 8 : 0;
  unsigned width = 0;
  for (unsigned i = 0; i < field->pieces; i++) {
    const uint32_t bits = (word >> field->piece[i].word_low) & ((1u << field->piece[i].count) - 1);
    value |= bits << field->piece[i].value_low;
    const unsigned top = field->piece[i].value_low + field->piece[i].count;
    if (top > width) width = top;
  }
  int32_t result = (int32_t)value;
  if (field->kind == 's' && (value >> (width - 1))) result -= (int32_t)(1u << width);
  return result * (int32_t)(1u << field->shift);
}

/* What a level 2.1 instruction does with results that do not fit and with bits that it shifts out:
 * it saturates and rounds by CFG, but for the left shift and vrelu, which keep the low bits, for the
 * right shift, which drops bits, and for srcmb, which is told by its last operand. */
static void imply(const Encoding* encoding, Operands* o) {
  const char* mnemonic = encoding->mnemonic;
  const int truncates =
      !strcmp(mnemonic, "esp.vsl.32") || !strncmp(mnemonic, "esp.vrelu.", strlen("esp.vrelu."));
  o->saturates = !truncates;
  o->rounding = !strncmp(mnemonic, "esp.vsr.", strlen("esp.vsr.")) ? 0 : 7;
  if (!strncmp(mnemonic, "esp.srcmb.", strlen("esp.srcmb.")))
    o->saturates = o->select[0] != 0;
}

/* Returns 0 where a select names a lane the register does not have. */
static int read_operands(const Encoding* encoding, uint32_t word, Operands* o) {
  memset(o, 0, sizeof *o);
  const struct {
    const char* field;
    int* place;
  } places[] = {{"qx", &o->qx}, {"qy", &o->qy},  {"qz", &o->qz},    {"qu", &o->qu},
                {"qv", &o->qv}, {"qw", &o->qw},  {"rs1", &o->rs1},  {"rs2", &o->rs2},
                {"rd", &o->rd}, {"frd", &o->rd}, {"frs1", &o->rs1}, {"frs2", &o->rs2}};
  unsigned selects = 0;
  for (unsigned i = 0; i < encoding->fields; i++) {
    const Field* field = &encoding->field[i];
    const int32_t value = field_value(field, word);
    if (field->kind == 'u' && (uint32_t)value > field->highest) return 0;
    if (field->kind == 's') o->immediate = value;
    if (field->kind == 'u') o->select[selects++] = (uint32_t)value;
    if (field->kind == 't') o->saturates = value;
    if (field->kind == 'm') o->rounding = (unsigned)value;
    for (unsigned k = 0; k < sizeof places / sizeof places[0]; k++) {
      if (!strcmp(field->field, places[k].field)) *places[k].place = value;
    }
  }
  if (level == 21) imply(encoding, o);
  return 1;
}

/* A fused instruction: the operation reads everything first; then the load or store of qu at rs1.
 */
static int execute_fused(State* s, const Name* name, const Operands* o, Operation* operation) {
  const int loads = name_has(name, "ld");
  const int broadcasts = name_has(name, "ldbc");
  const int stores = name_has(name, "st");
  if (!loads && !broadcasts && !stores) return operation(s, name, o);

  const uint32_t base = s->x[o->rs1];
  const uint32_t count = broadcasts ? name_lane(name).bits / 8 : 16;
  uint32_t step = broadcasts ? count : 16;
  if (name_has(name, "ip")) step = (uint32_t)o->immediate;
  if (name_has(name, "xp")) step = s->x[o->rs2];
  const int keep_low_bits =
      (loads && loads_may_be_misaligned(s)) || (stores && stores_may_be_misaligned(s));
  uint8_t* bytes = bytes_at(s, keep_low_bits ? base : base & ~(count - 1), count);
  if (!bytes) return STATUS_STOPPED;

  uint8_t old_qu[16];
  memcpy(old_qu, s->q[o->qu], 16);
  const int extracts =
      !strcmp(name->part[0], "src"); /* writes qw last: "qu = mem128; ...; qw = t" */
  State after = *s;
  const int status = operation(&after, name, o);
  if (status != STATUS_OK) return status;
  uint8_t extracted[16];
  memcpy(extracted, after.q[o->qw], 16);
  const size_t offset = (size_t)(bytes - s->memory);
  *s = after;
  bytes = s->memory + offset;
  if (stores) {
    memcpy(bytes, old_qu, 16);
  } else {
    for (unsigned i = 0; i < 16; i++) s->q[o->qu][i] = bytes[i % count];
  }
  if (extracts) memcpy(s->q[o->qw], extracted, 16);
  set_x(s, o->rs1, base + step);
  return STATUS_OK;
}

static int execute(State* s) {
  const Encoding* encoding = find(s->word);
  Operands o;
  if (!encoding || !encoding->verified || !read_operands(encoding, s->word, &o))
    return STATUS_STOPPED;
  char text[64];
  const Name name = split(encoding->mnemonic, text, sizeof text);
  if (!strcmp(encoding->mnemonic, "esp.vmul.s16.s8xs8") ||
      !strcmp(encoding->mnemonic, "esp.vmul.s32.s16xs16")) {
    return vector_multiply_widening(s, &name, &o);
  }
  for (unsigned i = 0; i < sizeof kFamilies / sizeof kFamilies[0]; i++) {
    if (strcmp(kFamilies[i].family, name.part[0])) continue;
    if (kFamilies[i].fusion == FUSED) return execute_fused(s, &name, &o, kFamilies[i].operation);
    return kFamilies[i].operation(s, &name, &o);
  }
  fprintf(stderr, "pie_reference: %s has no operation\n", encoding->mnemonic);
  exit(2);
}

static uint32_t get_u32(const uint8_t** at) {
  const Lane lane = {32, 0};
  const uint32_t value = (uint32_t)get_lane(*at, 0, lane);
  *at += 4;
  return value;
}

static void get_bytes(const uint8_t** at, void* to, size_t count) {
  memcpy(to, *at, count);
  *at += count;
}

static void put_u32(uint8_t** at, uint32_t value) {
  set_lane(*at, 0, 32, value);
  *at += 4;
}

static void put_bytes(uint8_t** at, const void* from, size_t count) {
  memcpy(*at, from, count);
  *at += count;
}

static State unpack(const uint8_t* at) {
  State s;
  s.word = get_u32(&at);
  for (int i = 0; i < 32; i++) s.x[i] = get_u32(&at);
  get_bytes(&at, s.q, sizeof s.q);
  get_bytes(&at, s.qacc, sizeof s.qacc);
  s.xacc = get_u32(&at);
  s.xacc |= (uint64_t)get_u32(&at) << 32;
  s.sar = get_u32(&at);
  s.sar_byte = get_u32(&at);
  s.cfg = get_u32(&at);
  get_bytes(&at, s.ua_state, sizeof s.ua_state);
  get_bytes(&at, s.memory, sizeof s.memory);
  return s;
}

static void pack(const State* s, uint8_t* at) {
  put_u32(&at, s->word);
  for (int i = 0; i < 32; i++) put_u32(&at, s->x[i]);
  put_bytes(&at, s->q, sizeof s->q);
  put_bytes(&at, s->qacc, sizeof s->qacc);
  put_u32(&at, (uint32_t)s->xacc);
  put_u32(&at, (uint32_t)(s->xacc >> 32));
  put_u32(&at, s->sar);
  put_u32(&at, s->sar_byte);
  put_u32(&at, s->cfg);
  put_bytes(&at, s->ua_state, sizeof s->ua_state);
  put_bytes(&at, s->memory, sizeof s->memory);
}

int main(int argc, char** argv) {
  level = argc == 4 ? atoi(argv[1]) : 0;
  if (level != 21 && level != 22) {
    fprintf(stderr, "usage: pie_reference 21|22 IN OUT\n");
    return 2;
  }
  FILE* in = fopen(argv[2], "rb");
  FILE* out = fopen(argv[3], "wb");
  if (!in || !out) {
    fprintf(stderr, "pie_reference: cannot open %s\n", in ? argv[3] : argv[2]);
    return 2;
  }
  uint8_t record[RECORD_BYTES + 4];
  while (fread(record, RECORD_BYTES, 1, in) == 1) {
    State s = unpack(record);
    const int status = execute(&s);
    if (status == STATUS_OK) pack(&s, record);
    set_lane(record + RECORD_BYTES, 0, 32, (uint64_t)status);
    fwrite(record, sizeof record, 1, out);
  }
  fclose(in);
  return fclose(out) == 0 ? 0 : 2;
}
