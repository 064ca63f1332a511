#include "runner.h"

#include "board.h"
#include "espgen/run.h"
#include "tensors.h"

namespace espgen {
namespace agent {
namespace {

void Add(LayerCounters* sum, const board::Counters& before, const board::Counters& after) {
  // Unsigned differences are right across one wrap of the 32-bit counters.
  sum->cycles += after.cycles - before.cycles;
  sum->instructions += after.instructions - before.instructions;
  sum->stalls += after.stalls - before.stalls;
}

bool Contains(const uint16_t* indices, uint16_t count, uint16_t wanted) {
  for (uint16_t i = 0; i < count; ++i) {
    if (indices[i] == wanted) return true;
  }
  return false;
}

}  // namespace

void Runner::Start() {
  next_step_ = 0;
  total_ = {};
  for (LayerCounters& counters : counters_) counters = {};
  for (OutputHash& hash : hashes_) hash = {};
}

StepEnd Runner::RunStep(bool hash, bool profile, bool guard) {
  const Step& step = model_.steps[next_step_];
  // Another value at every step: what one step leaves is no excuse for the next.
  const uint8_t value = static_cast<uint8_t>(0xA5u + next_step_);
  if (guard) FillFreeBytes(model_, next_step_, value);
  board::Counters before, after;
  {
    const VectorLock lock;
    start_watch(model_);
    before = board::ReadCounters();
    step.run(step.row_begin, step.row_end);
    after = board::ReadCounters();
    status_ = check_watch(model_);
  }
  ++next_step_;
  Add(&total_, before, after);
  if (profile) Add(&counters_[step.layer], before, after);
  if (status_ != Status::kOk) return StepEnd::kDisturbed;
  if (hash) HashOutputs(step);
  const bool strayed = guard && FindStray(model_, next_step_ - 1, value, &stray_);
  return strayed ? StepEnd::kStray : StepEnd::kDone;
}

void Runner::HashOutputs(const Step& step) {
  const Layer& layer = model_.layers[step.layer];
  for (uint16_t i = 0; i < layer.outputs; ++i) {
    const size_t at = static_cast<size_t>(layer.first_output) + i;
    const Tensor& tensor = model_.tensors[model_.layer_outputs[at]];
    const uint32_t end = step.row_end < tensor.rows ? step.row_end : tensor.rows;
    if (step.row_begin >= end) continue;
    hashes_[at].hash += HashRows(tensor, step.row_begin, end);
    hashes_[at].rows += end - step.row_begin;
  }
}

bool Runner::RowsValid(uint16_t tensor, uint32_t begin, uint32_t end) const {
  if (!started()) return Contains(model_.inputs, model_.input_count, tensor);
  if (finished() && Contains(model_.outputs, model_.output_count, tensor)) return true;
  const Step& step = *last_step();
  const Layer& layer = model_.layers[step.layer];
  return begin >= step.row_begin && end <= step.row_end &&
         Contains(model_.layer_outputs + layer.first_output, layer.outputs, tensor);
}

}  // namespace agent
}  // namespace espgen
