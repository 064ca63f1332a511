#pragma once
extern "C" [[noreturn]] void esp_restart(void);
