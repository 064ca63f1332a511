/* An independent reference of ESPV 2.1 and 2.2: what each vector instruction does to the state.
 *
 * Written from the documents alone, by someone who had seen neither the simulator nor the other
 * reference. It takes mnemonics and operands instead of words, so that decoding is not shared
 * either. Freestanding; independent_run is its only entry.
 */
#include "independent_2p2_step.h"

enum { PLACES = 8 };

int independent_run(struct state* states, size_t count, const char* mnemonic, unsigned level,
                    const int32_t* operands, const int32_t* optional, int32_t* outcomes);

static void split(struct step* t, const char* mnemonic) {
  for (unsigned i = 0; i < TOKENS; i++) {
    unsigned length = 0;
    while (*mnemonic && *mnemonic != '.' && length < sizeof t->token[i] - 1)
      t->token[i][length++] = *mnemonic++;
    t->token[i][length] = 0;
    if (*mnemonic == '.') mnemonic++;
  }
}

/* ---- which instruction ---- */

struct family {
  const char* name;
  family_function* execute;
};

static const struct family FAMILIES[] = {
    {"vadd", three_operands},
    {"vsub", three_operands},
    {"vmax", three_operands},
    {"vmin", three_operands},
    {"vmul", three_operands},
    {"vcmp", three_operands},
    {"vsadds", add_scalar},
    {"vssubs", add_scalar},
    {"vabs", absolute},
    {"vclamp", clamp},
    {"vsat", clamp},
    {"vrelu", activation},
    {"vprelu", activation},
    {"vsl", shift_words},
    {"vsr", shift_words},
    {"andq", logic},
    {"orq", logic},
    {"xorq", logic},
    {"notq", logic},
    {"max", extreme},
    {"min", extreme},
    {"vmulas", multiply_accumulate},
    {"vsmulas", multiply_accumulate},
    {"srcmb", leave_qacc},
    {"srs", leave_xacc},
    {"vzip", zip},
    {"vunzip", zip},
    {"slci", shift_pair},
    {"srci", shift_pair},
    {"slcxxp", shift_pair},
    {"srcxxp", shift_pair},
    {"src", byte_window},
    {"srcq", byte_window},
    {"ldxq", indexed_word},
    {"stxq", indexed_word},
    {"ld", plain_access},
    {"st", plain_access},
    {"ldqa", plain_access},
    {"vld", plain_access},
    {"vst", plain_access},
    {"vldbc", plain_access},
    {"vldext", plain_access},
    {"vldhbc", plain_access},
    {"movi", move_lane},
    {"movx", move_special},
    {"addx2", scaled_sum},
    {"addx4", scaled_sum},
    {"subx2", scaled_sum},
    {"subx4", scaled_sum},
    {"mov", move_widening},
    {"vext", move_widening},
    {"zero", zero},
};

/* Families without verified meaning, on which the simulator stops by name. */
static const char* const UNVERIFIED[] = {"vcmulas", "cmul", "fft", "vzipt", "vunzipt", "sat"};

static bool is_fusion(const struct step* t, unsigned at) {
  const char* token = t->token[at];
  return t->token[1][0] == 'v' && (same(token, "ld") || same(token, "st") || same(token, "ldbc"));
}

/* A load or store beside arithmetic: sources are read before the register is loaded, and a store
 * writes the register's value from before. */
static enum outcome fused(struct step* t, unsigned at, family_function* execute) {
  const bool is_load = !same(t->token[at], "st"), one_element = same(t->token[at], "ldbc");
  uint8_t* qu = take_q(t);
  uint32_t* rs1 = take_x(t);
  const unsigned bytes = one_element ? type_of(t->token[2]).bits / 8 : 16;
  const uint32_t increment = take_increment(t, t->token[at + 1], bytes);
  uint8_t* place = one_element ? memory(t, *rs1 & ~(bytes - 1), bytes) : wide(t, *rs1, 16, is_load);
  if (!place) return NOT_SIMULATED;
  if (!is_load) copy(place, qu, 16);
  const enum outcome outcome = execute(t);
  if (is_load) broadcast(qu, place, bytes);
  *rs1 += increment;
  return outcome;
}

static enum outcome execute(struct step* t) {
  for (size_t i = 0; i < sizeof UNVERIFIED / sizeof *UNVERIFIED; i++)
    if (same(t->token[1], UNVERIFIED[i])) return NOT_SIMULATED;
  if (same(t->token[3], "s8xs8") || same(t->token[3], "s16xs16")) return widening_product(t);
  for (size_t i = 0; i < sizeof FAMILIES / sizeof *FAMILIES; i++) {
    if (!same(t->token[1], FAMILIES[i].name)) continue;
    for (unsigned at = 3; at < TOKENS - 1; at++)
      if (is_fusion(t, at)) return fused(t, at, FAMILIES[i].execute);
    return FAMILIES[i].execute(t);
  }
  return NOT_COVERED;
}

/* Run one mnemonic on records. Per record: PLACES operands in assembly order without the optional
 * ones (2.1's srcmb keeps its select), then saturation and rounding as 2.2 numbers them. */
int independent_run(struct state* states, size_t count, const char* mnemonic, unsigned level,
                    const int32_t* operands, const int32_t* optional, int32_t* outcomes) {
  for (size_t i = 0; i < count; i++) {
    struct step t = {.s = &states[i], .level = level, .operand = operands + i * PLACES};
    split(&t, mnemonic);
    const uint32_t by_cfg = states[i].cfg >> 4 & 15;
    t.saturate = optional[2 * i] == 1;
    t.mode = (enum rounding)(optional[2 * i + 1] == DYN ? by_cfg : (uint32_t)optional[2 * i + 1]);
    outcomes[i] = (int32_t)(t.mode >= DYN ? NOT_COVERED : execute(&t));
  }
  return (int)sizeof(struct state);
}
