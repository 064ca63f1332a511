// QACC and XACC in and out: zero, move, load, store, shift and narrow.
#include "pie_round.h"

namespace p4::pie {
namespace {

template <class T>
using Accumulator =
    std::conditional_t<sizeof(T) == 1, std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>,
                       std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>>;

constexpr uint64_t kXaccMask = (uint64_t{1} << 40) - 1;

struct ZeroQacc {
  static void Run(Core& c, const Op*) { memset(c.qacc, 0, sizeof c.qacc); }
};
struct ZeroXacc {
  static void Run(Core& c, const Op*) { c.xacc = 0; }
};
struct ZeroQ {
  static void Run(Core& c, const Op* o) { memset(c.q[o->qz], 0, 16); }
};

template <class T>
inline void Extend(uint8_t* qacc, Vec<T> lanes) {
  Put(qacc, __builtin_convertvector(lanes, Vec<Accumulator<T>, 64>));
}

template <class T>
struct MoveToQacc {
  static void Run(Core& c, const Op* o) { Extend<T>(c.qacc, Get<Vec<T>>(c.q[o->qu])); }
};

template <class T, class Step>
struct LoadExtended {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1];
    const uint32_t next = address + Step::Step(c, o);
    Extend<T>(c.qacc, (Vec<T>)Load128(c, o, address));
    c.x[o->rs1] = next;
  }
};

template <int kQuarter>
struct LoadQuarter {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1];
    Put(c.qacc + 16 * kQuarter, Load128(c, o, address));
    c.x[o->rs1] = address + static_cast<uint32_t>(o->imm);
  }
};
template <int kQuarter>
struct StoreQuarter {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1];
    Store128(c, o, address, Get<Bytes>(c.qacc + 16 * kQuarter));
    c.x[o->rs1] = address + static_cast<uint32_t>(o->imm);
  }
};

// Every lane >> its shift with rounding; the shifted value stays in QACC.
template <class T, class Shift>
inline void ShiftAndNarrow(Core& c, const Op* o, Shift shift) {
  using Wide = Accumulator<T>;
  constexpr int kCount = Lanes<T>::kCount;
  const uint8_t mode = RoundingMode(c, o);
  Wide lanes[kCount];
  memcpy(lanes, c.qacc, sizeof lanes);
  for (int i = 0; i < kCount; ++i) lanes[i] = RoundShift<Wide>(lanes[i], shift(i), mode);
  memcpy(c.qacc, lanes, sizeof lanes);
  Lanes<T> r;
  constexpr Wide kLow = std::numeric_limits<T>::min(), kHigh = std::numeric_limits<T>::max();
  for (int i = 0; i < kCount; ++i) {
    const Wide v = lanes[i];
    const Wide clamped = v < kLow ? kLow : v > kHigh ? kHigh : v;
    r.lane[i] = static_cast<T>(Saturates(o) ? clamped : v);
  }
  r.Store(c.q[o->qu]);
}

template <class T>
struct Srcmb {
  static void Run(Core& c, const Op* o) {
    const uint32_t amount = c.x[o->rs1] & 63;
    ShiftAndNarrow<T>(c, o, [amount](int) { return amount; });
  }
};
template <class T>
struct SrcmbPerLane {
  static void Run(Core& c, const Op* o) {
    const Lanes<std::make_unsigned_t<T>> amounts(c.q[o->qw]);
    ShiftAndNarrow<T>(c, o, [&amounts](int i) { return uint32_t{amounts.lane[i]}; });
  }
};

template <bool kSigned>
struct ShiftXacc {
  static void Run(Core& c, const Op* o) {
    const uint8_t mode = RoundingMode(c, o);
    const uint32_t amount = c.x[o->rs1] & 63;
    const int64_t value =
        kSigned ? static_cast<int64_t>(c.xacc << 24) >> 24 : static_cast<int64_t>(c.xacc);
    const int64_t shifted = RoundShift<int64_t>(value, amount, mode);
    c.xacc = static_cast<uint64_t>(shifted) & kXaccMask;
    const bool saturate = Saturates(o);
    c.x[o->rd] = kSigned ? static_cast<uint32_t>(Narrow<int32_t>(shifted, saturate))
                         : Narrow<uint32_t>(shifted, saturate);
  }
};

