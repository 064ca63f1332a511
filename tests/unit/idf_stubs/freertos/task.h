#pragma once
#include "freertos/FreeRTOS.h"
extern "C" {
TaskHandle_t xTaskCreateStaticPinnedToCore(TaskFunction_t pxTaskCode, const char* const pcName,
                                           const uint32_t ulStackDepth, void* const pvParameters,
                                           UBaseType_t uxPriority,
                                           StackType_t* const puxStackBuffer,
                                           StaticTask_t* const pxTaskBuffer,
                                           const BaseType_t xCoreID);
void vTaskDelay(const TickType_t xTicksToDelay);
void vTaskDelete(TaskHandle_t xTaskToDelete);
}
