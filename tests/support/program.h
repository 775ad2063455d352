// Runs a program as a user would: arguments, standard input, and what came back.
#ifndef VEXACT_SUPPORT_PROGRAM_H_
#define VEXACT_SUPPORT_PROGRAM_H_

#include <sys/types.h>

#include <string>
#include <vector>

#include "support/temp_dir.h"

namespace vexact {

struct ProgramResult {
  int exit_status = -1;  // 128 + the signal, if one ended it
  std::string out;
  std::string err;
};

// Runs `path` to its end. Its output is kept in files, so it never waits for a reader.
ProgramResult RunProgram(const std::string& path, const std::vector<std::string>& arguments,
                         const std::string& standard_input = "");

// A program that runs beside the test, with a pipe for its standard input.
class RunningProgram {
 public:
  RunningProgram(const std::string& path, const std::vector<std::string>& arguments);
  ~RunningProgram();  // kills it if it still runs
  RunningProgram(const RunningProgram&) = delete;
  RunningProgram& operator=(const RunningProgram&) = delete;

  void Write(const std::string& text);
  void CloseInput();
  std::string OutputSoFar() const;
  // Waits until the output has at least this many lines; false after a minute without.
  bool WaitForLines(size_t lines) const;
  void Signal(int signal) const;
  ProgramResult Wait();

 private:
  const TempDir folder_;
  int input_ = -1;
  pid_t pid_ = -1;
};

}  // namespace vexact

#endif  // VEXACT_SUPPORT_PROGRAM_H_
