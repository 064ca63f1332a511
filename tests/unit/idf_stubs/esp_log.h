#pragma once
#include <stdarg.h>
typedef int (*vprintf_like_t)(const char*, va_list);
extern "C" vprintf_like_t esp_log_set_vprintf(vprintf_like_t func);
extern "C" void stub_log(const char* format, ...);
#define ESP_LOGE(tag, format, ...) stub_log("E %s: " format "\n", tag __VA_OPT__(, ) __VA_ARGS__)
