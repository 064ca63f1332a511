// Vector loads and stores.
#include "pie.h"

namespace p4::pie {
namespace {

// Keeps the byte offset for src.q; always the aligned address, whatever CFG says.
template <class Step>
struct LoadUsar {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1];
    const uint32_t next = address + Step::Step(c, o);
    Put(c.q[o->qu], Load<Bytes>(c, o, address & ~15u));
    c.sar_byte = address & 15;
    c.x[o->rs1] = next;
  }
};

template <int kHalf, class Step>
struct LoadHalf {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1];
    const uint32_t next = address + Step::Step(c, o);
    Put(c.q[o->qu] + 8 * kHalf, Load<uint64_t>(c, o, address & c.load64_mask));
    c.x[o->rs1] = next;
  }
};
template <int kHalf, class Step>
struct StoreHalf {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1];
    const uint32_t next = address + Step::Step(c, o);
    Store<uint64_t>(c, o, address & c.store64_mask, Get<uint64_t>(c.q[o->qu] + 8 * kHalf));
    c.x[o->rs1] = next;
  }
};

template <class T, class Step>
struct Broadcast {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1];
    const uint32_t next = address + Step::Step(c, o);
    const T lane = Load<T>(c, o, address & ~static_cast<uint32_t>(sizeof(T) - 1));
    Put(c.q[o->qu], Vec<T>{} + lane);
    c.x[o->rs1] = next;
  }
};

// 16-bit lanes of 8 bytes, each twice: the low half of the source to qu, the high half to qz.
struct BroadcastPairs {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1];
    Put(c.scratch, Load128(c, o, address));
    const Lanes<uint16_t> v(c.scratch);
    Lanes<uint16_t> low, high;
    for (int i = 0; i < 8; ++i) {
      low.lane[i] = v.lane[i / 2];
      high.lane[i] = v.lane[4 + i / 2];
    }
    low.Store(c.q[o->qu]);
    high.Store(c.q[o->qz]);
    c.x[o->rs1] = address + 16;
  }
};

template <class T, class Step>
struct LoadWidened {
  static void Run(Core& c, const Op* o) {
    using Wide = std::conditional_t<sizeof(T) == 1,
                                    std::conditional_t<std::is_signed_v<T>, int16_t, uint16_t>,
                                    std::conditional_t<std::is_signed_v<T>, int32_t, uint32_t>>;
    const uint32_t address = c.x[o->rs1];
    const uint32_t next = address + Step::Step(c, o);
    const auto lanes = (Vec<T>)Load128(c, o, address);
    uint8_t wide[32];
    Put(wide, __builtin_convertvector(lanes, Vec<Wide, 32>));
    memcpy(c.q[o->qu], wide, 16);
    memcpy(c.q[o->qz], wide + 16, 16);
    c.x[o->rs1] = next;
  }
};

// The address is the base plus a 16-bit lane of qw, in words; the base register keeps its value.
struct LoadIndexed {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1] + 4u * Get<uint16_t>(c.q[o->qw] + 2 * (o->sel2 & 7));
    Put(c.q[o->qu] + 4 * (o->sel & 3), Load<uint32_t>(c, o, address & ~3u));
  }
};
struct StoreIndexed {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1] + 4u * Get<uint16_t>(c.q[o->qw] + 2 * (o->sel2 & 7));
    Store<uint32_t>(c, o, address & ~3u, Get<uint32_t>(c.q[o->qu] + 4 * (o->sel & 3)));
  }
};

struct LoadUaState {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1];
    Put(c.ua_state, Load128(c, o, address));
    c.x[o->rs1] = address + static_cast<uint32_t>(o->imm);
  }
};
struct StoreUaState {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1];
    Store128(c, o, address, Get<Bytes>(c.ua_state));
    c.x[o->rs1] = address + static_cast<uint32_t>(o->imm);
  }
};

template <template <class> class Operation>
void RegisterSteps(Registry& registry, const std::string& name) {
  RegisterPlain<Operation<ByImmediate>>(registry, name + ".ip");
  RegisterPlain<Operation<ByRegister>>(registry, name + ".xp");
}

template <class Step>
using LoadLow = LoadHalf<0, Step>;
template <class Step>
using LoadHigh = LoadHalf<1, Step>;
template <class Step>
using StoreLow = StoreHalf<0, Step>;
template <class Step>
using StoreHigh = StoreHalf<1, Step>;
template <class Step>
using Broadcast8 = Broadcast<uint8_t, Step>;
template <class Step>
using Broadcast16 = Broadcast<uint16_t, Step>;
template <class Step>
using Broadcast32 = Broadcast<uint32_t, Step>;
template <class Step>
using WidenS8 = LoadWidened<int8_t, Step>;
template <class Step>
using WidenU8 = LoadWidened<uint8_t, Step>;
template <class Step>
using WidenS16 = LoadWidened<int16_t, Step>;
template <class Step>
using WidenU16 = LoadWidened<uint16_t, Step>;

}  // namespace

void RegisterMemory(Registry& registry) {
  registry["esp.vld.128.ip"] = {ExecuteFused<Nothing, FusedLoad<ByImmediate>>, nullptr};
  registry["esp.vld.128.xp"] = {ExecuteFused<Nothing, FusedLoad<ByRegister>>, nullptr};
  registry["esp.vst.128.ip"] = {ExecuteFused<Nothing, FusedStore<ByImmediate>>, nullptr};
  registry["esp.vst.128.xp"] = {ExecuteFused<Nothing, FusedStore<ByRegister>>, nullptr};
  RegisterSteps<LoadUsar>(registry, "esp.ld.128.usar");
  RegisterSteps<LoadLow>(registry, "esp.vld.l.64");
  RegisterSteps<LoadHigh>(registry, "esp.vld.h.64");
  RegisterSteps<StoreLow>(registry, "esp.vst.l.64");
  RegisterSteps<StoreHigh>(registry, "esp.vst.h.64");
  RegisterSteps<Broadcast8>(registry, "esp.vldbc.8");
  RegisterSteps<Broadcast16>(registry, "esp.vldbc.16");
  RegisterSteps<Broadcast32>(registry, "esp.vldbc.32");
  RegisterSteps<WidenS8>(registry, "esp.vldext.s8");
  RegisterSteps<WidenU8>(registry, "esp.vldext.u8");
  RegisterSteps<WidenS16>(registry, "esp.vldext.s16");
  RegisterSteps<WidenU16>(registry, "esp.vldext.u16");
  RegisterPlain<BroadcastPairs>(registry, "esp.vldhbc.16.incp");
  RegisterPlain<LoadIndexed>(registry, "esp.ldxq.32");
  RegisterPlain<StoreIndexed>(registry, "esp.stxq.32");
  RegisterPlain<LoadUaState>(registry, "esp.ld.ua.state.ip");
  RegisterPlain<StoreUaState>(registry, "esp.st.ua.state.ip");
}

}  // namespace p4::pie
