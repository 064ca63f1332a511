#pragma once
#include "esp_err.h"
#include "freertos/FreeRTOS.h"
typedef enum { UART_NUM_0, UART_NUM_1 } uart_port_t;
typedef enum { UART_DATA_7_BITS = 2, UART_DATA_8_BITS = 3 } uart_word_length_t;
typedef enum { UART_STOP_BITS_1 = 1, UART_STOP_BITS_2 = 3 } uart_stop_bits_t;
typedef enum { UART_PARITY_DISABLE = 0, UART_PARITY_EVEN = 2 } uart_parity_t;
typedef enum { UART_HW_FLOWCTRL_DISABLE = 0, UART_HW_FLOWCTRL_RTS = 1 } uart_hw_flowcontrol_t;
typedef enum { UART_SCLK_XTAL, UART_SCLK_PLL_F80M, UART_SCLK_DEFAULT = UART_SCLK_PLL_F80M } uart_sclk_t;
typedef enum { LP_UART_SCLK_DEFAULT } lp_uart_sclk_t;
typedef struct {
  int baud_rate;
  uart_word_length_t data_bits;
  uart_parity_t parity;
  uart_stop_bits_t stop_bits;
  uart_hw_flowcontrol_t flow_ctrl;
  uint8_t rx_flow_ctrl_thresh;
  uint32_t rx_glitch_filt_thresh;
  union {
    uart_sclk_t source_clk;
    lp_uart_sclk_t lp_source_clk;
  };
  struct {
    uint32_t allow_pd : 1;
    uint32_t backup_before_sleep : 1;
  } flags;
} uart_config_t;
extern "C" {
bool uart_is_driver_installed(uart_port_t uart_num);
esp_err_t uart_driver_install(uart_port_t uart_num, int rx_buffer_size, int tx_buffer_size,
                              int queue_size, QueueHandle_t* uart_queue, int intr_alloc_flags);
esp_err_t uart_param_config(uart_port_t uart_num, const uart_config_t* uart_config);
int uart_read_bytes(uart_port_t uart_num, void* buf, uint32_t length, TickType_t ticks_to_wait);
int uart_write_bytes(uart_port_t uart_num, const void* src, size_t size);
esp_err_t uart_get_buffered_data_len(uart_port_t uart_num, size_t* size);
}
