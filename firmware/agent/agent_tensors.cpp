// The agent's requests that touch the model's tensors: write, run, read, and what a run left
// behind.
#include "agent.h"
#include "board.h"
#include "describe.h"
#include "tensors.h"

namespace espgen {
namespace agent {
namespace {

bool IsInput(const Model& model, uint16_t tensor) {
  for (uint16_t i = 0; i < model.input_count; ++i) {
    if (model.inputs[i] == tensor) return true;
  }
  return false;
}

}  // namespace

void Agent::WriteTensor(const Frame& request, ByteReader* reader) {
  const uint16_t index = reader->U16();
  const uint32_t offset = reader->U32();
  if (reader->overrun()) {
    Fail(request, kErrorRequest, "malformed request");
  } else if (index >= model_.tensor_count || !IsInput(model_, index) ||
             !WhollyHeld(model_.tensors[index])) {
    Fail(request, kErrorIndex, "not an input of the model");
  } else if (!InRange(model_.tensors[index], offset, reader->left())) {
    Fail(request, kErrorRange, "outside the tensor");
  } else {
    runner_.Forget();  // what the run before left is no longer to be read
    WritePacked(model_.tensors[index], offset, reader->rest(), reader->left());
  }
}

bool Agent::InputsMatch(const Frame& request, ByteReader* reader) {
  if (reader->U16() != model_.input_count) {
    Fail(request, kErrorInput, "another number of inputs");
    return false;
  }
  uint32_t hash = 0;
  for (uint16_t i = 0; i < model_.input_count; ++i) {
    const Tensor& tensor = model_.tensors[model_.inputs[i]];
    hash = 31 * hash + HashRows(tensor, 0, tensor.rows);
  }
  if (reader->U32() == hash) return true;
  Fail(request, kErrorInput, "the inputs in memory are not the ones announced");
  return false;
}

void Agent::ReportStray(const Frame& request) {
  const Stray& stray = runner_.stray();
  Fail(request, kErrorGuard, "");
  writer_.U16(static_cast<uint16_t>(stray.arena - model_.arenas));
  writer_.U32(stray.offset);
  writer_.U16(runner_.last_step()->layer);
  writer_.Text(stray.arena->name, kMaxText);
  runner_.Forget();
}

void Agent::ReportStatus(const Frame& request) {
  Fail(request, kErrorStatus, "");
  writer_.U8(static_cast<uint8_t>(runner_.status()));
  writer_.U16(runner_.last_step()->layer);
  runner_.Forget();
}

void Agent::Run(const Frame& request, ByteReader* reader) {
  const uint8_t flags = reader->U8();
  const uint16_t stop_layer = reader->U16();
  const bool go_on = (flags & kRunContinue) != 0;
  const bool stop_at_layer = (flags & kRunStopAtLayer) != 0;
  if (model_.abi != kModelAbi) return Fail(request, kErrorModel, "the model has another ABI");
  if (!runner_.FitsTables()) return Fail(request, kErrorCapacity, "more layers than tables");
  if (stop_at_layer && stop_layer >= model_.layer_count) {
    return Fail(request, kErrorIndex, "no such layer");
  }
  if (!go_on && !InputsMatch(request, reader)) return;
  if (!reader->finished()) return Fail(request, kErrorRequest, "malformed request");

  Send(kAck, nullptr, 0);
  last_progress_ = board::Milliseconds();
  if (!go_on) runner_.Start();
  bool cold = false;
  if ((flags & kRunCold) != 0) cold = board::EmptyCaches();
  bool stopped = false;
  while (!runner_.finished() && !stopped) {
    const StepEnd end = runner_.RunStep((flags & kRunHash) != 0, (flags & kRunProfile) != 0,
                                        (flags & kRunGuard) != 0);
    if (end == StepEnd::kStray) return ReportStray(request);
    if (end == StepEnd::kDisturbed) return ReportStatus(request);
    stopped =
        (flags & kRunOneStep) != 0 || (stop_at_layer && runner_.last_step()->layer == stop_layer);
    if (!runner_.finished() && !stopped) ReportProgress();
  }

  const Step* const step = runner_.last_step();
  writer_.U8(stopped ? 1 : 0);
  writer_.U8(runner_.finished() ? 1 : 0);
  writer_.U8(cold ? 1 : 0);
  writer_.U32(runner_.next_step());
  writer_.U16(step != nullptr ? step->layer : uint16_t{0xFFFF});
  writer_.U32(step != nullptr ? step->row_begin : 0);
  writer_.U32(step != nullptr ? step->row_end : 0);
  writer_.U64(runner_.total().cycles);
  writer_.U64(runner_.total().instructions);
  writer_.U64(runner_.total().stalls);
}

void Agent::ReadTensor(const Frame& request, ByteReader* reader) {
  const uint16_t index = reader->U16();
  const uint32_t offset = reader->U32();
  const uint16_t count = reader->U16();
  if (!reader->finished()) return Fail(request, kErrorRequest, "malformed request");
  if (index >= model_.tensor_count) return Fail(request, kErrorIndex, "no such tensor");
  const Tensor& tensor = model_.tensors[index];
  if (count > kMaxData || !InRange(tensor, offset, count)) {
    return Fail(request, kErrorRange, "outside the tensor");
  }
  if (count == 0) return;
  const uint32_t row_bytes = RowBytes(tensor);
  const uint32_t last = offset + count - 1;
  if (!runner_.RowsValid(index, offset / row_bytes, last / row_bytes + 1)) {
    return Fail(request, kErrorNotValid, "the tensor does not hold these rows now");
  }
  ReadPacked(tensor, offset, writer_.Reserve(count), count);
}

void Agent::Hashes(const Frame& request, ByteReader* reader) {
  const uint32_t first = reader->U16();
  if (!reader->finished()) return Fail(request, kErrorRequest, "malformed request");
  if (!runner_.finished()) return Fail(request, kErrorNotValid, "no complete run");
  uint32_t outputs = CountLayerOutputs(model_);
  if (outputs > kOutputCapacity) outputs = 0;
  for (uint32_t i = first; i < outputs && writer_.room() >= 8; ++i) {
    writer_.U32(runner_.hash(i).hash);
    writer_.U32(runner_.hash(i).rows);
  }
}

void Agent::Profile(const Frame& request, ByteReader* reader) {
  const uint16_t first = reader->U16();
  if (!reader->finished()) return Fail(request, kErrorRequest, "malformed request");
  if (!runner_.finished()) return Fail(request, kErrorNotValid, "no complete run");
  const size_t layers = model_.layer_count <= kLayerCapacity ? model_.layer_count : 0;
  for (size_t i = first; i < layers && writer_.room() >= 24; ++i) {
    writer_.U64(runner_.counters(i).cycles);
    writer_.U64(runner_.counters(i).instructions);
    writer_.U64(runner_.counters(i).stalls);
  }
}

}  // namespace agent
}  // namespace espgen
