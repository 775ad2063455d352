// A directory of a test's own, removed with everything in it at the end of its scope.
#ifndef VEXACT_TESTS_SUPPORT_TEMP_DIR_H_
#define VEXACT_TESTS_SUPPORT_TEMP_DIR_H_

#include <string>
#include <string_view>

namespace vexact {

class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir();

  const std::string& path() const { return path_; }
  // Creates or replaces `name`; returns its path.
  std::string Write(std::string_view name, std::string_view content) const;

 private:
  std::string path_;
};

// A whole file's bytes; the test fails hard when it cannot be read.
std::string ReadFileOrDie(const std::string& path);

}  // namespace vexact

#endif  // VEXACT_TESTS_SUPPORT_TEMP_DIR_H_
