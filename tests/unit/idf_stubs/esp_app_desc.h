#pragma once
extern "C" char* esp_app_get_elf_sha256_str(void);
