// Products with a rounding shift: vmul, vrelu, vprelu; comparisons are here as well.
#include "pie_round.h"

namespace p4::pie {

void BadRoundingMode(Core& core, const Op* op) {
  core.leaving = op;
  Stop stop;
  stop.error =
      "rounding mode " + std::to_string(core.rounding) + " (CFG.vxrm) has no verified meaning";
  throw stop;
}

void UnprovenRounding(Core& core, const Op* op) {
  core.leaving = op;
  Stop stop;
  stop.error = std::string(PieName(core, op->word)) +
               ": what it does with a rounding mode other than rdn is not verified";
  throw stop;
}

namespace {

template <class T>
struct Multiply {
  static void Run(Core& c, const Op* o) {
    const Lanes<T> x(c.q[o->qx]), y(c.q[o->qy]);
    const uint8_t mode = RoundingMode(c, o);
    Lanes<T> r;
    for (int i = 0; i < Lanes<T>::kCount; ++i) {
      const int64_t product = int64_t{x.lane[i]} * int64_t{y.lane[i]};
      r.lane[i] = Narrow<T>(RoundShift<int64_t>(product, c.sar, mode), Saturates(o));
    }
    r.Store(c.q[o->qz]);
  }
};

// Twice as wide results: lanes of the low half to qz, of the high half to qv.
template <class T, class Wide>
struct MultiplyWide {
  static void Run(Core& c, const Op* o) {
    const Lanes<T> x(c.q[o->qx]), y(c.q[o->qy]);
    const uint8_t mode = RoundingMode(c, o);
    constexpr int kHalf = Lanes<Wide>::kCount;
    Lanes<Wide> low, high;
    for (int i = 0; i < kHalf; ++i) {
      low.lane[i] = static_cast<Wide>(
          RoundShift<int64_t>(int64_t{x.lane[i]} * int64_t{y.lane[i]}, c.sar, mode));
      high.lane[i] = static_cast<Wide>(RoundShift<int64_t>(
          int64_t{x.lane[i + kHalf]} * int64_t{y.lane[i + kHalf]}, c.sar, mode));
    }
    low.Store(c.q[o->qz]);
    high.Store(c.q[o->qv]);
  }
};

template <class T>
inline T Slope(const Op* o, T x, T alpha, uint32_t shift, uint8_t mode) {
  const int64_t product = int64_t{x} * int64_t{alpha};
  return x > 0 ? x : Narrow<T>(RoundShift<int64_t>(product, shift, mode), Saturates(o));
}

// In place on qy; the second operand of the assembly text is the slope, the third the shift.
template <class T>
struct Relu {
  static void Run(Core& c, const Op* o) {
    Lanes<T> y(c.q[o->qy]);
    const auto alpha = static_cast<T>(c.x[o->rs2]);
    const uint32_t shift = c.x[o->rs1] & 31;
    const uint8_t mode = RoundingMode(c, o);
    for (T& lane : y.lane) lane = Slope(o, lane, alpha, shift, mode);
    y.Store(c.q[o->qy]);
  }
};

template <class T>
struct Prelu {
  static void Run(Core& c, const Op* o) {
    const Lanes<T> y(c.q[o->qy]), x(c.q[o->qx]);
    const uint32_t shift = c.x[o->rs1] & 31;
    const uint8_t mode = RoundingMode(c, o);
    Lanes<T> r;
    for (int i = 0; i < Lanes<T>::kCount; ++i) {
      r.lane[i] = Slope(o, y.lane[i], x.lane[i], shift, mode);
    }
    r.Store(c.q[o->qz]);
  }
};

struct Equal {
  template <class V>
  static auto Of(V a, V b) {
    return a == b;
  }
};
struct Greater {
  template <class V>
  static auto Of(V a, V b) {
    return a > b;
  }
};
struct Less {
  template <class V>
  static auto Of(V a, V b) {
    return a < b;
  }
};
template <class T, class Relation>
struct Compare {
  static void Run(Core& c, const Op* o) {
    Put(c.q[o->qz], Relation::Of(Get<Vec<T>>(c.q[o->qx]), Get<Vec<T>>(c.q[o->qy])));
  }
};

template <class T>
void RegisterCompareType(Registry& registry) {
  const std::string type = TypeName<T>();
  RegisterPlain<Compare<T, Equal>>(registry, "esp.vcmp.eq." + type);
  RegisterPlain<Compare<T, Greater>>(registry, "esp.vcmp.gt." + type);
  RegisterPlain<Compare<T, Less>>(registry, "esp.vcmp.lt." + type);
}

}  // namespace

void RegisterMultiply(Registry& registry) {
  RegisterIncp<Multiply<int8_t>>(registry, "esp.vmul.s8");
  RegisterIncp<Multiply<uint8_t>>(registry, "esp.vmul.u8");
  RegisterIncp<Multiply<int16_t>>(registry, "esp.vmul.s16");
  RegisterIncp<Multiply<uint16_t>>(registry, "esp.vmul.u16");
  RegisterPlain<MultiplyWide<int8_t, int16_t>>(registry, "esp.vmul.s16.s8xs8");
  RegisterPlain<MultiplyWide<int16_t, int32_t>>(registry, "esp.vmul.s32.s16xs16");
  RegisterPlain<Relu<int8_t>>(registry, "esp.vrelu.s8");
  RegisterPlain<Relu<int16_t>>(registry, "esp.vrelu.s16");
  RegisterPlain<Prelu<int8_t>>(registry, "esp.vprelu.s8");
  RegisterPlain<Prelu<int16_t>>(registry, "esp.vprelu.s16");
}

void RegisterCompare(Registry& registry) {
  RegisterCompareType<int8_t>(registry);
  RegisterCompareType<uint8_t>(registry);
  RegisterCompareType<int16_t>(registry);
  RegisterCompareType<uint16_t>(registry);
  RegisterCompareType<int32_t>(registry);
  RegisterCompareType<uint32_t>(registry);
}

}  // namespace p4::pie
