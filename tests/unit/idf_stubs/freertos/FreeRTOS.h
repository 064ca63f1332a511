#pragma once
#include <stdint.h>
typedef uint32_t TickType_t;
typedef int BaseType_t;
typedef unsigned int UBaseType_t;
typedef uint8_t StackType_t;
typedef void (*TaskFunction_t)(void*);
typedef struct tskTaskControlBlock* TaskHandle_t;
typedef struct QueueDefinition* QueueHandle_t;
typedef QueueHandle_t SemaphoreHandle_t;
typedef struct {
  uint8_t memory[352];
} StaticTask_t;
typedef struct {
  alignas(8) uint8_t memory[96];
} StaticSemaphore_t;
typedef struct {
  uint32_t owner, count;
} portMUX_TYPE;
#define portMUX_INITIALIZER_UNLOCKED {0xB33FFFFFu, 0}
extern "C" {
void vPortEnterCritical(portMUX_TYPE* mux);
void vPortExitCritical(portMUX_TYPE* mux);
BaseType_t xPortInIsrContext(void);
extern BaseType_t stub_in_interrupt;  // what the former says
}
#define portENTER_CRITICAL(mux) vPortEnterCritical(mux)
#define portEXIT_CRITICAL(mux) vPortExitCritical(mux)
#define portMAX_DELAY ((TickType_t)0xffffffffUL)
#define configTICK_RATE_HZ 100
#define pdMS_TO_TICKS(milliseconds) \
  ((TickType_t)(((uint64_t)(milliseconds) * (uint64_t)configTICK_RATE_HZ) / (uint64_t)1000U))
