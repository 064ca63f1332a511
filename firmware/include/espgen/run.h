// Runs a model's steps, watching that no other task comes between them and the vector unit.
#ifndef ESPGEN_RUN_H_
#define ESPGEN_RUN_H_

#include "espgen/model.h"
#include "espgen/port.h"
#include "espgen/status.h"

namespace espgen {

// Before steps that run under the lock: puts known values where tasks that use the vector unit
// leave others.
inline void start_watch(const Model& model) {
  if (model.watch.start != nullptr) model.watch.start();
}

// After a step: whether it was left alone. Makes what it stored visible to scalar loads.
inline Status check_watch(const Model& model) {
  const bool disturbed = model.watch.disturbed != nullptr && model.watch.disturbed() != 0;
  return disturbed ? Status::kVectorUnitDisturbed : Status::kOk;
}

// All steps; stops at the first that was disturbed.
inline Status run_model(const Model& model) {
  if (rtos::in_interrupt()) return Status::kInInterrupt;
  const VectorLock lock;
  start_watch(model);
  for (uint32_t i = 0; i < model.step_count; ++i) {
    const Step& step = model.steps[i];
    step.run(step.row_begin, step.row_end);
    const Status status = check_watch(model);
    if (status != Status::kOk) return status;
  }
  return Status::kOk;
}

}  // namespace espgen

#endif  // ESPGEN_RUN_H_
