// host_api.h behind a pipe, for builds with sanitizers: a crash ends the worker, not the process
// that asked.
//
// Requests on standard input and answers on standard output; numbers are u32 little-endian, a text
// is its length and its bytes.
// clang-format off
//   'C' what                      count
//   'H'                           abi, hash, name
//   'D' what index                size, bytes
//   'P' value                     0
//   'I' tensor size bytes         status
//   'R' capture                   status, then if 0: per layer output, where captured: size, rows, bytes
//   'O' tensor size               status, then if 0: bytes
//   'F'                           text
// clang-format on
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boards/served_model.h"
#include "host_api.h"
#include "tensors.h"

namespace {

void Receive(void* bytes, size_t count) {
  if (fread(bytes, 1, count, stdin) != count) exit(0);
}

uint32_t ReceiveNumber() {
  uint8_t bytes[4];
  Receive(bytes, sizeof bytes);
  return static_cast<uint32_t>(bytes[0]) | static_cast<uint32_t>(bytes[1]) << 8 |
         static_cast<uint32_t>(bytes[2]) << 16 | static_cast<uint32_t>(bytes[3]) << 24;
}

void Send(const void* bytes, size_t count) { fwrite(bytes, 1, count, stdout); }

void SendNumber(size_t value) {
  const uint8_t bytes[4] = {static_cast<uint8_t>(value), static_cast<uint8_t>(value >> 8),
                            static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 24)};
  Send(bytes, sizeof bytes);
}

void SendText(const char* text) {
  SendNumber(strlen(text));
  Send(text, strlen(text));
}

uint8_t* Allocate(size_t size) {
  void* const bytes = malloc(size + 1);
  if (bytes == nullptr) abort();
  return static_cast<uint8_t*>(bytes);
}

const espgen::Tensor& LayerOutput(uint32_t at) {
  const espgen::Model& model = espgen::ServedModel();
  return model.tensors[model.layer_outputs[at]];
}

void Describe() {
  const uint32_t what = ReceiveNumber();
  const uint32_t index = ReceiveNumber();
  uint8_t description[4096];
  const size_t size = espgen_host_describe(static_cast<uint8_t>(what), static_cast<uint16_t>(index),
                                           description, sizeof description);
  SendNumber(size);
  Send(description, size);
}

void SetInput() {
  const uint32_t tensor = ReceiveNumber();
  const uint32_t size = ReceiveNumber();
  uint8_t* const bytes = Allocate(size);
  Receive(bytes, size);
  SendNumber(
      static_cast<size_t>(espgen_host_set_input(static_cast<uint16_t>(tensor), bytes, size)));
  free(bytes);
}

void Run() {
  const bool capture = ReceiveNumber() != 0;
  const uint32_t outputs = capture ? espgen_host_count(kHostLayerOutputs) : 0;
  uint8_t** const captures = static_cast<uint8_t**>(calloc(outputs + 1, sizeof(uint8_t*)));
  uint32_t* const rows = static_cast<uint32_t*>(calloc(outputs + 1, sizeof(uint32_t)));
  if (captures == nullptr || rows == nullptr) abort();
  for (uint32_t i = 0; i < outputs; ++i) {
    captures[i] = Allocate(espgen::agent::TotalBytes(LayerOutput(i)));
  }
  const int status = espgen_host_run(capture ? captures : nullptr, rows);
  SendNumber(static_cast<size_t>(status));
  for (uint32_t i = 0; i < outputs; ++i) {
    const size_t size = espgen::agent::TotalBytes(LayerOutput(i));
    if (status == 0) {
      SendNumber(size);
      SendNumber(rows[i]);
      Send(captures[i], size);
    }
    free(captures[i]);
  }
  free(captures);
  free(rows);
}

void Read() {
  const uint32_t tensor = ReceiveNumber();
  const uint32_t size = ReceiveNumber();
  uint8_t* const bytes = Allocate(size);
  const int status = espgen_host_read(static_cast<uint16_t>(tensor), bytes, size);
  SendNumber(static_cast<size_t>(status));
  if (status == 0) Send(bytes, size);
  free(bytes);
}

}  // namespace

int main() {
  for (;;) {
    uint8_t command;
    Receive(&command, 1);
    switch (command) {
      case 'C':
        SendNumber(espgen_host_count(ReceiveNumber()));
        break;
      case 'H':
        SendNumber(espgen_host_abi());
        Send(espgen_host_hash(), espgen::kHashBytes);
        SendText(espgen_host_name());
        break;
      case 'D':
        Describe();
        break;
      case 'P':
        espgen_host_prepare(static_cast<uint8_t>(ReceiveNumber()));
        SendNumber(0);
        break;
      case 'I':
        SetInput();
        break;
      case 'R':
        Run();
        break;
      case 'O':
        Read();
        break;
      case 'F':
        SendText(espgen_host_failure());
        break;
      default:
        return 1;
    }
    fflush(stdout);
  }
}
