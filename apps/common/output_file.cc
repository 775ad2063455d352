#include "common/output_file.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

namespace vexact {
namespace {

namespace fs = std::filesystem;

bool AreSameFile(const fs::path& a, const fs::path& b) {
  if (a.empty() || b.empty() || a == "-" || b == "-") return false;
  std::error_code error;
  if (fs::equivalent(a, b, error)) return fs::is_regular_file(a, error);
  const fs::path whole = fs::weakly_canonical(a, error);  // of files that are still to be made
  return !error && !fs::exists(whole, error) && whole == fs::weakly_canonical(b, error);
}

}  // namespace

void OutputFile::Closer::operator()(std::FILE* file) const {
  if (file != stdout) std::fclose(file);
}

Result<OutputFile> OutputFile::Open(const std::string& path) {
  if (path.empty() || path == "-") return OutputFile("standard output", stdout);
  std::FILE* const file = std::fopen(path.c_str(), "we");
  if (file == nullptr) {
    return MakeError(ErrorCode::kIo, "{}: expected a file to write, found: {}", path,
                     std::strerror(errno));
  }
  return OutputFile(path, file);
}

void OutputFile::Fail() {
  status_ =
      MakeError(ErrorCode::kIo, "{}: expected to write it, found: {}", path_, std::strerror(errno));
}

void OutputFile::Write(std::string_view text) {
  if (!status_.ok()) return;
  if (std::fwrite(text.data(), 1, text.size(), file_.get()) != text.size()) Fail();
}

void OutputFile::WriteLine(std::string_view text) {
  Write(text);
  Write("\n");
}

void OutputFile::Flush() {
  if (status_.ok() && std::fflush(file_.get()) != 0) Fail();
}

Status OutputFile::Close() {
  Flush();
  if (file_.get() != stdout && std::fclose(file_.release()) != 0 && status_.ok()) Fail();
  return status_;
}

Status CheckApart(std::initializer_list<FlagFile> reads, std::initializer_list<FlagFile> writes) {
  std::vector<FlagFile> others = reads;
  for (const FlagFile& write : writes) {
    for (const FlagFile& other : others) {
      if (!AreSameFile(write.path, other.path)) continue;
      return InvalidArgument("{}: expected another file than that of {}, found {}", write.flag,
                             other.flag, write.path);
    }
    others.push_back(write);
  }
  return {};
}

}  // namespace vexact
