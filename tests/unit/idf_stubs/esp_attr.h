#pragma once
#define DRAM_ATTR __attribute__((section(".dram1")))
#define IRAM_ATTR __attribute__((section(".iram1")))
#define EXT_RAM_BSS_ATTR __attribute__((section(".ext_ram.bss")))
