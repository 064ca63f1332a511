/* Integer instructions with random and awkward operands; prints running checksums. */
#include "program.h"

static const int32_t kAwkward[] = {
    0,         1, -1, 2, -2, 7, 31, 32, 33, 255, 256, 0x7FFF, -0x8000, 0x7FFFFFFF, -0x7FFFFFFF - 1,
    0x55555555};
#define AWKWARD_COUNT (sizeof kAwkward / sizeof kAwkward[0])

static uint32_t Mix(uint32_t hash, uint32_t value) {
  return (hash ^ value) * 16777619u + (hash >> 15);
}

/* Inline assembly, so that no compiler turns the instruction into another one. */
#define BINARY(name)                                                  \
  static uint32_t Do_##name(uint32_t a, uint32_t b) {                 \
    uint32_t r;                                                       \
    __asm__ volatile(#name " %0, %1, %2" : "=r"(r) : "r"(a), "r"(b)); \
    return r;                                                         \
  }
#define LIST(X)                                                                                    \
  X(add)                                                                                           \
  X(sub) X(sll) X(slt) X(sltu) X(xor) X(srl) X(sra) X(or) X(and) X(mul) X(mulh) X(mulhsu) X(mulhu) \
      X(div) X(divu) X(rem) X(remu)
LIST(BINARY)

typedef uint32_t (*Function)(uint32_t, uint32_t);
#define ENTRY(name) Do_##name,
static const Function kFunctions[] = {LIST(ENTRY)};
#define NAME(name) #name,
static const char* const kNames[] = {LIST(NAME)};

static uint8_t buffer[64];

static uint32_t Memory(void) {
  uint32_t hash = 1;
  for (int i = 0; i < 64; ++i) buffer[i] = (uint8_t)(Random() >> 24);
  for (int i = 0; i < 2000; ++i) {
    uint32_t at = Random() % 60;
    switch (Random() % 8) {
      case 0:
        hash = Mix(hash, (uint32_t)*(volatile int8_t*)(buffer + at));
        break;
      case 1:
        hash = Mix(hash, *(volatile uint8_t*)(buffer + at));
        break;
      case 2:
        hash = Mix(hash, (uint32_t)*(volatile int16_t*)(buffer + (at & ~1u)));
        break;
      case 3:
        hash = Mix(hash, *(volatile uint16_t*)(buffer + (at & ~1u)));
        break;
      case 4:
        hash = Mix(hash, *(volatile uint32_t*)(buffer + (at & ~3u)));
        break;
      case 5:
        *(volatile uint8_t*)(buffer + at) = (uint8_t)hash;
        break;
      case 6:
        *(volatile uint16_t*)(buffer + (at & ~1u)) = (uint16_t)hash;
        break;
      default:
        *(volatile uint32_t*)(buffer + (at & ~3u)) = hash;
        break;
    }
  }
  return hash;
}

static uint32_t Atomics(void) {
  static uint32_t word = 5;
  uint32_t hash = 1;
  for (int i = 0; i < 300; ++i) {
    uint32_t value = Random();
    uint32_t r;
    int32_t failed;
    __asm__ volatile("amoswap.w %0, %1, (%2)" : "=r"(r) : "r"(value), "r"(&word) : "memory");
    hash = Mix(hash, r);
    __asm__ volatile("amoadd.w %0, %1, (%2)" : "=r"(r) : "r"(value), "r"(&word) : "memory");
    hash = Mix(hash, r);
    __asm__ volatile("amomin.w %0, %1, (%2)" : "=r"(r) : "r"(Random()), "r"(&word) : "memory");
    hash = Mix(hash, r);
    __asm__ volatile("amomaxu.w %0, %1, (%2)" : "=r"(r) : "r"(Random()), "r"(&word) : "memory");
    hash = Mix(hash, r);
    __asm__ volatile("amomax.w %0, %1, (%2)" : "=r"(r) : "r"(Random()), "r"(&word) : "memory");
    hash = Mix(hash, r);
    __asm__ volatile("amominu.w %0, %1, (%2)" : "=r"(r) : "r"(Random()), "r"(&word) : "memory");
    hash = Mix(hash, r);
    __asm__ volatile("amoxor.w %0, %1, (%2)" : "=r"(r) : "r"(value), "r"(&word) : "memory");
    hash = Mix(hash, r);
    __asm__ volatile("amoand.w %0, %1, (%2)" : "=r"(r) : "r"(Random()), "r"(&word) : "memory");
    hash = Mix(hash, r);
    __asm__ volatile("amoor.w %0, %1, (%2)" : "=r"(r) : "r"(Random()), "r"(&word) : "memory");
    hash = Mix(hash, r);
    __asm__ volatile("lr.w %0, (%2)\n\taddi %0, %0, 3\n\tsc.w %1, %0, (%2)"
                     : "=&r"(r), "=&r"(failed)
                     : "r"(&word)
                     : "memory");
    hash = Mix(hash, r + (uint32_t)failed);
    hash = Mix(hash, word);
  }
  return hash;
}

static uint32_t Compare(void) {
  uint32_t hash = 1;
  for (uint32_t i = 0; i < AWKWARD_COUNT; ++i) {
    for (uint32_t k = 0; k < AWKWARD_COUNT; ++k) {
      volatile int32_t a = kAwkward[i], b = kAwkward[k];
      volatile uint32_t c = (uint32_t)a, d = (uint32_t)b;
      hash = Mix(hash, (uint32_t)((a < b) | (a >= b) << 1 | (a == b) << 2 | (a != b) << 3 |
                                  (c < d) << 4 | (c >= d) << 5));
    }
  }
  return hash;
}

static uint32_t Wide(void) {
  uint64_t a = 0x123456789ABCDEFull, b = 97;
  uint32_t hash = 1;
  for (int i = 0; i < 500; ++i) {
    a = a * 6364136223846793005ull + Random();
    b = b * 3935559000370003845ull + 2691343689449507681ull;
    hash = Mix(hash, (uint32_t)((a - b) >> 32) + (a < b));
    hash = Mix(hash, (uint32_t)((int64_t)a >> 7));
    hash = Mix(hash, (uint32_t)(a << 13 >> 32));
  }
  return hash;
}

int main(void) {
  for (uint32_t f = 0; f < sizeof kFunctions / sizeof kFunctions[0]; ++f) {
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < AWKWARD_COUNT; ++i) {
      for (uint32_t k = 0; k < AWKWARD_COUNT; ++k)
        hash = Mix(hash, kFunctions[f]((uint32_t)kAwkward[i], (uint32_t)kAwkward[k]));
    }
    for (int i = 0; i < 1000; ++i) {
      uint32_t a = Random();
      hash = Mix(hash, kFunctions[f](a, Random() >> (a & 31)));
    }
    Print(kNames[f], hash);
  }
  Print("memory", Memory());
  Print("atomics", Atomics());
  Print("compare", Compare());
  Print("wide", Wide());
  return 0;
}
