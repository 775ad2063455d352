// LineReader: lines of a file or of standard input, of bounded length, readable while a slow writer
// still produces them.
#ifndef VEXACT_COMMON_LINE_READER_H_
#define VEXACT_COMMON_LINE_READER_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/function_ref.h"
#include "base/result.h"

namespace vexact {

class LineReader {
 public:
  // A longer line is reported as too long, and what follows it is still read.
  static constexpr size_t kMaxLineBytes = size_t{64} << 20;

  // "-" is standard input. Errors: the file cannot be opened, standard input is closed.
  static Result<LineReader> Open(const std::string& path, size_t max_line_bytes = kMaxLineBytes);

  LineReader(LineReader&& other) noexcept;
  LineReader& operator=(LineReader&&) = delete;
  ~LineReader();

  struct Line {
    std::string text;    // without its line end (LF or CR LF); empty if too long
    int64_t number = 0;  // 1 is the first
    bool too_long = false;
  };

  enum class Outcome { kLine, kEnd, kStopped };

  // Reads the next line into `line`. While there is nothing to read, calls `keep_waiting` about ten
  // times a second and gives up (kStopped) when it says no. Errors: the system refuses to read.
  Result<Outcome> Next(FunctionRef<bool()> keep_waiting, Line& line);

 private:
  LineReader(std::string path, int descriptor, size_t max_line_bytes)
      : path_(std::move(path)), descriptor_(descriptor), max_line_bytes_(max_line_bytes) {}

  enum class Fill { kBytes, kEnd, kStopped };
  Result<Fill> FillBuffer(FunctionRef<bool()> keep_waiting);

  std::string path_;
  int descriptor_;
  size_t max_line_bytes_;
  std::string buffer_;  // read and not yet handed out, from position_ on
  size_t position_ = 0;
  int64_t lines_ = 0;
};

}  // namespace vexact

#endif  // VEXACT_COMMON_LINE_READER_H_
