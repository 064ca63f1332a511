// Lane-wise arithmetic without products: add, subtract, minimum, maximum, clamps, logic.
#include "pie.h"

namespace p4::pie {
namespace {

struct Adding {
  static int64_t Of(int64_t a, int64_t b) { return a + b; }
};
struct Subtracting {
  static int64_t Of(int64_t a, int64_t b) { return a - b; }
};

template <class T, class Function>
struct SaturatingPair {
  static void Run(Core& c, const Op* o) {
    const Lanes<T> x(c.q[o->qx]), y(c.q[o->qy]);
    Lanes<T> r;
    for (int i = 0; i < Lanes<T>::kCount; ++i) {
      r.lane[i] = Saturate<T>(Function::Of(x.lane[i], y.lane[i]));
    }
    r.Store(c.q[o->qv]);
  }
};

template <class T, class Function>
struct SaturatingScalar {
  static void Run(Core& c, const Op* o) {
    const Lanes<T> x(c.q[o->qx]);
    const auto y = static_cast<T>(c.x[o->rs1]);
    Lanes<T> r;
    for (int i = 0; i < Lanes<T>::kCount; ++i) {
      r.lane[i] = Saturate<T>(Function::Of(x.lane[i], y));
    }
    r.Store(c.q[o->qv]);
  }
};

template <class T>
struct Maximum {
  static void Run(Core& c, const Op* o) {
    const auto x = Get<Vec<T>>(c.q[o->qx]), y = Get<Vec<T>>(c.q[o->qy]);
    Put(c.q[o->qz], x > y ? x : y);
  }
};
template <class T>
struct Minimum {
  static void Run(Core& c, const Op* o) {
    const auto x = Get<Vec<T>>(c.q[o->qx]), y = Get<Vec<T>>(c.q[o->qy]);
    Put(c.q[o->qz], x < y ? x : y);
  }
};

template <class T, bool kMaximum>
struct Reduce {
  static void Run(Core& c, const Op* o) {
    const Lanes<T> w(c.q[o->qw]);
    T best = w.lane[0];
    for (int i = 1; i < Lanes<T>::kCount; ++i) {
      if (kMaximum ? w.lane[i] > best : w.lane[i] < best) best = w.lane[i];
    }
    c.x[o->rd] = static_cast<uint32_t>(static_cast<int64_t>(best));
  }
};

// The magnitude of the lowest value does not fit; its bits stay (2^(n-1) if read as unsigned).
template <class T>
struct Absolute {
  static void Run(Core& c, const Op* o) {
    const auto y = Get<Vec<T>>(c.q[o->qy]);
    using Unsigned = Vec<std::make_unsigned_t<T>>;
    Put(c.q[o->qv], y < 0 ? (Vec<T>)(Unsigned{} - (Unsigned)y) : y);
  }
};

template <class T>
struct ClampToRegisters {
  static void Run(Core& c, const Op* o) {
    const auto a = static_cast<T>(c.x[o->rs1]), b = static_cast<T>(c.x[o->rs2]);
    const auto x = Get<Vec<T>>(c.q[o->qx]);
    const Vec<T> low = Vec<T>{} + (a < b ? a : b), high = Vec<T>{} + (a < b ? b : a);
    const Vec<T> raised = x < low ? low : x;
    Put(c.q[o->qz], raised > high ? high : raised);
  }
};

struct ClampToPower {
  static void Run(Core& c, const Op* o) {
    const Lanes<int16_t> x(c.q[o->qx]);
    const int bound = 1 << o->sel;
    Lanes<int16_t> r;
    for (int i = 0; i < 8; ++i) {
      const int v = x.lane[i];
      r.lane[i] = static_cast<int16_t>(v < -bound ? -bound : v > bound - 1 ? bound - 1 : v);
    }
    r.Store(c.q[o->qz]);
  }
};

struct AndLogic {
  static Bytes Of(Bytes a, Bytes b) { return a & b; }
};
struct OrLogic {
  static Bytes Of(Bytes a, Bytes b) { return a | b; }
};
struct XorLogic {
  static Bytes Of(Bytes a, Bytes b) { return a ^ b; }
};
template <class Function>
struct Logic {
  static void Run(Core& c, const Op* o) {
    Put(c.q[o->qz], Function::Of(Get<Bytes>(c.q[o->qx]), Get<Bytes>(c.q[o->qy])));
  }
};
struct Not {
  static void Run(Core& c, const Op* o) { Put(c.q[o->qz], ~Get<Bytes>(c.q[o->qx])); }
};

// Shifts of 32-bit lanes by SAR[4:0]; no rounding.
template <class T, bool kLeft>
struct ShiftLanes {
  static void Run(Core& c, const Op* o) {
    const uint32_t amount = c.sar & 31;
    const auto y = Get<Vec<T>>(c.q[o->qy]);
    Put(c.q[o->qu], kLeft ? y << amount : y >> amount);
  }
};

template <class T>
void RegisterType(Registry& registry) {
  const std::string type = TypeName<T>();
  constexpr uint32_t kPair = kReadsQx | kReadsQy;
  RegisterIncp<SaturatingPair<T, Adding>>(registry, "esp.vadd." + type, kPair);
  RegisterIncp<SaturatingPair<T, Subtracting>>(registry, "esp.vsub." + type, kPair);
  RegisterIncp<Maximum<T>>(registry, "esp.vmax." + type, kPair);
  RegisterIncp<Minimum<T>>(registry, "esp.vmin." + type, kPair);
  RegisterPlain<Reduce<T, true>>(registry, "esp.max." + type + ".a", kReadsQw);
  RegisterPlain<Reduce<T, false>>(registry, "esp.min." + type + ".a", kReadsQw);
  RegisterPlain<ClampToRegisters<T>>(registry, "esp.vsat." + type,
                                     kReadsQx | kReadsRs1 | kReadsRs2);
  if constexpr (sizeof(T) < 4) {
    RegisterPlain<SaturatingScalar<T, Adding>>(registry, "esp.vsadds." + type,
                                               kReadsQx | kReadsRs1);
    RegisterPlain<SaturatingScalar<T, Subtracting>>(registry, "esp.vssubs." + type,
                                                    kReadsQx | kReadsRs1);
  }
}

}  // namespace

void RegisterArithmetic(Registry& registry) {
  RegisterType<int8_t>(registry);
  RegisterType<uint8_t>(registry);
  RegisterType<int16_t>(registry);
  RegisterType<uint16_t>(registry);
  RegisterType<int32_t>(registry);
  RegisterType<uint32_t>(registry);
  RegisterPlain<Absolute<int8_t>>(registry, "esp.vabs.8", kReadsQy);
  RegisterPlain<Absolute<int16_t>>(registry, "esp.vabs.16", kReadsQy);
  RegisterPlain<Absolute<int32_t>>(registry, "esp.vabs.32", kReadsQy);
  RegisterPlain<ClampToPower>(registry, "esp.vclamp.s16", kReadsQx);
  RegisterPlain<Logic<AndLogic>>(registry, "esp.andq", kReadsQx | kReadsQy);
  RegisterPlain<Logic<OrLogic>>(registry, "esp.orq", kReadsQx | kReadsQy);
  RegisterPlain<Logic<XorLogic>>(registry, "esp.xorq", kReadsQx | kReadsQy);
  RegisterPlain<Not>(registry, "esp.notq", kReadsQx);
  RegisterPlain<ShiftLanes<uint32_t, true>>(registry, "esp.vsl.32", kReadsQy);
  RegisterPlain<ShiftLanes<int32_t, false>>(registry, "esp.vsr.s32", kReadsQy);
  RegisterPlain<ShiftLanes<uint32_t, false>>(registry, "esp.vsr.u32", kReadsQy);
}

}  // namespace p4::pie
