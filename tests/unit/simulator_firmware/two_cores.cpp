// Core 1: waking, barrier, mailbox, atomics, PIE and float on both cores.
#include "check.h"

namespace {

alignas(64) volatile uint32_t counter;
volatile uint32_t lock_word;
uint32_t guarded_sum;
volatile float halves;

void Increment(void*) {
  for (int i = 0; i < 1000; ++i) __atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
  p4sim::Barrier();
}

void LockedAdd(uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) {
    uint32_t expected = 0;
    while (!__atomic_compare_exchange_n(&lock_word, &expected, 1, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED)) {
      expected = 0;
    }
    guarded_sum = guarded_sum + 1;
    __atomic_store_n(&lock_word, 0, __ATOMIC_RELEASE);
  }
}

void Locked(void*) {
  halves = halves * 0.5f;  // the float unit is on here as well
  LockedAdd(500);
  p4sim::Barrier();
}

// Echoes words with 1 added until it gets a zero.
void Echo(void*) {
  CHECK(p4sim::CoreId() == 1);
  for (;;) {
    const uint32_t word = p4sim::MailboxReceive();
    if (word == 0) return;
    p4sim::MailboxSend(0, word + 1);
  }
}

void WaitUntilParked() {
  while (p4sim::Core1Running()) {
  }
}

}  // namespace

extern "C" int main() {
  CHECK(!p4sim::Core1Running());
  p4sim::Barrier();  // alone: no effect

  p4sim::StartCore1(Increment, nullptr);
  for (int i = 0; i < 1000; ++i) __atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
  p4sim::Barrier();
  CHECK(counter == 2000);
  WaitUntilParked();

  halves = 8.0f;
  p4sim::StartCore1(Locked, nullptr);
  LockedAdd(500);
  p4sim::Barrier();
  CHECK(guarded_sum == 1000);
  CHECK(halves == 4.0f);
  WaitUntilParked();

  p4sim::StartCore1(Echo, nullptr);
  for (uint32_t i = 1; i <= 20; ++i) {
    p4sim::MailboxSend(1, i);
    CHECK(p4sim::MailboxReceive() == i + 1);
  }
  p4sim::MailboxSend(1, 0);
  WaitUntilParked();

  // A barrier takes both cores to the later one's time plus 100 cycles.
  p4sim::StartCore1([](void*) { p4sim::Barrier(); }, nullptr);
  for (int i = 0; i < 3000; ++i) asm volatile("nop");
  const uint64_t before = p4sim::Cycles();
  p4sim::Barrier();
  const uint64_t waited = p4sim::Cycles() - before;
  CHECK(waited >= 100 && waited < 130);
  return 0;
}
