// The verification agent: answers the host's requests about the linked model.
#ifndef ESPGEN_AGENT_AGENT_H_
#define ESPGEN_AGENT_AGENT_H_

#include "bytes.h"
#include "espgen/model.h"
#include "framing.h"
#include "protocol.h"
#include "runner.h"

namespace espgen {
namespace agent {

class Agent {
 public:
  explicit Agent(const Model& model) : model_(model), runner_(model) {}

  // Takes bytes from the port and carries out every complete request in them.
  void Receive(const uint8_t* bytes, size_t count);

  // Sends a line of text in a frame of its own; cut at kMaxData bytes.
  void Log(const char* text);

 private:
  void Handle(const Frame& request);
  void Execute(const Frame& request);
  void SendReply();
  void Send(uint8_t type, const uint8_t* data, size_t length);
  void Fail(const Frame& request, ErrorCode code, const char* text);
  void ReportProgress();

  void Hello(const Frame& request, ByteReader* reader);
  void DescribeItem(const Frame& request, ByteReader* reader);
  void WriteTensor(const Frame& request, ByteReader* reader);
  void Run(const Frame& request, ByteReader* reader);
  bool InputsMatch(const Frame& request, ByteReader* reader);
  void ReportStray(const Frame& request);
  void ReportStatus(const Frame& request);
  void ReadTensor(const Frame& request, ByteReader* reader);
  void Hashes(const Frame& request, ByteReader* reader);
  void Profile(const Frame& request, ByteReader* reader);
  void MemoryInfo();

  const Model& model_;
  Runner runner_;
  FrameReader frames_;

  uint32_t session_ = 0;  // 0: none yet
  uint16_t sequence_ = 0;
  uint32_t last_progress_ = 0;

  // The last reply, kept for a host that did not get it.
  uint8_t reply_type_ = 0;
  size_t reply_length_ = 0;
  uint8_t reply_[kMaxData];
  ByteWriter writer_{reply_, sizeof reply_};

  uint8_t wire_[kMaxEncoded + 2];
};

}  // namespace agent
}  // namespace espgen

// Serves the port forever with a model; the board calls it when it is ready.
[[noreturn]] void espgen_agent_main(const espgen::Model& model);

#endif  // ESPGEN_AGENT_AGENT_H_
