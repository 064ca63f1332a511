// UART0's host side: a pseudo-terminal, standard streams or files.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

namespace p4 {

class Uart {
 public:
  // mode: "pty", "stdio", "none" or "file:PATH". Throws std::runtime_error.
  Uart(const std::string& mode, const std::string& input_path);
  ~Uart();
  Uart(const Uart&) = delete;
  Uart& operator=(const Uart&) = delete;

  const std::string& pty_path() const { return pty_path_; }
  void Put(uint8_t byte);
  // Bytes waiting for the guest. Sleeps a little when the guest polls in vain for long.
  uint32_t Available();
  // Seconds slept since the last call: time passes for the guest as well.
  double TakeSlept();
  uint8_t Get();
  uint32_t OutputPending();  // bytes the host has not taken, after trying to write them
  void ClearInput() { input_.clear(); }
  void Flush(bool wait);

 private:
  void Fill();
  void Sleep(bool for_input);
  double slept_ = 0;
  int in_ = -1, out_ = -1, peer_ = -1;
  bool end_of_input_ = false;
  uint32_t idle_polls_ = 0;
  std::deque<uint8_t> input_;
  std::vector<uint8_t> output_;
  std::string pty_path_;
};

}  // namespace p4
