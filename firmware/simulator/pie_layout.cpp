// Moving lanes and bytes about: zip, unzip, widening, shifts over register pairs.
#include "pie.h"

namespace p4::pie {
namespace {

template <class T>
struct Zip {
  static void Run(Core& c, const Op* o) {
    const Lanes<T> x(c.q[o->qx]), y(c.q[o->qy]);
    constexpr int kCount = Lanes<T>::kCount;
    Lanes<T> low, high;
    for (int i = 0; i < kCount / 2; ++i) {
      low.lane[2 * i] = x.lane[i];
      low.lane[2 * i + 1] = y.lane[i];
      high.lane[2 * i] = x.lane[kCount / 2 + i];
      high.lane[2 * i + 1] = y.lane[kCount / 2 + i];
    }
    low.Store(c.q[o->qx]);
    high.Store(c.q[o->qy]);
  }
};

template <class T>
struct Unzip {
  static void Run(Core& c, const Op* o) {
    const Lanes<T> x(c.q[o->qx]), y(c.q[o->qy]);
    constexpr int kCount = Lanes<T>::kCount;
    Lanes<T> even, odd;
    for (int i = 0; i < kCount / 2; ++i) {
      even.lane[i] = x.lane[2 * i];
      odd.lane[i] = x.lane[2 * i + 1];
      even.lane[kCount / 2 + i] = y.lane[2 * i];
      odd.lane[kCount / 2 + i] = y.lane[2 * i + 1];
    }
    even.Store(c.q[o->qx]);
    odd.Store(c.q[o->qy]);
  }
};

template <class T, class Wide>
struct Widen {
  static void Run(Core& c, const Op* o) {
    uint8_t wide[32];
    Put(wide, __builtin_convertvector(Get<Vec<T>>(c.q[o->qw]), Vec<Wide, 32>));
    memcpy(c.q[o->qz], wide, 16);
    memcpy(c.q[o->qv], wide + 16, 16);
  }
};

// 32 bytes {high:low} with room for shifts by up to 16 bytes on both sides.
struct Pair {
  uint8_t bytes[64] = {};
  Pair(const uint8_t* high, const uint8_t* low) {
    memcpy(bytes + 16, low, 16);
    memcpy(bytes + 32, high, 16);
  }
  const uint8_t* Low(int shift_right) const { return bytes + 16 + shift_right; }
  const uint8_t* High(int shift_right) const { return bytes + 32 + shift_right; }
};

inline void ShiftPair(Core& c, const Op* o, int right) {
  const Pair pair(c.q[o->qy], c.q[o->qw]);
  memcpy(c.q[o->qy], pair.High(right), 16);
  memcpy(c.q[o->qw], pair.Low(right), 16);
}

template <int kDirection>
struct ShiftPairImmediate {
  static void Run(Core& c, const Op* o) { ShiftPair(c, o, kDirection * ((o->sel & 15) + 1)); }
};
template <int kDirection>
struct ShiftPairRegister {
  static void Run(Core& c, const Op* o) {
    const uint32_t amount = c.x[o->rs1] & 15;
    ShiftPair(c, o, kDirection * (static_cast<int>(amount) + 1));
    c.x[o->rs1] += c.x[o->rs2];
  }
};

struct Src {
  static void Run(Core& c, const Op* o) {
    const Pair pair(c.q[o->qy], c.q[o->qw]);
    memcpy(c.q[o->qz], pair.Low(static_cast<int>(c.sar_byte)), 16);
  }
};
struct SrcUp {
  static void Run(Core& c, const Op* o) {
    const Pair pair(c.q[o->qy], c.q[o->qw]);
    memcpy(c.q[o->qz], pair.Low(static_cast<int>(c.sar_byte)), 16);
    memcpy(c.q[o->qw], pair.High(0), 16);
  }
};
template <class Step>
struct SrcLoad {
  static void Run(Core& c, const Op* o) {
    const Pair pair(c.q[o->qy], c.q[o->qw]);
    const uint32_t address = c.x[o->rs1];
    const uint32_t next = address + Step::Step(c, o);
    Put(c.q[o->qu], Load128(c, o, address));
    c.x[o->rs1] = next;
    memcpy(c.q[o->qw], pair.Low(static_cast<int>(c.sar_byte)), 16);
  }
};
struct SrcStore {
  static void Run(Core& c, const Op* o) {
    const Pair pair(c.q[o->qy], c.q[o->qw]);
    const uint32_t address = c.x[o->rs1];
    Store128(c, o, address, Get<Bytes>(pair.Low(static_cast<int>(c.sar_byte))));
    c.x[o->rs1] = address + 16;
  }
};

}  // namespace

void RegisterLayout(Registry& registry) {
  RegisterPlain<Zip<uint8_t>>(registry, "esp.vzip.8");
  RegisterPlain<Zip<uint16_t>>(registry, "esp.vzip.16");
  RegisterPlain<Zip<uint32_t>>(registry, "esp.vzip.32");
  RegisterPlain<Unzip<uint8_t>>(registry, "esp.vunzip.8");
  RegisterPlain<Unzip<uint16_t>>(registry, "esp.vunzip.16");
  RegisterPlain<Unzip<uint32_t>>(registry, "esp.vunzip.32");
  RegisterPlain<Widen<int8_t, int16_t>>(registry, "esp.vext.s8");
  RegisterPlain<Widen<uint8_t, uint16_t>>(registry, "esp.vext.u8");
  RegisterPlain<Widen<int16_t, int32_t>>(registry, "esp.vext.s16");
  RegisterPlain<Widen<uint16_t, uint32_t>>(registry, "esp.vext.u16");
  RegisterPlain<ShiftPairImmediate<-1>>(registry, "esp.slci.2q");
  RegisterPlain<ShiftPairImmediate<1>>(registry, "esp.srci.2q");
  RegisterPlain<ShiftPairRegister<-1>>(registry, "esp.slcxxp.2q");
  RegisterPlain<ShiftPairRegister<1>>(registry, "esp.srcxxp.2q");
  RegisterPlain<Src>(registry, "esp.src.q");
  RegisterPlain<SrcUp>(registry, "esp.src.q.qup");
  RegisterPlain<SrcLoad<ByImmediate>>(registry, "esp.src.q.ld.ip");
  RegisterPlain<SrcLoad<ByRegister>>(registry, "esp.src.q.ld.xp");
  RegisterPlain<SrcStore>(registry, "esp.srcq.128.st.incp");
}

}  // namespace p4::pie
