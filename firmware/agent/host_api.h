// The component as a host library: what espgen/verify/host.py calls through ctypes, and the worker
// through a pipe.
#ifndef ESPGEN_AGENT_HOST_API_H_
#define ESPGEN_AGENT_HOST_API_H_

#include <stddef.h>
#include <stdint.h>

extern "C" {

enum EspgenHostCount : uint32_t {
  kHostTensors = 0,
  kHostLayers = 1,
  kHostSteps = 2,
  kHostLayerOutputs = 3,
  kHostArenas = 4,
};

uint32_t espgen_host_abi(void);
const char* espgen_host_name(void);
const uint8_t* espgen_host_hash(void);  // 32 bytes
uint32_t espgen_host_count(uint32_t what);

// The bytes of agent/describe.h; 0 where there is no such thing or it does not fit.
size_t espgen_host_describe(uint8_t what, uint16_t index, uint8_t* out, size_t capacity);

// Fills the arenas with `value` and the guard bytes with theirs. Call before the inputs are set.
void espgen_host_prepare(uint8_t value);

// `size` packed bytes into input tensor `tensor`. 0 where done, 1 where it is no input or has
// another size.
int espgen_host_set_input(uint16_t tensor, const uint8_t* bytes, size_t size);

// Runs all steps. captures[i], where not null, receives the packed bytes of layer output i as its
// rows are made, and rows[i] how many rows were. After every step the bytes round the arenas and
// those that no buffer holds during the step are compared. 0 where done, 2 where one of them
// changed (espgen_host_failure tells which, and in which layer).
int espgen_host_run(uint8_t* const* captures, uint32_t* rows);
const char* espgen_host_failure(void);

// All packed bytes of a tensor that is wholly held. 0 where done, 1 where it is not or has another
// size.
int espgen_host_read(uint16_t tensor, uint8_t* out, size_t size);
}

#endif  // ESPGEN_AGENT_HOST_API_H_
