/* Loads and stores that stand alone. Addresses drop their low bits unless CFG lets them keep them.
 */
#include <string.h>

#include "pie_operations.h"

static const Lane kXaccSigned = {40, 1};
static const uint64_t kXaccMask = ((uint64_t)1 << 40) - 1;

static uint32_t increment(const State* s, const Name* name, const Operands* o) {
  if (name_has(name, "xp")) return s->x[o->rs2];
  if (name_has(name, "incp")) return 16;
  return (uint32_t)o->immediate;
}

/* The bytes a load or store of 8 or 16 bytes at rs1 means, then rs1 moves on. */
static uint8_t* step_pointer(State* s, const Name* name, const Operands* o, uint32_t count,
                             int keep_low_bits) {
  const uint32_t base = s->x[o->rs1];
  uint8_t* bytes = bytes_at(s, keep_low_bits ? base : base & ~(count - 1), count);
  if (bytes) set_x(s, o->rs1, base + increment(s, name, o));
  return bytes;
}

/* esp.vld and esp.vst, whole or one half. */
int load_or_store(State* s, const Name* name, const Operands* o) {
  const int loads = name_has(name, "vld");
  const uint32_t count = name_has(name, "128") ? 16 : 8;
  const int keep = loads ? loads_may_be_misaligned(s) : stores_may_be_misaligned(s);
  uint8_t* bytes = step_pointer(s, name, o, count, keep);
  if (!bytes) return STATUS_STOPPED;
  uint8_t* lanes = s->q[o->qu] + (name_has(name, "h") ? 8 : 0);
  memcpy(loads ? lanes : bytes, loads ? bytes : lanes, count);
  return STATUS_OK;
}

int load_usar(State* s, const Name* name, const Operands* o) {
  const uint32_t base = s->x[o->rs1];
  const uint8_t* bytes = step_pointer(s, name, o, 16, 0);
  if (!bytes) return STATUS_STOPPED;
  s->sar_byte = base & 15;
  memcpy(s->q[o->qu], bytes, 16);
  return STATUS_OK;
}

int load_broadcast(State* s, const Name* name, const Operands* o) {
  const unsigned width = name_lane(name).bits / 8;
  const uint8_t* bytes = step_pointer(s, name, o, width, 0);
  if (!bytes) return STATUS_STOPPED;
  for (unsigned i = 0; i < 16; i++) s->q[o->qu][i] = bytes[i % width];
  return STATUS_OK;
}

int load_extend(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  const uint8_t* bytes = step_pointer(s, name, o, 16, loads_may_be_misaligned(s));
  if (!bytes) return STATUS_STOPPED;
  uint8_t result[32];
  for (unsigned i = 0; i < 128 / lane.bits; i++) {
    set_lane(result, i, 2 * lane.bits, (uint64_t)get_lane(bytes, i, lane));
  }
  memcpy(s->q[o->qu], result, 16);
  memcpy(s->q[o->qz], result + 16, 16);
  return STATUS_OK;
}

/* esp.vldhbc.16.incp: every halfword twice. */
int load_pairs(State* s, const Name* name, const Operands* o) {
  const uint8_t* bytes = step_pointer(s, name, o, 16, loads_may_be_misaligned(s));
  if (!bytes) return STATUS_STOPPED;
  uint8_t result[32];
  for (unsigned i = 0; i < 32; i++) result[i] = bytes[i / 4 * 2 + i % 2];
  memcpy(s->q[o->qu], result, 16);
  memcpy(s->q[o->qz], result + 16, 16);
  return STATUS_OK;
}

/* esp.ldqa: sign- or zero-extend 16 bytes into QACC. */
int load_into_qacc(State* s, const Name* name, const Operands* o) {
  const Lane lane = name_lane(name);
  const uint8_t* bytes = step_pointer(s, name, o, 16, loads_may_be_misaligned(s));
  if (!bytes) return STATUS_STOPPED;
  for (unsigned i = 0; i < 128 / lane.bits; i++) {
    set_lane(s->qacc, i, 4 * lane.bits, (uint64_t)get_lane(bytes, i, lane));
  }
  return STATUS_OK;
}

/* esp.ldxq.32 and esp.stxq.32 with selects: word of qu, halfword of qw that is the index. */
int indexed_word(State* s, const Name* name, const Operands* o) {
  const Lane index_lane = {16, 0};
  const uint32_t index = (uint32_t)get_lane(s->q[o->qw], o->select[1], index_lane);
  const uint32_t address = s->x[o->rs1] + (index << 2);
  uint8_t* bytes = bytes_at(s, address & ~3u, 4);
  if (!bytes) return STATUS_STOPPED;
  uint8_t* lane = s->q[o->qu] + 4 * o->select[0];
  const int loads = name_has(name, "ldxq");
  memcpy(loads ? lane : bytes, loads ? bytes : lane, 4);
  return STATUS_OK;
}

/* esp.srcq.128.st.incp */
int store_extracted(State* s, const Name* name, const Operands* o) {
  uint8_t joined[32];
  memcpy(joined, s->q[o->qw], 16);
  memcpy(joined + 16, s->q[o->qy], 16);
  uint8_t* bytes = step_pointer(s, name, o, 16, stores_may_be_misaligned(s));
  if (!bytes) return STATUS_STOPPED;
  memcpy(bytes, joined + (s->sar_byte & 15), 16);
  return STATUS_OK;
}

static int load_or_store_xacc(State* s, const Name* name, const Operands* o) {
  const int loads = name_has(name, "ld");
  const Lane whole = {64, 0};
  const int keep = loads ? loads_may_be_misaligned(s) : stores_may_be_misaligned(s);
  uint8_t* bytes = step_pointer(s, name, o, 8, keep);
  if (!bytes) return STATUS_STOPPED;
  if (loads) {
    s->xacc = (uint64_t)get_lane(bytes, 0, whole) & kXaccMask;
  } else {
    const uint64_t sign_extended = (uint64_t)extend(s->xacc, kXaccSigned);
    set_lane(bytes, 0, 64, name_has(name, "s") ? sign_extended : s->xacc);
  }
  return STATUS_OK;
}

/* esp.ld and esp.st of a QACC quarter ("qacc.h.l" is the low quarter of QACC_H), XACC, UA_STATE. */
int special_load_or_store(State* s, const Name* name, const Operands* o) {
  if (name_has(name, "usar")) return load_usar(s, name, o);
  if (name_has(name, "xacc")) return load_or_store_xacc(s, name, o);
  const int loads = name_has(name, "ld");
  const int keep = loads ? loads_may_be_misaligned(s) : stores_may_be_misaligned(s);
  uint8_t* bytes = step_pointer(s, name, o, 16, keep);
  if (!bytes) return STATUS_STOPPED;
  uint8_t* special = s->ua_state;
  if (name_has(name, "qacc")) {
    special = s->qacc + (name->part[2][0] == 'h' ? 32 : 0) + (name->part[3][0] == 'h' ? 16 : 0);
  }
  memcpy(loads ? special : bytes, loads ? bytes : special, 16);
  return STATUS_OK;
}
