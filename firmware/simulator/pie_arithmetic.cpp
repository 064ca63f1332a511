// Lane-wise arithmetic without products: add, subtract, minimum, maximum, clamps, logic.
#include "pie_round.h"

namespace p4::pie {
namespace {

struct Adding {
  static int64_t Of(int64_t a, int64_t b) { return a + b; }
};
struct Subtracting {
  static int64_t Of(int64_t a, int64_t b) { return a - b; }
};

template <class T, class Function, bool kSaturate>
struct Pairwise {
  static void Run(Core& c, const Op* o) {
    const Lanes<T> x(c.q[o->qx]), y(c.q[o->qy]);
    Lanes<T> r;
    for (int i = 0; i < Lanes<T>::kCount; ++i) {
      r.lane[i] = Narrow<T>(Function::Of(x.lane[i], y.lane[i]), kSaturate);
    }
    r.Store(c.q[o->qv]);
  }
};

template <class T, class Function, bool kSaturate>
struct WithScalar {
  static void Run(Core& c, const Op* o) {
    const Lanes<T> x(c.q[o->qx]);
    const auto y = static_cast<T>(c.x[o->rs1]);
    Lanes<T> r;
    for (int i = 0; i < Lanes<T>::kCount; ++i) {
      r.lane[i] = Narrow<T>(Function::Of(x.lane[i], y), kSaturate);
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

// The magnitude of the lowest value does not fit: the largest one takes its place.
template <class T>
struct Absolute {
  static void Run(Core& c, const Op* o) {
    const auto y = Get<Vec<T>>(c.q[o->qy]);
    constexpr T kLow = std::numeric_limits<T>::min(), kHigh = std::numeric_limits<T>::max();
    Put(c.q[o->qv], y == kLow ? Vec<T>{} + kHigh : y < 0 ? -y : y);
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

// Shifts of 32-bit lanes by SAR[4:0].
template <class T>
struct ShiftLeft {
  static void Run(Core& c, const Op* o) {
    const uint32_t amount = c.sar & 31;
    Lanes<T> lanes(c.q[o->qy]);
    for (T& lane : lanes.lane) {
      lane = Narrow<T>(static_cast<int64_t>(static_cast<uint64_t>(int64_t{lane}) << amount),
                       Saturates(o));
    }
    lanes.Store(c.q[o->qu]);
  }
};
template <class T>
struct ShiftRight {
  static void Run(Core& c, const Op* o) {
    if (RoundingMode(c, o) != kFloor) UnprovenRounding(c, o);
    Put(c.q[o->qu], Get<Vec<T>>(c.q[o->qy]) >> (c.sar & 31));
  }
};

template <class T>
void RegisterType(Registry& registry) {
  const std::string type = TypeName<T>();
  RegisterIncp<Pairwise<T, Adding, true>, Pairwise<T, Adding, false>>(registry, "esp.vadd." + type);
  RegisterIncp<Pairwise<T, Subtracting, true>, Pairwise<T, Subtracting, false>>(registry,
                                                                                "esp.vsub." + type);
  RegisterIncp<Maximum<T>>(registry, "esp.vmax." + type);
  RegisterIncp<Minimum<T>>(registry, "esp.vmin." + type);
  RegisterPlain<Reduce<T, true>>(registry, "esp.max." + type + ".a");
  RegisterPlain<Reduce<T, false>>(registry, "esp.min." + type + ".a");
  RegisterPlain<ClampToRegisters<T>>(registry, "esp.vsat." + type);
  if constexpr (sizeof(T) < 4) {
    RegisterPlain<WithScalar<T, Adding, true>, WithScalar<T, Adding, false>>(registry,
                                                                             "esp.vsadds." + type);
    RegisterPlain<WithScalar<T, Subtracting, true>, WithScalar<T, Subtracting, false>>(
        registry, "esp.vssubs." + type);
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
  RegisterPlain<Absolute<int8_t>>(registry, "esp.vabs.8");
  RegisterPlain<Absolute<int16_t>>(registry, "esp.vabs.16");
  RegisterPlain<Absolute<int32_t>>(registry, "esp.vabs.32");
  RegisterPlain<ClampToPower>(registry, "esp.vclamp.s16");
  RegisterPlain<Logic<AndLogic>>(registry, "esp.andq");
  RegisterPlain<Logic<OrLogic>>(registry, "esp.orq");
  RegisterPlain<Logic<XorLogic>>(registry, "esp.xorq");
  RegisterPlain<Not>(registry, "esp.notq");
  RegisterPlain<ShiftLeft<uint32_t>>(registry, "esp.vsl.32");
  RegisterPlain<ShiftLeft<uint32_t>>(registry, "esp.vsl.u32");
  RegisterPlain<ShiftLeft<int32_t>>(registry, "esp.vsl.s32");
  RegisterPlain<ShiftRight<int32_t>>(registry, "esp.vsr.s32");
  RegisterPlain<ShiftRight<uint32_t>>(registry, "esp.vsr.u32");
}

}  // namespace p4::pie
