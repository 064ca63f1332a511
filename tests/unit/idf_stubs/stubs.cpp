// ESP-IDF on the host, as far as firmware/boards/esp32p4 uses it: tasks are threads, the UART is
// standard input and output, USB-Serial-JTAG the two file descriptors that STUB_USB names. main()
// is app_main of an application that logs from a second task while the agent answers.
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "boards/esp32p4/board.h"
#include "driver/uart.h"
#include "driver/usb_serial_jtag.h"
#include "esp_app_desc.h"
#include "esp_chip_info.h"
#include "esp_cpu.h"
#include "esp_log.h"
#include "esp_partition.h"
#include "esp_system.h"
#include "esp_timer.h"
#include "freertos/semphr.h"
#include "freertos/task.h"

namespace {

vprintf_like_t log_function = vprintf;
// Each line's driver: the application's from the start where STUB_TAKEN names it ("uart", "usb").
struct Line {
  int in, out;
  bool installed;
};
bool Taken(const char* name) {
  const char* const taken = getenv("STUB_TAKEN");
  return taken != nullptr && strcmp(taken, name) == 0;
}
Line Usb() {
  Line line = {-1, -1, Taken("usb")};
  const char* const descriptors = getenv("STUB_USB");
  if (descriptors != nullptr) sscanf(descriptors, "%d,%d", &line.in, &line.out);
  return line;
}
Line uart = {0, 1, Taken("uart")};
Line usb = Usb();
uint8_t flash[1536 * 1024];
bool mapped = false;
char sha[] = "0123abcde";

int ReadSome(const Line& line, void* buf, uint32_t length, uint32_t ticks) {
  if (!line.installed) abort();
  pollfd port = {line.in, POLLIN, 0};
  if (poll(&port, 1, static_cast<int>(ticks * 10)) <= 0) return 0;
  const ssize_t count = read(line.in, buf, length);
  if (count <= 0) exit(0);
  return static_cast<int>(count);
}

int WriteAll(const Line& line, const void* src, size_t size) {
  if (!line.installed) abort();
  const char* bytes = static_cast<const char*>(src);
  for (size_t done = 0; done < size;) {
    const ssize_t count = write(line.out, bytes + done, size - done);
    if (count <= 0) exit(0);
    done += static_cast<size_t>(count);
  }
  return static_cast<int>(size);
}

struct Start {
  TaskFunction_t function;
  void* argument;
};

void* RunTask(void* start) {
  const Start* const task = static_cast<Start*>(start);
  task->function(task->argument);
  return nullptr;
}

}  // namespace

