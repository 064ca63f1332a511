#include "agent.h"

#include "board.h"
#include "describe.h"

namespace espgen {
namespace agent {
namespace {

// A run that takes longer than this says so, so that the host knows the device lives.
constexpr uint32_t kProgressMilliseconds = 200;

}  // namespace

void Agent::Receive(const uint8_t* bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Frame frame;
    const FrameReader::Result result = frames_.Push(bytes[i], &frame);
    if (result == FrameReader::kNothing) continue;
    if (result == FrameReader::kFrame) {
      Handle(frame);
      continue;
    }
    const uint8_t reason = result == FrameReader::kBadCrc        ? kNakCrc
                           : result == FrameReader::kBadEncoding ? kNakEncoding
                                                                 : kNakLength;
    Send(kNak, &reason, 1);
  }
}

void Agent::Log(const char* text) {
  size_t length = 0;
  while (length < kMaxData && text[length] != '\0') ++length;
  Send(kLog, reinterpret_cast<const uint8_t*>(text), length);
}

void Agent::Handle(const Frame& request) {
  if (request.type == kHello && (session_ == 0 || request.session != session_)) {
    Execute(request);
    return;
  }
  if (session_ == 0 || request.session != session_) {
    // Answered under the request's own numbers, or the host could not tell what is refused.
    static const char kText[] = "no session: the device restarted";
    uint8_t data[2 + sizeof kText];
    ByteWriter writer(data, sizeof data);
    writer.U8(kErrorSession);
    writer.U8(request.type);
    writer.Bytes(reinterpret_cast<const uint8_t*>(kText), sizeof kText - 1);
    const Frame reply = {kError, request.sequence, request.session, data, writer.size()};
    board::Write(wire_, EncodeFrame(reply, wire_));
    return;
  }
  if (request.sequence == sequence_) {
    SendReply();  // the host asks again: the reply was lost
    return;
  }
  if (request.sequence != static_cast<uint16_t>(sequence_ + 1)) return;  // stale duplicate
  sequence_ = request.sequence;
  Execute(request);
}

void Agent::Execute(const Frame& request) {
  ByteReader reader(request.data, request.length);
  writer_ = ByteWriter(reply_, sizeof reply_);
  reply_type_ = static_cast<uint8_t>(request.type | kReplyBit);
  switch (request.type) {
    case kHello:
      Hello(request, &reader);
      break;
    case kDescribe:
      DescribeItem(request, &reader);
      break;
    case kWrite:
      WriteTensor(request, &reader);
      break;
    case kRun:
      Run(request, &reader);
      break;
    case kRead:
      ReadTensor(request, &reader);
      break;
    case kHashes:
      Hashes(request, &reader);
      break;
    case kProfile:
      Profile(request, &reader);
      break;
    case kMemory:
      MemoryInfo();
      break;
    case kReset:
      break;
    case kEcho:
      writer_.Bytes(request.data, request.length);
      break;
    default:
      Fail(request, kErrorUnknown, "unknown command");
  }
  if (writer_.overrun()) Fail(request, kErrorRange, "the reply does not fit a frame");
  reply_length_ = writer_.size();
  SendReply();
  if (request.type == kReset) {
    board::Restart();
    session_ = 0;
  }
}

void Agent::SendReply() { Send(reply_type_, reply_, reply_length_); }

void Agent::Send(uint8_t type, const uint8_t* data, size_t length) {
  const Frame frame = {type, sequence_, session_, data, length};
  board::Write(wire_, EncodeFrame(frame, wire_));
}

void Agent::Fail(const Frame& request, ErrorCode code, const char* text) {
  size_t length = 0;
  while (text[length] != '\0') ++length;
  writer_ = ByteWriter(reply_, sizeof reply_);
  reply_type_ = kError;
  writer_.U8(code);
  writer_.U8(request.type);
  writer_.Bytes(reinterpret_cast<const uint8_t*>(text), length);
}

void Agent::ReportProgress() {
  const uint32_t now = board::Milliseconds();
  if (now - last_progress_ < kProgressMilliseconds) return;
  last_progress_ = now;
  uint8_t data[8];
  ByteWriter writer(data, sizeof data);
  writer.U32(runner_.next_step());
  writer.U32(model_.step_count);
  Send(kProgress, data, writer.size());
}

void Agent::Hello(const Frame& request, ByteReader* reader) {
  reader->U16();  // the host's version: it decides whether it can talk to ours
  const uint32_t session = reader->U32();
  if (!reader->finished() || session == 0 || session != request.session) {
    Fail(request, kErrorRequest, "malformed hello");
    return;
  }
  if (session != session_) {
    session_ = session;
    sequence_ = request.sequence;
    runner_.Start();
  }
  writer_.U16(kProtocolVersion);
  writer_.U16(static_cast<uint16_t>(kMaxData));
  writer_.U32(model_.abi);
  writer_.Bytes(model_.hash, sizeof model_.hash);
  writer_.U32(board::ClockHz());
  writer_.U32(board::Revision());
  writer_.U8(board::AvailableCounters());
  writer_.U16(model_.tensor_count);
  writer_.U16(model_.layer_count);
  writer_.U32(model_.step_count);
  writer_.U32(CountLayerOutputs(model_));
  writer_.Text(board::Target(), 64);
  writer_.Text(board::BuildId(), 128);
  writer_.Text(model_.name, kMaxText);
}

void Agent::DescribeItem(const Frame& request, ByteReader* reader) {
  const uint8_t what = reader->U8();
  const uint16_t index = reader->U16();
  if (!reader->finished()) {
    Fail(request, kErrorRequest, "malformed request");
  } else if (!EncodeDescription(model_, what, index, &writer_)) {
    Fail(request, kErrorIndex, "nothing of that kind and number");
  }
}

void Agent::MemoryInfo() {
  writer_.U32(model_.memory.internal_bytes);
  writer_.U32(model_.memory.psram_bytes);
  writer_.U32(model_.memory.weight_bytes);
  writer_.Text(model_.memory.planner, kMaxText);
}

}  // namespace agent
}  // namespace espgen

[[noreturn]] void espgen_agent_main(const espgen::Model& model) {
  static espgen::agent::Agent agent(model);
  static uint8_t received[256];
  agent.Log("espgen agent ready");
  for (;;) agent.Receive(received, espgen::board::Read(received, sizeof received));
}
