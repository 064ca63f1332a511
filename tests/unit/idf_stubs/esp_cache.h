#pragma once
#include "esp_err.h"
#define ESP_CACHE_MSYNC_FLAG_DIR_M2C (1 << 3)
extern "C" esp_err_t esp_cache_msync(void* addr, size_t size, int flags);
