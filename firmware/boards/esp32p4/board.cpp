// The agent's board on an ESP32-P4: counters, caches, log lines in frames, and the task it runs in.
#include "board.h"

#include <stdarg.h>
#include <stdio.h>

#include "agent/agent.h"
#include "agent/board.h"
#include "agent/framing.h"
#include "agent/protocol.h"
#include "esp_app_desc.h"
#include "esp_chip_info.h"
#include "esp_cpu.h"
#include "esp_log.h"
#include "esp_partition.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#include "port.h"
#include "sdkconfig.h"

namespace espgen {
namespace board {
namespace {

constexpr uint32_t kStackBytes = 16384;
constexpr UBaseType_t kPriority = 5;
constexpr BaseType_t kCore = 0;
// More than the largest L2 cache holds, so that reading it leaves nothing else there.
constexpr uint32_t kEvictBytes = 1024 * 1024;
constexpr uint32_t kLineBytes = 64;

StackType_t stack[kStackBytes / sizeof(StackType_t)];
StaticTask_t task;
StaticSemaphore_t port_lock_memory;
SemaphoreHandle_t port_lock;
SemaphoreHandle_t log_lock;
StaticSemaphore_t log_lock_memory;

// Every log line goes out as a frame of its own. Session and sequence number are zero: it answers
// nothing.
int LogInFrame(const char* format, va_list arguments) {
  static char text[256];
  static uint8_t wire[sizeof text + sizeof text / 254 + agent::kHeaderBytes + agent::kCrcBytes + 8];
  xSemaphoreTake(log_lock, portMAX_DELAY);
  const int wanted = vsnprintf(text, sizeof text, format, arguments);
  size_t length = wanted < 0 ? 0 : static_cast<size_t>(wanted);
  if (length >= sizeof text) length = sizeof text - 1;
  const agent::Frame frame = {agent::kLog, 0, 0, reinterpret_cast<const uint8_t*>(text), length};
  Write(wire, agent::EncodeFrame(frame, wire));
  xSemaphoreGive(log_lock);
  return wanted;
}

void Serve(void* model) {
  if (!port::Open()) {
    ESP_LOGE("espgen", "neither USB-Serial-JTAG nor the UART can be taken over");
    vTaskDelete(nullptr);
    return;
  }
  esp_log_set_vprintf(LogInFrame);
  espgen_agent_main(*static_cast<const Model*>(model));
}

}  // namespace

size_t Read(uint8_t* bytes, size_t capacity) { return port::Read(bytes, capacity); }

// One frame at a time, whichever task sends it.
void Write(const uint8_t* bytes, size_t count) {
  xSemaphoreTake(port_lock, portMAX_DELAY);
  port::Write(bytes, count);
  xSemaphoreGive(port_lock);
}

Counters ReadCounters() { return {static_cast<uint32_t>(esp_cpu_get_cycle_count()), 0, 0}; }
uint8_t AvailableCounters() { return agent::kHasCycles; }
uint32_t Milliseconds() { return static_cast<uint32_t>(esp_timer_get_time() / 1000); }
const char* Target() { return CONFIG_IDF_TARGET; }
const char* BuildId() { return esp_app_get_elf_sha256_str(); }
uint32_t ClockHz() { return CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ * 1000000u; }

uint32_t Revision() {
  esp_chip_info_t info;
  esp_chip_info(&info);
  return info.revision;
}

// Reads as much of the application's flash as pushes everything else out of both caches.
bool EmptyCaches() {
  const esp_partition_t* const partition =
      esp_partition_find_first(ESP_PARTITION_TYPE_APP, ESP_PARTITION_SUBTYPE_ANY, nullptr);
  if (partition == nullptr || partition->size < kEvictBytes) return false;
  const void* mapped = nullptr;
  esp_partition_mmap_handle_t handle;
  if (esp_partition_mmap(partition, 0, kEvictBytes, ESP_PARTITION_MMAP_DATA, &mapped, &handle) !=
      ESP_OK) {
    return false;
  }
  const volatile uint8_t* const bytes = static_cast<const volatile uint8_t*>(mapped);
  for (uint32_t at = 0; at < kEvictBytes; at += kLineBytes) static_cast<void>(bytes[at]);
  esp_partition_munmap(handle);
  return true;
}

void Restart() { esp_restart(); }

}  // namespace board
}  // namespace espgen

void espgen_board_serve(const espgen::Model& model) {
  namespace board = espgen::board;
  board::port_lock = xSemaphoreCreateMutexStatic(&board::port_lock_memory);
  board::log_lock = xSemaphoreCreateMutexStatic(&board::log_lock_memory);
  xTaskCreateStaticPinnedToCore(board::Serve, "espgen_agent", board::kStackBytes,
                                const_cast<espgen::Model*>(&model), board::kPriority, board::stack,
                                &board::task, board::kCore);
}
