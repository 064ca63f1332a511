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

// The address is the base plus a 16-bit lane of qw, in words; the base register keeps it.
struct LoadIndexed {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1] + 4u * Get<uint16_t>(c.q[o->qw] + 2 * (o->sel2 & 7));
    Put(c.q[o->qu] + 4 * (o->sel & 3), Load<uint32_t>(c, o, address & ~3u));
    c.x[o->rs1] = address;
  }
};
struct StoreIndexed {
  static void Run(Core& c, const Op* o) {
    const uint32_t address = c.x[o->rs1] + 4u * Get<uint16_t>(c.q[o->qw] + 2 * (o->sel2 & 7));
    Store<uint32_t>(c, o, address & ~3u, Get<uint32_t>(c.q[o->qu] + 4 * (o->sel & 3)));
    c.x[o->rs1] = address;
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
void RegisterSteps(Registry& registry, const std::string& name, uint32_t use) {
  RegisterPlain<Operation<ByImmediate>>(registry, name + ".ip", use | kReadsRs1);
  RegisterPlain<Operation<ByRegister>>(registry, name + ".xp", use | kReadsRs1 | kReadsRs2);
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
  registry["esp.vld.128.ip"] = {ExecuteFused<Nothing, FusedLoad<ByImmediate>>,
                                kReadsRs1 | kLoadsQu};
  registry["esp.vld.128.xp"] = {ExecuteFused<Nothing, FusedLoad<ByRegister>>,
                                kReadsRs1 | kReadsRs2 | kLoadsQu};
  registry["esp.vst.128.ip"] = {ExecuteFused<Nothing, FusedStore<ByImmediate>>,
                                kReadsRs1 | kReadsQu};
  registry["esp.vst.128.xp"] = {ExecuteFused<Nothing, FusedStore<ByRegister>>,
                                kReadsRs1 | kReadsRs2 | kReadsQu};
  RegisterSteps<LoadUsar>(registry, "esp.ld.128.usar", kLoadsQu);
  RegisterSteps<LoadLow>(registry, "esp.vld.l.64", kLoadsQu);
  RegisterSteps<LoadHigh>(registry, "esp.vld.h.64", kLoadsQu);
  RegisterSteps<StoreLow>(registry, "esp.vst.l.64", kReadsQu);
  RegisterSteps<StoreHigh>(registry, "esp.vst.h.64", kReadsQu);
  RegisterSteps<Broadcast8>(registry, "esp.vldbc.8", kLoadsQu);
  RegisterSteps<Broadcast16>(registry, "esp.vldbc.16", kLoadsQu);
  RegisterSteps<Broadcast32>(registry, "esp.vldbc.32", kLoadsQu);
  RegisterSteps<WidenS8>(registry, "esp.vldext.s8", kLoadsQu | kLoadsQz);
  RegisterSteps<WidenU8>(registry, "esp.vldext.u8", kLoadsQu | kLoadsQz);
  RegisterSteps<WidenS16>(registry, "esp.vldext.s16", kLoadsQu | kLoadsQz);
  RegisterSteps<WidenU16>(registry, "esp.vldext.u16", kLoadsQu | kLoadsQz);
  RegisterPlain<BroadcastPairs>(registry, "esp.vldhbc.16.incp", kReadsRs1 | kLoadsQu | kLoadsQz);
  RegisterPlain<LoadIndexed>(registry, "esp.ldxq.32", kReadsRs1 | kReadsQw | kLoadsQu);
  RegisterPlain<StoreIndexed>(registry, "esp.stxq.32", kReadsRs1 | kReadsQw | kReadsQu);
  RegisterPlain<LoadUaState>(registry, "esp.ld.ua.state.ip", kReadsRs1);
  RegisterPlain<StoreUaState>(registry, "esp.st.ua.state.ip", kReadsRs1);
}

}  // namespace p4::pie
