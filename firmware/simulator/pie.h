// PIE semantics are organised by family; every family registers its handlers by mnemonic.
#pragma once

#include <limits>
#include <string>
#include <type_traits>
#include <unordered_map>

#include "machine.h"

namespace p4::pie {

// What executes an instruction; `wrapping` where `trunc` has a handler of its own.
struct Entry {
  Handler handler = nullptr;
  Handler wrapping = nullptr;
};
using Registry = std::unordered_map<std::string, Entry>;

// Op::rs3 of a vector instruction: what is done with bits that do not fit, and the rounding mode
// (7: the one in CFG). At level 2.1 the instruction implies both.
constexpr uint8_t kSaturates = 8, kRoundingBits = 7, kRoundingOfCfg = 7;
inline bool Saturates(const Op* o) { return (o->rs3 & kSaturates) != 0; }

void RegisterMac(Registry& registry);
void RegisterArithmetic(Registry& registry);
void RegisterMultiply(Registry& registry);
void RegisterCompare(Registry& registry);
void RegisterMemory(Registry& registry);
void RegisterLayout(Registry& registry);
void RegisterAccumulator(Registry& registry);
void RegisterScalar(Registry& registry);
void RegisterLoops(Registry& registry);

// Vector of kBytes bytes with lanes of type T.
template <class T, int kBytes>
struct VectorOf {
  typedef T type __attribute__((vector_size(kBytes)));
};
template <class T, int kBytes = 16>
using Vec = typename VectorOf<T, kBytes>::type;
using Bytes = Vec<uint8_t>;

template <class V>
inline V Get(const uint8_t* from) {
  V value;
  memcpy(&value, from, sizeof(V));
  return value;
}
template <class V>
inline void Put(uint8_t* to, V value) {
  memcpy(to, &value, sizeof(V));
}

// Lanes as plain arrays, for loops.
template <class T>
struct Lanes {
  static constexpr int kCount = 16 / static_cast<int>(sizeof(T));
  T lane[kCount];
  explicit Lanes(const uint8_t* from) { memcpy(lane, from, 16); }
  Lanes() = default;
  void Store(uint8_t* to) const { memcpy(to, lane, 16); }
};

template <class T>
inline T Saturate(int64_t value) {
  constexpr int64_t low = std::numeric_limits<T>::min();
  constexpr int64_t high = std::numeric_limits<T>::max();
  return static_cast<T>(value < low ? low : value > high ? high : value);
}

// What a lane keeps of a value: the nearest that fits, or its low bits.
template <class T>
inline T Narrow(int64_t value, bool saturate) {
  return saturate ? Saturate<T>(value) : static_cast<T>(value);
}

template <class T>
constexpr const char* TypeName() {
  if (std::is_same_v<T, int8_t>) return "s8";
  if (std::is_same_v<T, int16_t>) return "s16";
  if (std::is_same_v<T, int32_t>) return "s32";
  if (std::is_same_v<T, uint8_t>) return "u8";
  if (std::is_same_v<T, uint16_t>) return "u16";
  return "u32";
}

// Post-increments of base registers.
struct ByImmediate {
  static uint32_t Step(const Core&, const Op* o) { return static_cast<uint32_t>(o->imm); }
};
struct ByRegister {
  static uint32_t Step(const Core& c, const Op* o) { return c.x[o->rs2]; }
};
struct By16 {
  static uint32_t Step(const Core&, const Op*) { return 16; }
};

inline Bytes Load128(Core& c, const Op* o, uint32_t address) {
  return Load<Bytes>(c, o, address & c.load_mask);
}
inline void Store128(Core& c, const Op* o, uint32_t address, Bytes value) {
  Store<Bytes>(c, o, address & c.store_mask, value);
}

// A fused access is prepared by its fast way, which may decline, or by its slow way. Loads take
// their value before the operation runs and write qu after it; stores write the old qu.
template <class Step>
struct FusedLoad {
  using Value = Bytes;
  static const uint8_t* Host(const Core& c, const Op* o) {
    return FastLoad<Bytes>(c, c.x[o->rs1] & c.load_mask);
  }
  static Value Fast(const uint8_t* host, Core&, const Op*) { return Get<Bytes>(host); }
  static Value Slow(Core& c, const Op* o) {
    return SlowLoadValue<Bytes>(c, o, c.x[o->rs1] & c.load_mask);
  }
  static void Finish(Core& c, const Op* o, Value value) {
    c.x[o->rs1] += Step::Step(c, o);
    Put(c.q[o->qu], value);
  }
};

template <class Step>
struct FusedStore {
  struct Value {};
  static uint8_t* Host(const Core& c, const Op* o) {
    return FastStore<Bytes>(c, c.x[o->rs1] & c.store_mask);
  }
  static Value Fast(uint8_t* host, Core& c, const Op* o) {
    memcpy(host, c.q[o->qu], 16);
    return {};
  }
  static Value Slow(Core& c, const Op* o) {
    SlowStoreValue<Bytes>(c, o, c.x[o->rs1] & c.store_mask, Get<Bytes>(c.q[o->qu]));
    return {};
  }
  static void Finish(Core& c, const Op* o, Value) { c.x[o->rs1] += Step::Step(c, o); }
};

template <class T>
struct FusedBroadcast {
  using Value = T;
  static uint32_t Address(const Core& c, const Op* o) {
    return c.x[o->rs1] & ~static_cast<uint32_t>(sizeof(T) - 1);
  }
  static const uint8_t* Host(const Core& c, const Op* o) { return FastLoad<T>(c, Address(c, o)); }
  static Value Fast(const uint8_t* host, Core&, const Op*) { return Get<T>(host); }
  static Value Slow(Core& c, const Op* o) { return SlowLoadValue<T>(c, o, Address(c, o)); }
  static void Finish(Core& c, const Op* o, Value value) {
    c.x[o->rs1] += static_cast<uint32_t>(sizeof(T));
    Put(c.q[o->qu], Vec<T>{} + value);
  }
};

template <class Operation>
void Execute(Core& c, const Op* o) {
  Operation::Run(c, o);
  return (o[1].handler)(c, o + 1);
}

template <class Operation, class Memory>
void ExecuteSlow(Core& c, const Op* o) __attribute__((noinline));
template <class Operation, class Memory>
void ExecuteSlow(Core& c, const Op* o) {
  const auto value = Memory::Slow(c, o);
  Operation::Run(c, o);
  Memory::Finish(c, o, value);
  return (o[1].handler)(c, o + 1);
}

template <class Operation, class Memory>
void ExecuteFused(Core& c, const Op* o) {
  auto* host = Memory::Host(c, o);
  if (host == nullptr) return ExecuteSlow<Operation, Memory>(c, o);
  const auto value = Memory::Fast(host, c, o);
  Operation::Run(c, o);
  Memory::Finish(c, o, value);
  return (o[1].handler)(c, o + 1);
}

struct Nothing {
  static void Run(Core&, const Op*) {}
};

// Registers `name` and its .ld.incp and .st.incp variants.
template <class Operation, class Wrapping = Operation>
void RegisterIncp(Registry& registry, const std::string& name) {
  using Load = FusedLoad<By16>;
  using Store = FusedStore<By16>;
  registry[name] = {Execute<Operation>, Execute<Wrapping>};
  registry[name + ".ld.incp"] = {ExecuteFused<Operation, Load>, ExecuteFused<Wrapping, Load>};
  registry[name + ".st.incp"] = {ExecuteFused<Operation, Store>, ExecuteFused<Wrapping, Store>};
}

template <class Operation, class Wrapping = Operation>
void RegisterPlain(Registry& registry, const std::string& name) {
  registry[name] = {Execute<Operation>, Execute<Wrapping>};
}

}  // namespace p4::pie
