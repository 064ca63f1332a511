#include "uart.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>

namespace p4 {
namespace {

constexpr size_t kOutputChunk = 512;
constexpr size_t kOutputLimit = 1 << 20;
constexpr uint32_t kPatience = 64;  // empty polls before sleeping
constexpr uint32_t kBusyPolls = 2;  // empty polls between two bytes that a driver sends
constexpr int kSleepMs = 2;
constexpr int kSettle = 10;   // sleeps until written bytes have surely become readable ones
constexpr int kLinger = 500;  // sleeps until unread output is given up

int OpenOrThrow(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd < 0) throw std::runtime_error(path + ": " + strerror(errno));
  return fd;
}

}  // namespace

Uart::Uart(const std::string& mode, const std::string& input_path) {
  if (mode == "pty") {
    in_ = out_ = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (in_ < 0 || grantpt(in_) != 0 || unlockpt(in_) != 0) {
      throw std::runtime_error(std::string("pseudo-terminal: ") + strerror(errno));
    }
    pty_path_ = ptsname(in_);
    // Held open so that the master survives clients that come and go.
    peer_ = OpenOrThrow(pty_path_, O_RDWR | O_NOCTTY);
    termios settings;
    tcgetattr(peer_, &settings);
    cfmakeraw(&settings);
    tcsetattr(peer_, TCSANOW, &settings);
    fcntl(in_, F_SETFL, fcntl(in_, F_GETFL) | O_NONBLOCK);
  } else if (mode == "stdio") {
    in_ = STDIN_FILENO;
    out_ = STDOUT_FILENO;
  } else if (mode.rfind("file:", 0) == 0) {
    out_ = OpenOrThrow(mode.substr(5), O_WRONLY | O_CREAT | O_TRUNC);
  } else if (mode != "none") {
    throw std::runtime_error("unknown UART mode: " + mode);
  }
  if (!input_path.empty()) in_ = OpenOrThrow(input_path, O_RDONLY);
}

// A short program's last words must outlive it: closing a pseudo-terminal drops what nobody has
// read.
Uart::~Uart() {
  Flush(true);
  if (peer_ < 0) return;
  int unread = 1;
  for (int i = 0; i < kLinger && (unread > 0 || i < kSettle); ++i) {
    poll(nullptr, 0, kSleepMs);
    if (ioctl(peer_, FIONREAD, &unread) != 0) break;
  }
}

void Uart::Put(uint8_t byte) {
  if (out_ < 0) return;
  output_.push_back(byte);
  // A driver asks for room before every byte: that is no idling, and no reason to look for input.
  idle_polls_ = 1;
  if (output_.size() % kOutputChunk == 0) Flush(false);
}

void Uart::Flush(bool wait) {
  size_t done = 0;
  while (done < output_.size()) {
    const ssize_t n = write(out_, output_.data() + done, output_.size() - done);
    if (n > 0) {
      done += static_cast<size_t>(n);
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN && wait) {
      // Give a reader one second per step; nobody may be there.
      pollfd ready = {out_, POLLOUT, 0};
      if (poll(&ready, 1, 1000) > 0) continue;
    }
    if (n < 0 && errno != EAGAIN) done = output_.size();
    break;
  }
  output_.erase(output_.begin(), output_.begin() + static_cast<std::ptrdiff_t>(done));
}

void Uart::Fill() {
  if (in_ < 0 || end_of_input_) return;
  if (in_ == STDIN_FILENO || in_ != out_) {
    pollfd ready = {in_, POLLIN, 0};
    if (poll(&ready, 1, 0) <= 0) return;
  }
  uint8_t buffer[4096];
  const ssize_t n = read(in_, buffer, sizeof buffer);
  if (n > 0) {
    input_.insert(input_.end(), buffer, buffer + n);
  } else if (n == 0 && in_ != out_) {
    end_of_input_ = true;
  }
}

void Uart::Sleep(bool for_input) {
  timespec before, after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  pollfd ready = {in_, POLLIN, 0};
  poll(&ready, for_input ? 1 : 0, kSleepMs);
  clock_gettime(CLOCK_MONOTONIC, &after);
  slept_ += static_cast<double>(after.tv_sec - before.tv_sec) +
            static_cast<double>(after.tv_nsec - before.tv_nsec) * 1e-9;
}

double Uart::TakeSlept() {
  const double slept = slept_;
  slept_ = 0;
  return slept;
}

uint32_t Uart::Available() {
  if (input_.empty()) {
    if (!output_.empty() && idle_polls_ > kBusyPolls) Flush(false);
    if ((idle_polls_ & 7) == 0) Fill();
    if (input_.empty()) {
      if (++idle_polls_ > kPatience) {
        Sleep(in_ >= 0 && !end_of_input_);
        Fill();
      }
    }
  }
  if (!input_.empty()) idle_polls_ = 0;
  return static_cast<uint32_t>(input_.size());
}

uint8_t Uart::Get() {
  if (input_.empty()) return 0;
  const uint8_t byte = input_.front();
  input_.pop_front();
  return byte;
}

uint32_t Uart::OutputPending() {
  if (output_.size() < kOutputLimit) return 0;
  Flush(false);
  if (output_.size() >= kOutputLimit) Sleep(false);
  return static_cast<uint32_t>(output_.size());
}

}  // namespace p4
