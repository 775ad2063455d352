#include "common/line_reader.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace vexact {
namespace {

constexpr size_t kReadBytes = size_t{1} << 16;
constexpr int kPollMilliseconds = 100;

}  // namespace

Result<LineReader> LineReader::Open(const std::string& path, size_t max_line_bytes) {
  const bool is_standard = path == "-";
  const std::string name = is_standard ? "standard input" : path;
  const int descriptor = is_standard ? dup(STDIN_FILENO) : open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) {
    return MakeError(ErrorCode::kIo, "{}: expected a file to read, found: {}", name,
                     std::strerror(errno));
  }
  return LineReader(name, descriptor, max_line_bytes);
}

LineReader::LineReader(LineReader&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      max_line_bytes_(other.max_line_bytes_),
      buffer_(std::move(other.buffer_)),
      position_(other.position_),
      lines_(other.lines_) {}

LineReader::~LineReader() {
  if (descriptor_ >= 0) close(descriptor_);
}

Result<LineReader::Fill> LineReader::FillBuffer(FunctionRef<bool()> keep_waiting) {
  buffer_.clear();
  position_ = 0;
  while (true) {
    pollfd waited{descriptor_, POLLIN, 0};
    const int ready = poll(&waited, 1, kPollMilliseconds);
    if (ready <= 0) {
      if (!keep_waiting()) return Fill::kStopped;
      continue;
    }
    buffer_.resize(kReadBytes);
    const ssize_t got = read(descriptor_, buffer_.data(), buffer_.size());
    buffer_.resize(got > 0 ? static_cast<size_t>(got) : 0);
    if (got > 0) return Fill::kBytes;
    if (got == 0) return Fill::kEnd;
    if (errno != EINTR && errno != EAGAIN) {
      return MakeError(ErrorCode::kIo, "{}: expected to read it, found: {}", path_,
                       std::strerror(errno));
    }
  }
}

Result<LineReader::Outcome> LineReader::Next(FunctionRef<bool()> keep_waiting, Line& line) {
  line = Line{{}, lines_ + 1, false};
  bool found_anything = false;
  while (true) {
    if (position_ == buffer_.size()) {
      VX_ASSIGN_OR_RETURN(const Fill fill, FillBuffer(keep_waiting));
      if (fill == Fill::kStopped) return Outcome::kStopped;
      if (fill == Fill::kEnd) {
        if (!found_anything) return Outcome::kEnd;
        break;
      }
    }
    found_anything = true;
    const size_t newline = buffer_.find('\n', position_);
    const size_t end = newline == std::string::npos ? buffer_.size() : newline;
    if (line.text.size() + (end - position_) > max_line_bytes_) line.too_long = true;
    if (!line.too_long) line.text.append(buffer_, position_, end - position_);
    position_ = newline == std::string::npos ? end : end + 1;
    if (newline != std::string::npos) break;
  }
  if (line.too_long) line.text.clear();
  if (!line.text.empty() && line.text.back() == '\r') line.text.pop_back();
  ++lines_;
  return Outcome::kLine;
}

}  // namespace vexact
