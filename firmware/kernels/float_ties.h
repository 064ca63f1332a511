// Which way float32 takes the exact ties of a mean: espgen/ops/float_ties.py in C++.
#ifndef ESPGEN_KERNELS_FLOAT_TIES_H_
#define ESPGEN_KERNELS_FLOAT_TIES_H_

#include "rows.h"

namespace espgen {

// Scales of the mean's input and output; 0: ties go to even.
struct FloatTies {
  float input_scale, output_scale;
};

// A mean of `count` elements in float32, summed as onnxruntime does: four lanes, added up in pairs,
// then the elements that are left.
class FloatMean {
 public:
  FloatMean(int32_t count, FloatTies scales)
      : count_(count), whole_(count - count % kLanes), scales_(scales) {}

  // The next element, its zero point taken off.
  void add(int32_t centred) {
    // Rounded on its own, whatever the compiler may fuse: a volatile is stored.
    const volatile float product = static_cast<float>(centred) * scales_.input_scale;
    if (position_ == whole_) total_ = (lane_[0] + lane_[2]) + (lane_[1] + lane_[3]);
    if (position_ < whole_) {
      lane_[position_ % kLanes] += product;
    } else {
      total_ += product;
    }
    ++position_;
  }

  // After `count` elements: whether the mean, an exact tie between floor and floor + 1 in output
  // steps, is floor + 1 in float32.
  bool rounds_up(int32_t floor) const {
    const float total = whole_ == count_ ? (lane_[0] + lane_[2]) + (lane_[1] + lane_[3]) : total_;
    const float quotient = total / static_cast<float>(count_) / scales_.output_scale;
    const float half = static_cast<float>(floor) + 0.5F;
    return quotient > half || (quotient == half && (floor & 1) != 0);
  }

 private:
  static constexpr int32_t kLanes = 4;

  int32_t count_, whole_;
  FloatTies scales_;
  int32_t position_ = 0;
  float lane_[kLanes] = {0, 0, 0, 0};
  float total_ = 0;
};

}  // namespace espgen

#endif  // ESPGEN_KERNELS_FLOAT_TIES_H_