extern "C" {

esp_err_t uart_driver_install(uart_port_t, int rx, int, int, QueueHandle_t*, int) {
  uart.installed = rx > 128;
  return uart.installed ? ESP_OK : ESP_FAIL;
}
bool uart_is_driver_installed(uart_port_t number) { return number == UART_NUM_0 && uart.installed; }
esp_err_t uart_param_config(uart_port_t, const uart_config_t* config) {
  return uart.installed && config->baud_rate == 115200 ? ESP_OK : ESP_FAIL;
}
// Like the driver's: waits until all of `length` is there or the time is up.
int uart_read_bytes(uart_port_t, void* buf, uint32_t length, TickType_t ticks) {
  uint32_t done = 0;
  while (done < length) {
    const int count = ReadSome(uart, static_cast<uint8_t*>(buf) + done, length - done, ticks);
    if (count <= 0) break;
    done += static_cast<uint32_t>(count);
  }
  return static_cast<int>(done);
}
int uart_write_bytes(uart_port_t, const void* src, size_t size) {
  return WriteAll(uart, src, size);
}
esp_err_t uart_get_buffered_data_len(uart_port_t, size_t* size) {
  pollfd port = {uart.in, POLLIN, 0};
  *size = poll(&port, 1, 0) > 0 ? 1 : 0;
  return ESP_OK;
}

esp_err_t usb_serial_jtag_driver_install(usb_serial_jtag_driver_config_t* config) {
  usb.installed = config->rx_buffer_size > 0 && config->tx_buffer_size > 0;
  return usb.installed ? ESP_OK : ESP_FAIL;
}
bool usb_serial_jtag_is_driver_installed(void) { return usb.installed; }
int usb_serial_jtag_read_bytes(void* buf, uint32_t length, uint32_t ticks) {
  return ReadSome(usb, buf, length, ticks);
}
// Takes at most 100 bytes at a time and sometimes none, as a full ring buffer does.
int usb_serial_jtag_write_bytes(const void* src, size_t size, uint32_t) {
  static int calls = 0;
  return ++calls % 5 == 0 ? 0 : WriteAll(usb, src, size < 100 ? size : 100);
}

char* esp_app_get_elf_sha256_str(void) { return sha; }
void esp_chip_info(esp_chip_info_t* out_info) { *out_info = {CHIP_ESP32P4, 0, 103, 2}; }
int64_t esp_timer_get_time(void) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<int64_t>(now.tv_sec) * 1000000 + now.tv_nsec / 1000;
}
esp_cpu_cycle_count_t esp_cpu_get_cycle_count(void) {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint32_t>(now.tv_nsec);
}
vprintf_like_t esp_log_set_vprintf(vprintf_like_t func) {
  const vprintf_like_t before = log_function;
  log_function = func;
  return before;
}
void stub_log(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  log_function(format, arguments);
  va_end(arguments);
}
const esp_partition_t* esp_partition_find_first(esp_partition_type_t type, esp_partition_subtype_t,
                                                const char*) {
  static esp_partition_t partition = {};
  partition.size = sizeof flash;
  return type == ESP_PARTITION_TYPE_APP ? &partition : nullptr;
}
esp_err_t esp_partition_mmap(const esp_partition_t*, size_t offset, size_t size,
                             esp_partition_mmap_memory_t, const void** out_ptr,
                             esp_partition_mmap_handle_t* out_handle) {
  if (mapped || offset + size > sizeof flash) return ESP_FAIL;
  mapped = true;
  *out_ptr = flash + offset;
  *out_handle = 1;
  return ESP_OK;
}
void esp_partition_munmap(esp_partition_mmap_handle_t) { mapped = false; }
void esp_restart(void) { exit(0); }

SemaphoreHandle_t xSemaphoreCreateMutexStatic(StaticSemaphore_t* memory) {
  static_assert(sizeof(pthread_mutex_t) <= sizeof memory->memory, "room for a mutex");
  pthread_mutex_init(reinterpret_cast<pthread_mutex_t*>(memory), nullptr);
  return reinterpret_cast<SemaphoreHandle_t>(memory);
}
// One core, and no interrupts: nothing to keep out.
void vPortEnterCritical(portMUX_TYPE* mux) { ++mux->count; }
void vPortExitCritical(portMUX_TYPE* mux) { --mux->count; }
BaseType_t stub_in_interrupt = 0;
BaseType_t xPortInIsrContext(void) { return stub_in_interrupt; }
BaseType_t xSemaphoreTake(SemaphoreHandle_t handle, TickType_t) {
  return pthread_mutex_lock(reinterpret_cast<pthread_mutex_t*>(handle)) == 0;
}
BaseType_t xSemaphoreGive(SemaphoreHandle_t handle) {
  return pthread_mutex_unlock(reinterpret_cast<pthread_mutex_t*>(handle)) == 0;
}
TaskHandle_t xTaskCreateStaticPinnedToCore(TaskFunction_t code, const char* const,
                                           const uint32_t depth, void* const argument, UBaseType_t,
                                           StackType_t* const stack, StaticTask_t* const,
                                           const BaseType_t core) {
  static Start start;
  if (depth < 4096 || stack == nullptr || core != 0) abort();
  start = {code, argument};
  pthread_t thread;
  if (pthread_create(&thread, nullptr, RunTask, &start) != 0) abort();
  return nullptr;
}
void vTaskDelete(TaskHandle_t) { pthread_exit(nullptr); }
}

namespace toy {
extern const espgen::Model kModel;
}

int main() {
  espgen_board_serve(toy::kModel);
  for (int i = 0;; ++i) {
    const timespec pause = {0, 1000000};
    nanosleep(&pause, nullptr);
    if (log_function != static_cast<vprintf_like_t>(vprintf)) {
      stub_log("I (%d) app: a line from another task", i);
    }
  }
}
