// Calibration on an ESP32-P4 under ESP-IDF.
#include "calibrate/platform.h"

#include "boards/esp32p4/port.h"
#include "calibrate/serve.h"
#include "esp_async_memcpy.h"
#include "esp_cache.h"
#include "esp_chip_info.h"
#include "esp_cpu.h"
#include "esp_heap_caps.h"
#include "esp_partition.h"
#include "freertos/FreeRTOS.h"
#include "freertos/semphr.h"
#include "freertos/task.h"
#include "sdkconfig.h"

namespace espgen {
namespace calibrate {
namespace platform {
namespace {

constexpr uint32_t kLine = 128;
constexpr uint32_t kInternalBytes = 192 * 1024;
constexpr uint32_t kPsramBytes = 17 * 256 * 1024 + kLine;
constexpr uint32_t kStackBytes = 8192;
constexpr UBaseType_t kPriority = 5;

Region internal, psram, flash;
portMUX_TYPE undisturbed = portMUX_INITIALIZER_UNLOCKED;

// A task that runs one function when it is told to, and sleeps otherwise.
struct Worker {
  StackType_t stack[kStackBytes / sizeof(StackType_t)];
  StaticTask_t task;
  StaticSemaphore_t memory;
  SemaphoreHandle_t wanted;
  void (*volatile function)();
  volatile bool runs;

  void Create(const char* name, BaseType_t core) {
    wanted = xSemaphoreCreateBinaryStatic(&memory);
    xTaskCreateStaticPinnedToCore(Loop, name, kStackBytes, this, kPriority, stack, &task, core);
  }
  void Run(void (*what)()) {
    function = what;
    runs = true;
    xSemaphoreGive(wanted);
  }
  static void Loop(void* self) {
    Worker* const worker = static_cast<Worker*>(self);
    for (;;) {
      xSemaphoreTake(worker->wanted, portMAX_DELAY);
      worker->function();
      worker->runs = false;
    }
  }
};

Worker other_core, other_task;

async_memcpy_handle_t engine;
volatile bool copied;

bool OnCopied(async_memcpy_handle_t, async_memcpy_event_t*, void*) {
  copied = true;
  return false;
}

uint8_t* Destination() { return psram.bytes + psram.size / 2 / kLine * kLine; }

bool Begin(uint32_t length) {
  copied = false;
  return esp_async_memcpy(engine, Destination(), psram.bytes, length, OnCopied, nullptr) == ESP_OK;
}

void AwaitCopy() {
  while (!copied) {
  }
}

Region Allocate(uint32_t size, uint32_t capabilities) {
  uint8_t* const bytes = static_cast<uint8_t*>(heap_caps_aligned_alloc(kLine, size, capabilities));
  return {bytes, bytes == nullptr ? 0 : size};
}

Region MapFlash() {
  const esp_partition_t* const partition =
      esp_partition_find_first(ESP_PARTITION_TYPE_APP, ESP_PARTITION_SUBTYPE_ANY, nullptr);
  const void* mapped = nullptr;
  esp_partition_mmap_handle_t handle;
  if (partition == nullptr ||
      esp_partition_mmap(partition, 0, partition->size, ESP_PARTITION_MMAP_DATA, &mapped,
                         &handle) != ESP_OK) {
    return {};
  }
  return {const_cast<uint8_t*>(static_cast<const uint8_t*>(mapped)), partition->size};
}

}  // namespace

bool Start() {
  internal = Allocate(kInternalBytes, MALLOC_CAP_INTERNAL | MALLOC_CAP_8BIT);
  psram = Allocate(kPsramBytes, MALLOC_CAP_SPIRAM | MALLOC_CAP_8BIT);
  flash = MapFlash();
  const async_memcpy_config_t config = ASYNC_MEMCPY_DEFAULT_CONFIG();
  if (esp_async_memcpy_install(&config, &engine) != ESP_OK) engine = nullptr;
  other_core.Create("other_core", 1);
  other_task.Create("other_task", 0);
  return port::Open();
}

size_t Read(uint8_t* bytes, size_t capacity) { return port::Read(bytes, capacity); }
void Write(const void* bytes, size_t count) {
  port::Write(static_cast<const uint8_t*>(bytes), count);
}

Region Memory(char place) {
  switch (place) {
    case 'i':
      return internal;
    case 'p':
      return psram;
    case 'f':
      return flash;
    default:
      return {};
  }
}

uint32_t ClockHz() { return CONFIG_ESP_DEFAULT_CPU_FREQ_MHZ * 1000000u; }

uint32_t Revision() {
  esp_chip_info_t info;
  esp_chip_info(&info);
  return info.revision;
}

uint32_t Cycles() { return static_cast<uint32_t>(esp_cpu_get_cycle_count()); }
void Undisturbed() { portENTER_CRITICAL(&undisturbed); }
void Disturbed() { portEXIT_CRITICAL(&undisturbed); }

bool StartOther(void (*function)()) {
  other_core.Run(function);
  return true;
}
bool OtherRuns() { return other_core.runs; }

bool Copy(uint32_t length, uint32_t delay, CopyCycles& cycles) {
  if (engine == nullptr || length > psram.size / 2 - kLine) return false;
  for (int i = 0; i < 2; ++i) {  // the first one fetches the code
    const uint32_t before = Cycles();
    if (!Begin(length)) return false;
    const uint32_t begun = Cycles();
    AwaitCopy();
    cycles.start = begun - before;
    cycles.total = Cycles() - begun;
    const uint32_t over = Cycles();
    while (Cycles() - over < delay) {
    }
    const uint32_t from = Cycles();
    esp_cache_msync(Destination(), length, ESP_CACHE_MSYNC_FLAG_DIR_M2C);
    cycles.finish = Cycles() - from;
  }
  cycles.total += cycles.finish;
  return true;
}

bool CopyBegin(uint32_t length) {
  return engine != nullptr && length <= psram.size / 2 - kLine && Begin(length);
}
void CopyEnd() { AwaitCopy(); }

bool InOtherTask(void (*function)()) {
  other_task.Run(function);
  while (other_task.runs) vTaskDelay(1);
  return true;
}

void Stop() {}

}  // namespace platform
}  // namespace calibrate
}  // namespace espgen

namespace {

void Main(void*) {
  if (espgen::calibrate::platform::Start()) {
    for (;;) espgen::calibrate::Serve();
  }
  vTaskDelete(nullptr);
}

constexpr uint32_t kMainStackBytes = 8192;
StackType_t main_stack[kMainStackBytes / sizeof(StackType_t)];
StaticTask_t main_task;

}  // namespace

// The vector unit pins a task to its core: this one belongs to core 0.
extern "C" void app_main() {
  xTaskCreateStaticPinnedToCore(Main, "calibrate", kMainStackBytes, nullptr, 5, main_stack,
                                &main_task, 0);
}
