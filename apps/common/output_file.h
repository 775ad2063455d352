// OutputFile: whole lines to a file or to standard output, with every error of writing noticed.
#ifndef VEXACT_COMMON_OUTPUT_FILE_H_
#define VEXACT_COMMON_OUTPUT_FILE_H_

#include <cstdio>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace vexact {

// The first error sticks: later writes do nothing, and status() and Close() report it.
class OutputFile {
 public:
  // "-" or an empty path is standard output. An existing file is replaced.
  static Result<OutputFile> Open(const std::string& path);

  void Write(std::string_view text);
  void WriteLine(std::string_view text);
  void Flush();  // a reader at the other end sees everything so far
  const Status& status() const { return status_; }
  Status Close();

 private:
  struct Closer {
    void operator()(std::FILE* file) const;
  };
  OutputFile(std::string path, std::FILE* file) : path_(std::move(path)), file_(file) {}
  void Fail();

  std::string path_;
  std::unique_ptr<std::FILE, Closer> file_;
  Status status_;
};

// A file that a flag names; "" and "-" are none.
struct FlagFile {
  std::string_view flag;  // "--output"
  std::string_view path;
};

// That no file of `writes` is also read, or named twice there: it would be emptied before it is
// read, or two writers would share it. Devices may be. An error is wrong usage.
Status CheckApart(std::initializer_list<FlagFile> reads, std::initializer_list<FlagFile> writes);

}  // namespace vexact

#endif  // VEXACT_COMMON_OUTPUT_FILE_H_
