// Multiply-accumulate: vmulas and vsmulas into QACC and XACC, with their fused loads and stores.
#include "pie.h"

namespace p4::pie {
namespace {

// Lane types: products fit in Product, accumulators are Accumulator.
template <class T>
struct MacTypes;
template <>
struct MacTypes<int8_t> {
  using Product = int16_t;
  using Accumulator = int32_t;
  using Unsigned = uint32_t;
};
template <>
struct MacTypes<uint8_t> {
  using Product = uint16_t;
  using Accumulator = uint32_t;
  using Unsigned = uint32_t;
};
template <>
struct MacTypes<int16_t> {
  using Product = int32_t;
  using Accumulator = int64_t;
  using Unsigned = uint64_t;
};
template <>
struct MacTypes<uint16_t> {
  using Product = uint32_t;
  using Accumulator = uint64_t;
  using Unsigned = uint64_t;
};

// accumulator += product, saturating, all lanes at once. Part of 16 or 32 bytes at a time keeps
// the values in registers of whatever vector width the host has.
template <class T, class Multiplier>
inline void Accumulate(uint8_t* qacc, Vec<T> x, Multiplier y) {
  using Product = typename MacTypes<T>::Product;
  using Accumulator = typename MacTypes<T>::Accumulator;
  using Unsigned = typename MacTypes<T>::Unsigned;
  using Products = Vec<Product, 32>;
  using Sums = Vec<Accumulator, 64>;
  using Unsigneds = Vec<Unsigned, 64>;
  const Products products =
      __builtin_convertvector(x, Products) * __builtin_convertvector(y, Products);
  const Sums old = Get<Sums>(qacc);
  const Sums added = __builtin_convertvector(products, Sums);
  const Sums sum = (Sums)((Unsigneds)old + (Unsigneds)added);
  if constexpr (std::is_signed_v<T>) {
    constexpr int kTop = sizeof(Accumulator) * 8 - 1;
    const Sums overflow = ((old ^ sum) & (added ^ sum)) >> kTop;
    const Sums limit = (old >> kTop) ^ std::numeric_limits<Accumulator>::max();
    Put(qacc, (Sums)((sum & ~overflow) | (limit & overflow)));
  } else {
    const Unsigneds overflow = (Unsigneds)(sum < old);
    Put(qacc, (Sums)((Unsigneds)sum | overflow));
  }
}

template <class T>
struct Vmulas {
  static void Run(Core& c, const Op* o) {
    Accumulate<T>(c.qacc, Get<Vec<T>>(c.q[o->qx]), Get<Vec<T>>(c.q[o->qy]));
  }
};

template <class T>
struct Vsmulas {
  static void Run(Core& c, const Op* o) {
    constexpr uint32_t kLast = 16 / sizeof(T) - 1;
    T lane;
    memcpy(&lane, c.q[o->qy] + (o->sel & kLast) * sizeof(T), sizeof(T));
    Accumulate<T>(c.qacc, Get<Vec<T>>(c.q[o->qx]), Vec<T>{} + lane);
  }
};

constexpr uint64_t kXaccMask = (uint64_t{1} << 40) - 1;

template <class T>
struct VmulasXacc {
  static void Run(Core& c, const Op* o) {
    const Lanes<T> x(c.q[o->qx]), y(c.q[o->qy]);
    int64_t sum = 0;
    for (int i = 0; i < Lanes<T>::kCount; ++i) sum += int64_t{x.lane[i]} * int64_t{y.lane[i]};
    if constexpr (std::is_signed_v<T>) {
      constexpr int64_t kHigh = (int64_t{1} << 39) - 1;
      sum += static_cast<int64_t>(c.xacc << 24) >> 24;
      sum = sum > kHigh ? kHigh : sum < -kHigh - 1 ? -kHigh - 1 : sum;
      c.xacc = static_cast<uint64_t>(sum) & kXaccMask;
    } else {
      const uint64_t total = c.xacc + static_cast<uint64_t>(sum);
      c.xacc = total > kXaccMask ? kXaccMask : total;
    }
  }
};

template <class Operation>
void RegisterFused(Registry& registry, const std::string& name) {
  constexpr uint32_t kUse = kReadsQx | kReadsQy;
  registry[name] = {Execute<Operation, NoMemory>, kUse};
  registry[name + ".ld.ip"] = {Execute<Operation, FusedLoad<ByImmediate>>,
                               kUse | kReadsRs1 | kLoadsQu};
  registry[name + ".ld.xp"] = {Execute<Operation, FusedLoad<ByRegister>>,
                               kUse | kReadsRs1 | kReadsRs2 | kLoadsQu};
  registry[name + ".st.ip"] = {Execute<Operation, FusedStore<ByImmediate>>,
                               kUse | kReadsRs1 | kReadsQu};
  registry[name + ".st.xp"] = {Execute<Operation, FusedStore<ByRegister>>,
                               kUse | kReadsRs1 | kReadsRs2 | kReadsQu};
}

template <class T>
void RegisterType(Registry& registry) {
  constexpr uint32_t kUse = kReadsQx | kReadsQy;
  const std::string type = TypeName<T>();
  RegisterFused<Vmulas<T>>(registry, "esp.vmulas." + type + ".qacc");
  RegisterFused<VmulasXacc<T>>(registry, "esp.vmulas." + type + ".xacc");
  registry["esp.vmulas." + type + ".qacc.ldbc.incp"] = {Execute<Vmulas<T>, FusedBroadcast<T>>,
                                                        kUse | kReadsRs1 | kLoadsQu};
  registry["esp.vsmulas." + type + ".qacc"] = {Execute<Vsmulas<T>, NoMemory>, kUse};
  registry["esp.vsmulas." + type + ".qacc.ld.incp"] = {Execute<Vsmulas<T>, FusedLoad<By16>>,
                                                       kUse | kReadsRs1 | kLoadsQu};
}

}  // namespace

void RegisterMac(Registry& registry) {
  RegisterType<int8_t>(registry);
  RegisterType<uint8_t>(registry);
  RegisterType<int16_t>(registry);
  RegisterType<uint16_t>(registry);
}

}  // namespace p4::pie
