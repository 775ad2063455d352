// OutputFile: whole lines to a file or to standard output, with every error of writing noticed.
#ifndef VEXACT_COMMON_OUTPUT_FILE_H_
#define VEXACT_COMMON_OUTPUT_FILE_H_

#include <cstdio>
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

}  // namespace vexact

#endif  // VEXACT_COMMON_OUTPUT_FILE_H_
