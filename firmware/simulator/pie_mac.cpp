// Multiply-accumulate: vmulas and vsmulas into QACC and XACC, with their fused loads and stores.
#include "pie.h"

namespace p4::pie {
namespace {

// Lanes widened to twice their width: the lower half of the register and the upper half. Written
// for 16-byte vectors because every host has them.
using S8 = Vec<int8_t>;
using U8 = Vec<uint8_t>;
using S16 = Vec<int16_t>;
using U16 = Vec<uint16_t>;
using S32 = Vec<int32_t>;
using U32 = Vec<uint32_t>;
using S64 = Vec<int64_t>;
using U64 = Vec<uint64_t>;

#define P4_LOW16 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define P4_HIGH16 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define P4_LOW8 0, 8, 1, 9, 2, 10, 3, 11
#define P4_HIGH8 4, 12, 5, 13, 6, 14, 7, 15
inline S16 Low(S8 v) { return (S16)__builtin_shufflevector(S8{}, v, P4_LOW16) >> 8; }
inline S16 High(S8 v) { return (S16)__builtin_shufflevector(S8{}, v, P4_HIGH16) >> 8; }
inline U16 Low(U8 v) { return (U16)__builtin_shufflevector(v, U8{}, P4_LOW16); }
inline U16 High(U8 v) { return (U16)__builtin_shufflevector(v, U8{}, P4_HIGH16); }
inline S32 Low(S16 v) { return (S32)__builtin_shufflevector(S16{}, v, P4_LOW8) >> 16; }
inline S32 High(S16 v) { return (S32)__builtin_shufflevector(S16{}, v, P4_HIGH8) >> 16; }
inline U32 Low(U16 v) { return (U32)__builtin_shufflevector(v, U16{}, P4_LOW8); }
inline U32 High(U16 v) { return (U32)__builtin_shufflevector(v, U16{}, P4_HIGH8); }
inline S64 Low(S32 v) { return (S64)__builtin_shufflevector(v, v >> 31, 0, 4, 1, 5); }
inline S64 High(S32 v) { return (S64)__builtin_shufflevector(v, v >> 31, 2, 6, 3, 7); }
inline U64 Low(U32 v) { return (U64)__builtin_shufflevector(v, U32{}, 0, 4, 1, 5); }
inline U64 High(U32 v) { return (U64)__builtin_shufflevector(v, U32{}, 2, 6, 3, 7); }

template <class V>
using LaneOf = std::remove_const_t<std::remove_reference_t<decltype(std::declval<const V&>()[0])>>;

// The saturating way, lane by lane; part i of what is added belongs to bytes 16 * i of QACC.
template <class V>
void AddSaturating(uint8_t* qacc, V added0, V added1, V added2, V added3) __attribute__((noinline));
template <class V>
void AddSaturating(uint8_t* qacc, V added0, V added1, V added2, V added3) {
  using Lane = LaneOf<V>;
  constexpr size_t kCount = 64 / sizeof(Lane);
  const V added[4] = {added0, added1, added2, added3};
  Lane sums[kCount], addends[kCount];
  memcpy(sums, qacc, 64);
  memcpy(addends, added, 64);
  for (size_t i = 0; i < kCount; ++i) {
    if (__builtin_add_overflow(sums[i], addends[i], &sums[i])) {
      sums[i] =
          addends[i] < 0 ? std::numeric_limits<Lane>::min() : std::numeric_limits<Lane>::max();
    }
  }
  memcpy(qacc, sums, 64);
}

// The wrapped sum; sign bits of lanes that overflowed are added to `overflow`.
template <class V>
inline __attribute__((always_inline)) V Sum(const uint8_t* qacc, V added, U64& overflow) {
  using Lane = LaneOf<V>;
  using Unsigned = Vec<std::make_unsigned_t<Lane>>;
  const V old = Get<V>(qacc);
  const V sum = (V)((Unsigned)old + (Unsigned)added);
  // Both operands differ from the sum in sign; without signs, the carry out.
  overflow |= (U64)(std::is_signed_v<Lane> ? (old ^ sum) & (added ^ sum)
                                           : (old & added) | ((old | added) & ~sum));
  return sum;
}

// All sums are made first, then one test says whether any lane overflowed, which is rare.
template <class V, bool kSaturate>
inline __attribute__((always_inline)) void AddParts(uint8_t* qacc, V added0, V added1, V added2,
                                                    V added3) {
  U64 overflow = {};
  const V sum0 = Sum(qacc, added0, overflow);
  const V sum1 = Sum(qacc + 16, added1, overflow);
  const V sum2 = Sum(qacc + 32, added2, overflow);
  const V sum3 = Sum(qacc + 48, added3, overflow);
  constexpr uint64_t kTops = sizeof(LaneOf<V>) == 4 ? 0x8000000080000000u : 0x8000000000000000u;
  if (kSaturate && __builtin_expect(((overflow[0] | overflow[1]) & kTops) != 0, 0)) {
    AddSaturating<V>(qacc, added0, added1, added2, added3);
    return;
  }
  Put(qacc, sum0);
  Put(qacc + 16, sum1);
  Put(qacc + 32, sum2);
  Put(qacc + 48, sum3);
}

// QACC += products, lane by lane: 16 of 8-bit lanes into 32 bits, 8 of 16-bit lanes into 64.
template <bool kSaturate, class P>
inline __attribute__((always_inline)) void Accumulate(uint8_t* qacc, P low, P high) {
  AddParts<decltype(Low(low)), kSaturate>(qacc, Low(low), High(low), Low(high), High(high));
}

template <class T, bool kSaturate>
struct Vmulas {
  static void Run(Core& c, const Op* o) {
    const auto x = Get<Vec<T>>(c.q[o->qx]), y = Get<Vec<T>>(c.q[o->qy]);
    Accumulate<kSaturate>(c.qacc, Low(x) * Low(y), High(x) * High(y));
  }
};

template <class T, bool kSaturate>
struct Vsmulas {
  static void Run(Core& c, const Op* o) {
    constexpr uint32_t kLast = 16 / sizeof(T) - 1;
    const auto x = Get<Vec<T>>(c.q[o->qx]);
    using Products = decltype(Low(x));
    const T lane = Get<T>(c.q[o->qy] + (o->sel & kLast) * sizeof(T));
    const Products y = Products{} + static_cast<LaneOf<Products>>(lane);
    Accumulate<kSaturate>(c.qacc, Low(x) * y, High(x) * y);
  }
};

constexpr uint64_t kXaccMask = (uint64_t{1} << 40) - 1;

template <class T, bool kSaturate>
struct VmulasXacc {
  static void Run(Core& c, const Op* o) {
    const Lanes<T> x(c.q[o->qx]), y(c.q[o->qy]);
    int64_t sum = 0;
    for (int i = 0; i < Lanes<T>::kCount; ++i) sum += int64_t{x.lane[i]} * int64_t{y.lane[i]};
    if constexpr (std::is_signed_v<T>) {
      constexpr int64_t kHigh = (int64_t{1} << 39) - 1;
      sum += static_cast<int64_t>(c.xacc << 24) >> 24;
      if (kSaturate) sum = sum > kHigh ? kHigh : sum < -kHigh - 1 ? -kHigh - 1 : sum;
      c.xacc = static_cast<uint64_t>(sum) & kXaccMask;
    } else {
      const uint64_t total = c.xacc + static_cast<uint64_t>(sum);
      c.xacc = kSaturate && total > kXaccMask ? kXaccMask : total & kXaccMask;
    }
  }
};

template <template <class, bool> class Operation, class T, class Memory>
Entry Fused() {
  return {ExecuteFused<Operation<T, true>, Memory>, ExecuteFused<Operation<T, false>, Memory>};
}

template <template <class, bool> class Operation, class T>
void RegisterFused(Registry& registry, const std::string& name) {
  RegisterPlain<Operation<T, true>, Operation<T, false>>(registry, name);
  registry[name + ".ld.ip"] = Fused<Operation, T, FusedLoad<ByImmediate>>();
  registry[name + ".ld.xp"] = Fused<Operation, T, FusedLoad<ByRegister>>();
  registry[name + ".st.ip"] = Fused<Operation, T, FusedStore<ByImmediate>>();
  registry[name + ".st.xp"] = Fused<Operation, T, FusedStore<ByRegister>>();
}

template <class T>
void RegisterType(Registry& registry) {
  const std::string type = TypeName<T>();
  RegisterFused<Vmulas, T>(registry, "esp.vmulas." + type + ".qacc");
  RegisterFused<VmulasXacc, T>(registry, "esp.vmulas." + type + ".xacc");
  registry["esp.vmulas." + type + ".qacc.ldbc.incp"] = Fused<Vmulas, T, FusedBroadcast<T>>();
  RegisterPlain<Vsmulas<T, true>, Vsmulas<T, false>>(registry, "esp.vsmulas." + type + ".qacc");
  registry["esp.vsmulas." + type + ".qacc.ld.incp"] = Fused<Vsmulas, T, FusedLoad<By16>>();
}

}  // namespace

void RegisterMac(Registry& registry) {
  RegisterType<int8_t>(registry);
  RegisterType<uint8_t>(registry);
  RegisterType<int16_t>(registry);
  RegisterType<uint16_t>(registry);
}

}  // namespace p4::pie
