#include "support/program.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <thread>

#include "base/check.h"

namespace vexact {
namespace {

constexpr const char* kOut = "/out";
constexpr const char* kErr = "/err";

int Create(const std::string& path) {
  return open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
}

// Runs `path` with output to files in `folder`; returns the process id.
pid_t Start(const std::string& path, const std::vector<std::string>& arguments, int input,
            const std::string& folder) {
  std::vector<char*> argv;
  argv.push_back(const_cast<char*>(path.c_str()));
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const int out = Create(folder + kOut);
  const int err = Create(folder + kErr);
  VX_CHECK(out >= 0 && err >= 0);
  const pid_t pid = fork();
  VX_CHECK(pid >= 0);
  if (pid == 0) {
    dup2(input, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execv(path.c_str(), argv.data());
    _exit(127);
  }
  close(out);
  close(err);
  return pid;
}

int StatusOf(pid_t pid) {
  int status = 0;
  VX_CHECK(waitpid(pid, &status, 0) == pid);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

ProgramResult RunProgram(const std::string& path, const std::vector<std::string>& arguments,
                         const std::string& standard_input) {
  const TempDir folder;
  const std::string in_path = folder.Write("in", standard_input);
  const int input = open(in_path.c_str(), O_RDONLY | O_CLOEXEC);
  const pid_t pid = Start(path, arguments, input, folder.path());
  close(input);
  const int exit_status = StatusOf(pid);
  return {exit_status, ReadFileOrDie(folder.path() + kOut), ReadFileOrDie(folder.path() + kErr)};
}

RunningProgram::RunningProgram(const std::string& path, const std::vector<std::string>& arguments) {
  int ends[2];
  VX_CHECK(pipe2(ends, O_CLOEXEC) == 0);
  input_ = ends[1];
  pid_ = Start(path, arguments, ends[0], folder_.path());
  close(ends[0]);
}

RunningProgram::~RunningProgram() {
  CloseInput();
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    StatusOf(pid_);
  }
}

void RunningProgram::Write(const std::string& text) {
  VX_CHECK(write(input_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

void RunningProgram::CloseInput() {
  if (input_ >= 0) close(input_);
  input_ = -1;
}

std::string RunningProgram::OutputSoFar() const { return ReadFileOrDie(folder_.path() + kOut); }

bool RunningProgram::WaitForLines(size_t lines) const {
  const auto limit = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (std::chrono::steady_clock::now() < limit) {
    const std::string text = OutputSoFar();
    if (static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) >= lines) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

void RunningProgram::Signal(int signal) const { kill(pid_, signal); }

ProgramResult RunningProgram::Wait() {
  const int exit_status = StatusOf(pid_);
  pid_ = -1;
  return {exit_status, ReadFileOrDie(folder_.path() + kOut), ReadFileOrDie(folder_.path() + kErr)};
}

}  // namespace vexact
