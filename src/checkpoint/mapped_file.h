// MappedFile: a file's bytes, mapped read-only for as long as anybody holds the object.
#ifndef VEXACT_CHECKPOINT_MAPPED_FILE_H_
#define VEXACT_CHECKPOINT_MAPPED_FILE_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace vexact {

// Immutable after Open: any thread may read. A file that another process truncates while it is
// mapped kills the reader with SIGBUS; that is not guarded against.
class MappedFile {
 public:
  // Errors: kNotFound when there is no such file; kIo when it is not a regular file or the system
  // refuses.
  static Result<std::shared_ptr<const MappedFile>> Open(const std::string& path);

  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }

 private:
  MappedFile(std::string path, std::span<const std::byte> bytes)
      : path_(std::move(path)), bytes_(bytes) {}

  std::string path_;
  std::span<const std::byte> bytes_;  // empty for an empty file, which has no mapping
};

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_MAPPED_FILE_H_
