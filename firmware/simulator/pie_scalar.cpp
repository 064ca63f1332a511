// Moves between integer registers and PIE state, scalar additions, hardware loops.
#include "pie.h"

namespace p4::pie {
namespace {

template <class T>
struct LaneToRegister {
  static void Run(Core& c, const Op* o) {
    constexpr uint32_t kLast = 16 / sizeof(T) - 1;
    const auto lane = Get<T>(c.q[o->qy] + (o->sel & kLast) * sizeof(T));
    c.x[o->rd] = static_cast<uint32_t>(static_cast<int32_t>(lane));
  }
};
template <class T>
struct RegisterToLane {
  static void Run(Core& c, const Op* o) {
    constexpr uint32_t kLast = 16 / sizeof(T) - 1;
    Put(c.q[o->qy] + (o->sel & kLast) * sizeof(T), static_cast<T>(c.x[o->rs1]));
  }
};

template <uint32_t Core::* kMember>
struct ReadState {
  static void Run(Core& c, const Op* o) { c.x[o->rd] = c.*kMember; }
};
template <uint32_t Core::* kMember, uint32_t kMask>
struct WriteState {
  static void Run(Core& c, const Op* o) { c.*kMember = c.x[o->rs1] & kMask; }
};
struct WriteCfg {
  static void Run(Core& c, const Op* o) { c.SetCfg(c.x[o->rs1]); }
};

template <int kShift, bool kSubtract>
struct ShiftedAdd {
  static void Run(Core& c, const Op* o) {
    const uint32_t b = c.x[o->rs2] << kShift;
    c.x[o->rd] = c.x[o->rs1] + (kSubtract ? 0u - b : b);
  }
};

// Loop instructions end their block: the decoder has to know the loop's end before its body.
void FinishLoopOp(Core& c, const Op* o) {
  c.pc = c.Address(o) + 4;
  c.taken = 0;
}
void SetEnd(Core& c, const Op* o, int loop) {
  c.loop_end[loop] = c.Address(o) + static_cast<uint32_t>(o->imm);
  c.loop_checked[loop] = false;
  c.machine->NoteLoopEnd(c.loop_end[loop]);
}

// sel: loop, sel2 unused, rs3 unused; counts of immediates are in qu/qv as a 16-bit number.
uint32_t ImmediateCount(const Op* o) { return o->qu | (static_cast<uint32_t>(o->qv) << 8); }

template <bool kImmediate>
void LoopSetup(Core& c, const Op* o) {
  const int loop = o->sel & 1;
  const uint32_t count = kImmediate ? ImmediateCount(o) : c.x[o->rs1];
  c.loop_start[loop] = c.Address(o) + 4;
  c.loop_count[loop] = count;
  SetEnd(c, o, loop);
  CheckLoop(c, o, loop);
  FinishLoopOp(c, o);
}
void LoopStart(Core& c, const Op* o) {
  c.loop_start[o->sel & 1] = c.Address(o) + static_cast<uint32_t>(o->imm);
  c.loop_checked[o->sel & 1] = false;
  FinishLoopOp(c, o);
}
void LoopEnd(Core& c, const Op* o) {
  SetEnd(c, o, o->sel & 1);
  FinishLoopOp(c, o);
}
template <bool kImmediate>
void LoopCount(Core& c, const Op* o) {
  c.loop_count[o->sel & 1] = kImmediate ? ImmediateCount(o) : c.x[o->rs1];
  FinishLoopOp(c, o);
}

}  // namespace

void RegisterScalar(Registry& registry) {
  RegisterPlain<LaneToRegister<int8_t>>(registry, "esp.movi.8.a");
  RegisterPlain<LaneToRegister<int16_t>>(registry, "esp.movi.16.a");
  RegisterPlain<LaneToRegister<int32_t>>(registry, "esp.movi.32.a");
  RegisterPlain<RegisterToLane<uint8_t>>(registry, "esp.movi.8.q");
  RegisterPlain<RegisterToLane<uint16_t>>(registry, "esp.movi.16.q");
  RegisterPlain<RegisterToLane<uint32_t>>(registry, "esp.movi.32.q");
  RegisterPlain<ReadState<&Core::cfg>>(registry, "esp.movx.r.cfg");
  RegisterPlain<ReadState<&Core::sar>>(registry, "esp.movx.r.sar");
  RegisterPlain<ReadState<&Core::sar_byte>>(registry, "esp.movx.r.sar.bytes");
  RegisterPlain<ReadState<&Core::fft_bit_width>>(registry, "esp.movx.r.fft.bit.width");
  RegisterPlain<ReadState<&Core::perf>>(registry, "esp.movx.r.perf");
  RegisterPlain<WriteCfg>(registry, "esp.movx.w.cfg");
  RegisterPlain<WriteState<&Core::sar, 63>>(registry, "esp.movx.w.sar");
  RegisterPlain<WriteState<&Core::sar_byte, 15>>(registry, "esp.movx.w.sar.bytes");
  RegisterPlain<WriteState<&Core::fft_bit_width, 15>>(registry, "esp.movx.w.fft.bit.width");
  RegisterPlain<WriteState<&Core::perf, ~0u>>(registry, "esp.movx.w.perf");
  RegisterPlain<ShiftedAdd<1, false>>(registry, "esp.addx2");
  RegisterPlain<ShiftedAdd<2, false>>(registry, "esp.addx4");
  RegisterPlain<ShiftedAdd<1, true>>(registry, "esp.subx2");
  RegisterPlain<ShiftedAdd<2, true>>(registry, "esp.subx4");
}

void RegisterLoops(Registry& registry) {
  registry["esp.lp.setup"] = {LoopSetup<false>, nullptr};
  registry["esp.lp.setupi"] = {LoopSetup<true>, nullptr};
  registry["esp.lp.starti"] = {LoopStart, nullptr};
  registry["esp.lp.endi"] = {LoopEnd, nullptr};
  registry["esp.lp.count"] = {LoopCount<false>, nullptr};
  registry["esp.lp.counti"] = {LoopCount<true>, nullptr};
}

}  // namespace p4::pie
