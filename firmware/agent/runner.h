// Runs the model's steps one by one and keeps what was asked for on the way: row hashes or counters
// per layer.
#ifndef ESPGEN_AGENT_RUNNER_H_
#define ESPGEN_AGENT_RUNNER_H_

#include <stddef.h>
#include <stdint.h>

#include "describe.h"
#include "espgen/model.h"
#include "espgen/status.h"
#include "guards.h"

// How many layers and layer outputs the tables hold; a build for one model sets its own numbers.
#ifndef ESPGEN_AGENT_LAYERS
#define ESPGEN_AGENT_LAYERS 512
#endif
#ifndef ESPGEN_AGENT_OUTPUTS
#define ESPGEN_AGENT_OUTPUTS 512
#endif

namespace espgen {
namespace agent {

constexpr size_t kLayerCapacity = ESPGEN_AGENT_LAYERS;
constexpr size_t kOutputCapacity = ESPGEN_AGENT_OUTPUTS;

struct LayerCounters {
  uint64_t cycles;
  uint64_t instructions;
  uint64_t stalls;
};

struct OutputHash {
  uint32_t hash;
  uint32_t rows;  // how many were added up: a row made twice or never shows
};

enum class StepEnd : uint8_t { kDone, kStray, kDisturbed };

class Runner {
 public:
  explicit Runner(const Model& model) : model_(model) {}

  // Goes back to the first step and clears what the run before left.
  void Start();
  // Goes back to the first step: no row counts as valid any more.
  void Forget() { next_step_ = 0; }
  // Runs one step. The model must not be finished. With `guard` the bytes that no buffer holds are
  // overwritten before and compared after it; kStray where the step wrote to one of them (see
  // stray), kDisturbed where its status is not kOk (see status).
  StepEnd RunStep(bool hash, bool profile, bool guard);
  const Stray& stray() const { return stray_; }
  Status status() const { return status_; }

  bool started() const { return next_step_ > 0; }
  bool finished() const { return next_step_ == model_.step_count; }
  uint32_t next_step() const { return next_step_; }
  // The step that ran last; null before the first.
  const Step* last_step() const { return started() ? &model_.steps[next_step_ - 1] : nullptr; }

  const LayerCounters& total() const { return total_; }
  const LayerCounters& counters(size_t layer) const { return counters_[layer]; }
  const OutputHash& hash(size_t layer_output) const { return hashes_[layer_output]; }

  // True where rows [begin, end) of a tensor hold what the layer made: rows of the step that ran
  // last, any row of a model output once everything ran, and any row of an input before the first
  // step.
  bool RowsValid(uint16_t tensor, uint32_t begin, uint32_t end) const;

  bool FitsTables() const {
    return model_.layer_count <= kLayerCapacity && CountLayerOutputs(model_) <= kOutputCapacity;
  }

 private:
  void HashOutputs(const Step& step);

  const Model& model_;
  uint32_t next_step_ = 0;
  Stray stray_ = {};
  Status status_ = Status::kOk;
  LayerCounters total_ = {};
  LayerCounters counters_[kLayerCapacity] = {};
  OutputHash hashes_[kOutputCapacity] = {};
};

}  // namespace agent
}  // namespace espgen

#endif  // ESPGEN_AGENT_RUNNER_H_
