// A component written by hand, with what makes tensors awkward: a ring of rows, pixels with a gap
// between them, a layer of two outputs with different element types, constants in a binary of their
// own.
#include "espgen/model.h"

extern "C" const int8_t toy_weights[3];

namespace {

constexpr uint32_t kRows = 8, kPixels = 5, kChannels = 3;
constexpr uint32_t kPitch = 8, kRingRows = 3, kRingPitch = 48;
constexpr uint32_t kRowBytes = kPixels * kChannels;

}  // namespace

ESPGEN_ARENA(toy_internal, 528, ESPGEN_IN_INTERNAL);
ESPGEN_ARENA(toy_psram, 256, ESPGEN_IN_PSRAM);

namespace {

const espgen::Arena kArenas[] = {ESPGEN_ARENA_ENTRY(toy_internal, 528),
                                 ESPGEN_ARENA_ENTRY(toy_psram, 256)};

// Ring, difference, wide; input until its last reader, high.
const espgen::LiveBuffer kBuffers[] = {{0, 0, 144, 0, 7},
                                       {0, 160, 120, 1, 8},
                                       {0, 288, 240, 8, 8},
                                       {1, 0, 120, 0, 6},
                                       {1, 128, 120, 8, 8}};

uint8_t* const kInput = ESPGEN_AT(toy_psram, 0);
uint8_t* const kRing = ESPGEN_AT(toy_internal, 0);
uint8_t* const kDifference = ESPGEN_AT(toy_internal, 160);
uint8_t* const kWide = ESPGEN_AT(toy_internal, 288);
uint8_t* const kHigh = ESPGEN_AT(toy_psram, 128);

// doubled = saturate(2 * x + weight[channel])
void Double(uint32_t begin, uint32_t end) {
  for (uint32_t row = begin; row < end; ++row) {
    for (uint32_t pixel = 0; pixel < kPixels; ++pixel) {
      for (uint32_t channel = 0; channel < kChannels; ++channel) {
        const uint8_t byte = kInput[row * kRowBytes + pixel * kChannels + channel];
        int32_t value = 2 * static_cast<int8_t>(byte) + toy_weights[channel];
        value = value > 127 ? 127 : value < -128 ? -128 : value;
        kRing[(row % kRingRows) * kRingPitch + pixel * kPitch + channel] =
            static_cast<uint8_t>(value);
      }
    }
  }
}

// difference = doubled[row] xor doubled[row - 1]
void Difference(uint32_t begin, uint32_t end) {
  for (uint32_t row = begin; row < end; ++row) {
    const uint8_t* const here = kRing + (row % kRingRows) * kRingPitch;
    const uint8_t* const above = kRing + ((row == 0 ? 0 : row - 1) % kRingRows) * kRingPitch;
    for (uint32_t pixel = 0; pixel < kPixels; ++pixel) {
      for (uint32_t channel = 0; channel < kChannels; ++channel) {
        const uint32_t at = pixel * kPitch + channel;
        kDifference[row * kRowBytes + pixel * kChannels + channel] =
            static_cast<uint8_t>(here[at] ^ above[at]);
      }
    }
  }
}

// wide = 300 * difference as int16, high = (difference >> 4) + 8 as uint8
void Spread(uint32_t, uint32_t) {
  for (uint32_t i = 0; i < kRows * kRowBytes; ++i) {
    const int32_t value = static_cast<int8_t>(kDifference[i]);
    const uint32_t wide = static_cast<uint32_t>(300 * value);
    kWide[2 * i] = static_cast<uint8_t>(wide);
    kWide[2 * i + 1] = static_cast<uint8_t>(wide >> 8);
    kHigh[i] = static_cast<uint8_t>((value >> 4) + 8);
  }
}

const espgen::Tensor kTensors[] = {
    {"x",
     espgen::DType::kInt8,
     4,
     {1, 8, 5, 3},
     0.5f,
     0,
     ESPGEN_AT(toy_psram, 0),
     kRows,
     kPixels,
     kChannels,
     kChannels,
     kRowBytes,
     kRows},
    {"doubled",
     espgen::DType::kInt8,
     4,
     {1, 8, 5, 3},
     0.5f,
     0,
     ESPGEN_AT(toy_internal, 0),
     kRows,
     kPixels,
     kChannels,
     kPitch,
     kRingPitch,
     kRingRows},
    {"difference",
     espgen::DType::kInt8,
     4,
     {1, 8, 5, 3},
     0.5f,
     -3,
     ESPGEN_AT(toy_internal, 160),
     kRows,
     kPixels,
     kChannels,
     kChannels,
     kRowBytes,
     kRows},
    {"wide",
     espgen::DType::kInt16,
     4,
     {1, 8, 5, 3},
     0.25f,
     0,
     ESPGEN_AT(toy_internal, 288),
     kRows,
     kPixels,
     2 * kChannels,
     2 * kChannels,
     2 * kRowBytes,
     kRows},
    {"high",
     espgen::DType::kUint8,
     2,
     {1, 120},
     1.0f,
     8,
     ESPGEN_AT(toy_psram, 128),
     1,
     1,
     120,
     120,
     120,
     1},
};

const uint16_t kLayerOutputs[] = {1, 2, 3, 4};
const espgen::Layer kLayers[] = {
    {"double", "mul", 120, 0, 1}, {"difference", "xor", 0, 1, 1}, {"spread", "split", 0, 2, 2}};

const espgen::Step kSteps[] = {
    {Double, 0, 0, 2},     {Difference, 1, 0, 2}, {Double, 0, 2, 4},
    {Difference, 1, 2, 4}, {Double, 0, 4, 6},     {Difference, 1, 4, 6},
    {Double, 0, 6, 8},     {Difference, 1, 6, 8}, {Spread, 2, 0, 8},
};

const uint16_t kInputs[] = {0};
const uint16_t kOutputs[] = {3, 4};

}  // namespace

namespace toy {

extern const espgen::Model kModel;
const espgen::Model kModel = {
    espgen::kModelAbi,
    "toy",
    {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
     16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31},
    kTensors,
    5,
    kLayers,
    3,
    kLayerOutputs,
    kSteps,
    9,
    kInputs,
    1,
    kOutputs,
    2,
    kArenas,
    2,
    kBuffers,
    5,
    {528, 256, 3, "optimal"},
    {nullptr, nullptr},
};

}  // namespace toy
