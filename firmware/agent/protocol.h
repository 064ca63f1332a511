// The serial protocol's constants. espgen/verify/protocol.py holds the same ones; a test compares
// the two files.
//
// A frame on the wire is  00 | COBS(header, data, crc) | 00  with
//   header  type u8, reserved u8 (0), sequence u16, session u32, length u16    (little-endian)
//   data    `length` bytes, at most kMaxData
//   crc     CRC-32 (zlib's) of header and data
//
// The host asks, the device answers: one request is under way at a time. A reply carries the
// request's type with kReplyBit, its sequence number and its session. A request that repeats the
// last sequence number is answered from the stored reply without being carried out again; any other
// number but the next one is dropped as stale. The session number is chosen by the host in HELLO,
// so a device that restarted is noticed at once.
#ifndef ESPGEN_AGENT_PROTOCOL_H_
#define ESPGEN_AGENT_PROTOCOL_H_

#include <stddef.h>
#include <stdint.h>

namespace espgen {
namespace agent {

constexpr uint16_t kProtocolVersion = 2;
constexpr size_t kMaxData = 1024;
constexpr size_t kHeaderBytes = 10;
constexpr size_t kCrcBytes = 4;
constexpr size_t kMaxFrame = kHeaderBytes + kMaxData + kCrcBytes;
constexpr size_t kMaxEncoded = kMaxFrame + kMaxFrame / 254 + 1;

constexpr uint8_t kReplyBit = 0x80;

enum Type : uint8_t {
  // Requests.
  kHello = 0x01,     // version u16, session u32
  kDescribe = 0x02,  // what u8, index u16
  kWrite = 0x03,     // tensor u16, offset u32, bytes
  kRun = 0x04,       // flags u8, layer u16, inputs u16, u32 of their row hashes: h = 31 h + hash
  kRead = 0x05,      // tensor u16, offset u32, length u16
  kHashes = 0x06,    // first layer output u16
  kProfile = 0x07,   // first layer u16
  kMemory = 0x08,
  kReset = 0x09,
  kEcho = 0x0A,  // bytes
  // From the device, in answer to no request in particular or before the reply.
  kAck = 0x40,       // the request is being carried out: wait longer
  kNak = 0x41,       // a damaged frame came in; reason u8
  kError = 0x42,     // the request is refused: code u8, type u8, text
  kProgress = 0x43,  // steps done u32, steps u32
  kLog = 0x44,       // text
};

enum Describe : uint8_t { kDescribeTensor = 0, kDescribeLayer = 1, kDescribeInterface = 2 };

enum RunFlag : uint8_t {
  kRunContinue = 0x01,     // go on after the last step instead of starting at the first
  kRunHash = 0x02,         // add up the row hashes of every layer output
  kRunProfile = 0x04,      // add up the counters per layer
  kRunCold = 0x08,         // empty the caches before the first step
  kRunOneStep = 0x10,      // stop after one step
  kRunStopAtLayer = 0x20,  // stop after the next step of `layer`
  kRunGuard = 0x40,        // refuse to go on when a step wrote to bytes that no buffer holds
};

enum ErrorCode : uint8_t {
  kErrorSession = 1,   // no HELLO with this session number: the device restarted
  kErrorRequest = 2,   // malformed request
  kErrorIndex = 3,     // no such tensor, layer or step
  kErrorRange = 4,     // outside the tensor
  kErrorNotValid = 5,  // the tensor does not hold these rows now
  kErrorInput = 6,     // the inputs in memory are not the ones announced
  kErrorCapacity = 7,  // more layers than the agent was built for
  kErrorUnknown = 8,   // unknown command
  kErrorModel = 9,     // the model's description has another ABI
  kErrorGuard = 10,   // a step wrote where it must not: then arena u16, offset u32, layer u16, name
  kErrorStatus = 11,  // a step did not end well: then espgen::Status u8, layer u16
};

enum NakReason : uint8_t { kNakEncoding = 1, kNakLength = 2, kNakCrc = 3 };

enum Counter : uint8_t { kHasCycles = 1, kHasInstructions = 2, kHasStalls = 4 };

}  // namespace agent
}  // namespace espgen

#endif  // ESPGEN_AGENT_PROTOCOL_H_