struct LoadXacc {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1];
    c.xacc = Load<uint64_t>(c, o, address & c.load64_mask) & kXaccMask;
    c.x[o->rs1] = address + static_cast<uint32_t>(o->imm);
  }
};
template <bool kSigned>
struct StoreXacc {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1];
    const uint64_t value =
        kSigned ? static_cast<uint64_t>(static_cast<int64_t>(c.xacc << 24) >> 24) : c.xacc;
    Store<uint64_t>(c, o, address & c.store64_mask, value);
    c.x[o->rs1] = address + static_cast<uint32_t>(o->imm);
  }
};

struct ReadXaccLow {
  static void Run(Core& c, const Op* o) { c.x[o->rd] = static_cast<uint32_t>(c.xacc); }
};
struct ReadXaccHigh {
  static void Run(Core& c, const Op* o) { c.x[o->rd] = static_cast<uint32_t>(c.xacc >> 32); }
};
struct WriteXaccLow {
  static void Run(Core& c, const Op* o) { c.xacc = (c.xacc & ~uint64_t{0xFFFFFFFF}) | c.x[o->rs1]; }
};
struct WriteXaccHigh {
  static void Run(Core& c, const Op* o) {
    c.xacc = (c.xacc & 0xFFFFFFFF) | (uint64_t{c.x[o->rs1] & 0xFF} << 32);
  }
};

template <class T>
void RegisterType(Registry& registry) {
  const std::string type = TypeName<T>();
  RegisterPlain<MoveToQacc<T>>(registry, "esp.mov." + type + ".qacc");
  RegisterPlain<LoadExtended<T, ByImmediate>>(registry, "esp.ldqa." + type + ".128.ip");
  RegisterPlain<LoadExtended<T, ByRegister>>(registry, "esp.ldqa." + type + ".128.xp");
  RegisterPlain<Srcmb<T>>(registry, "esp.srcmb." + type + ".qacc");
  RegisterPlain<SrcmbPerLane<T>>(registry, "esp.srcmb." + type + ".q.qacc");
}

template <int kQuarter>
void RegisterQuarter(Registry& registry, const std::string& name) {
  RegisterPlain<LoadQuarter<kQuarter>>(registry, "esp.ld.qacc." + name + ".128.ip");
  RegisterPlain<StoreQuarter<kQuarter>>(registry, "esp.st.qacc." + name + ".128.ip");
}

}  // namespace

void RegisterAccumulator(Registry& registry) {
  RegisterType<int8_t>(registry);
  RegisterType<uint8_t>(registry);
  RegisterType<int16_t>(registry);
  RegisterType<uint16_t>(registry);
  RegisterQuarter<0>(registry, "l.l");
  RegisterQuarter<1>(registry, "l.h");
  RegisterQuarter<2>(registry, "h.l");
  RegisterQuarter<3>(registry, "h.h");
  RegisterPlain<ZeroQacc>(registry, "esp.zero.qacc");
  RegisterPlain<ZeroXacc>(registry, "esp.zero.xacc");
  RegisterPlain<ZeroQ>(registry, "esp.zero.q");
  RegisterPlain<ShiftXacc<true>>(registry, "esp.srs.s.xacc");
  RegisterPlain<ShiftXacc<false>>(registry, "esp.srs.u.xacc");
  RegisterPlain<LoadXacc>(registry, "esp.ld.xacc.ip");
  RegisterPlain<StoreXacc<true>>(registry, "esp.st.s.xacc.ip");
  RegisterPlain<StoreXacc<false>>(registry, "esp.st.u.xacc.ip");
  RegisterPlain<ReadXaccLow>(registry, "esp.movx.r.xacc.l");
  RegisterPlain<ReadXaccHigh>(registry, "esp.movx.r.xacc.h");
  RegisterPlain<WriteXaccLow>(registry, "esp.movx.w.xacc.l");
  RegisterPlain<WriteXaccHigh>(registry, "esp.movx.w.xacc.h");
}

}  // namespace p4::pie
