// The part of <string.h> the firmware uses, for compilers that come without a C library.
#ifndef ESPGEN_BOARDS_SIMULATOR_STRING_H_
#define ESPGEN_BOARDS_SIMULATOR_STRING_H_

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void* memcpy(void* to, const void* from, size_t count);
void* memmove(void* to, const void* from, size_t count);
void* memset(void* to, int value, size_t count);
int memcmp(const void* left, const void* right, size_t count);
size_t strlen(const char* text);

#ifdef __cplusplus
}
#endif

#endif  // ESPGEN_BOARDS_SIMULATOR_STRING_H_
