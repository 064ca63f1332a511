/* Single-precision instructions: results, rounding modes and exception flags of each one. */
#include "program.h"

static const uint32_t kAwkward[] = {
    0x00000000, 0x80000000, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001,
    0x00000001, 0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0x4F000000, 0xCF000000, 0x4F800000, 0x3F000000,
    0x3FC00000, 0xBFC00000, 0x40490FDB, 0x4B000001, 0x33800000, 0xC0200000};
#define AWKWARD_COUNT (sizeof kAwkward / sizeof kAwkward[0])

static uint32_t Mix(uint32_t hash, uint32_t value) {
  return (hash ^ value) * 16777619u + (hash >> 15);
}

static float FromBits(uint32_t bits) {
  float f;
  __asm__ volatile("fmv.w.x %0, %1" : "=f"(f) : "r"(bits));
  return f;
}
static uint32_t ToBits(float f) {
  uint32_t bits;
  __asm__ volatile("fmv.x.w %0, %1" : "=r"(bits) : "f"(f));
  return bits;
}
static uint32_t Flags(void) {
  uint32_t flags;
  __asm__ volatile("csrrw %0, fflags, zero" : "=r"(flags));
  return flags;
}
static void SetMode(uint32_t mode) { __asm__ volatile("csrw frm, %0" : : "r"(mode)); }

#define FLOAT2(name)                                                    \
  static uint32_t Do_##name(float a, float b) {                         \
    float r;                                                            \
    __asm__ volatile(#name ".s %0, %1, %2" : "=f"(r) : "f"(a), "f"(b)); \
    return ToBits(r);                                                   \
  }
#define COMPARE2(name)                                                  \
  static uint32_t Do_##name(float a, float b) {                         \
    uint32_t r;                                                         \
    __asm__ volatile(#name ".s %0, %1, %2" : "=r"(r) : "f"(a), "f"(b)); \
    return r;                                                           \
  }
#define FUSED(name)                                                         \
  static uint32_t Do_##name(float a, float b) {                             \
    float r;                                                                \
    __asm__ volatile(#name ".s %0, %1, %2, %1" : "=f"(r) : "f"(a), "f"(b)); \
    return ToBits(r);                                                       \
  }
#define UNARY(name, text)                       \
  static uint32_t Do_##name(float a, float b) { \
    uint32_t r;                                 \
    (void)b;                                    \
    __asm__ volatile(text : "=r"(r) : "f"(a));  \
    return r;                                   \
  }
#define FROM(name, text)                               \
  static uint32_t Do_##name(float a, float b) {        \
    float r;                                           \
    (void)b;                                           \
    __asm__ volatile(text : "=f"(r) : "r"(ToBits(a))); \
    return ToBits(r);                                  \
  }
FLOAT2(fadd)
FLOAT2(fsub)
FLOAT2(fmul)
FLOAT2(fdiv)
FLOAT2(fmin)
FLOAT2(fmax)
FLOAT2(fsgnj)
FLOAT2(fsgnjn)
FLOAT2(fsgnjx)
COMPARE2(feq)
COMPARE2(flt)
COMPARE2(fle)
FUSED(fmadd)
FUSED(fmsub)
FUSED(fnmadd)
FUSED(fnmsub)
UNARY(fclass, "fclass.s %0, %1")
UNARY(to_signed, "fcvt.w.s %0, %1, dyn")
UNARY(to_unsigned, "fcvt.wu.s %0, %1, dyn")
UNARY(to_signed_zero, "fcvt.w.s %0, %1, rtz")
UNARY(to_unsigned_zero, "fcvt.wu.s %0, %1, rtz")
FROM(from_signed, "fcvt.s.w %0, %1")
FROM(from_unsigned, "fcvt.s.wu %0, %1")
static uint32_t Do_fsqrt(float a, float b) {
  float r;
  (void)b;
  __asm__ volatile("fsqrt.s %0, %1" : "=f"(r) : "f"(a));
  return ToBits(r);
}

typedef uint32_t (*Function)(float, float);
typedef struct {
  const char* name;
  Function function;
} Entry;
#define E(name) {#name, Do_##name}
static const Entry kEntries[] = {E(fadd),
                                 E(fsub),
                                 E(fmul),
                                 E(fdiv),
                                 E(fmin),
                                 E(fmax),
                                 E(fsgnj),
                                 E(fsgnjn),
                                 E(fsgnjx),
                                 E(feq),
                                 E(flt),
                                 E(fle),
                                 E(fmadd),
                                 E(fmsub),
                                 E(fnmadd),
                                 E(fnmsub),
                                 E(fclass),
                                 E(to_signed),
                                 E(to_unsigned),
                                 E(to_signed_zero),
                                 E(to_unsigned_zero),
                                 E(from_signed),
                                 E(from_unsigned),
                                 E(fsqrt)};

int main(void) {
  for (uint32_t e = 0; e < sizeof kEntries / sizeof kEntries[0]; ++e) {
    for (uint32_t mode = 0; mode < MODES; ++mode) {
      uint32_t results = 1, flags = 1;
      SetMode(mode);
      Flags();
      for (uint32_t i = 0; i < AWKWARD_COUNT * AWKWARD_COUNT + 600; ++i) {
        uint32_t a = kAwkward[i / AWKWARD_COUNT % AWKWARD_COUNT], b = kAwkward[i % AWKWARD_COUNT];
        if (i >= AWKWARD_COUNT * AWKWARD_COUNT) {
          a = Random();
          b = Random();
          if (i & 1) { /* magnitudes near each other and near integers */
            a = (a & 0x87FFFFFFu) + 0x3C000000u;
            b = (b & 0x87FFFFFFu) + 0x3C000000u;
          }
        }
        results = Mix(results, kEntries[e].function(FromBits(a), FromBits(b)));
        flags = Mix(flags, Flags());
      }
      SetMode(0);
      Print(kEntries[e].name, results);
      Print("  flags", flags);
    }
  }
  return 0;
}
