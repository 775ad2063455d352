#include "cli/step_profile.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>

#include "common/output_file.h"
#include "common/request_result.h"

namespace vexact {
namespace {

// As the source spells it; the linker's name where it is not one of C++ (`a` alone would be read as
// the type signed char).
std::string Demangled(const std::string& name) {
  if (!name.starts_with("_Z")) return name;
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status), std::free);
  return status == 0 ? std::string(text.get()) : name;
}

void AppendEvent(const std::string& name, const std::string& thread_and_args, uint64_t begin_ns,
                 uint64_t end_ns, std::string& json) {
  json += ",\n{\"ph\":\"X\",\"pid\":0,\"name\":";
  AppendJsonString(name, json);
  json += fmt::format(",\"ts\":{:.3f},\"dur\":{:.3f},{}}}", static_cast<double>(begin_ns) * 1e-3,
                      static_cast<double>(end_ns - begin_ns) * 1e-3, thread_and_args);
}

void AppendThreadName(uint32_t thread, const std::string& name, std::string& json) {
  json += fmt::format(
      "{{\"ph\":\"M\",\"pid\":0,\"tid\":{},\"name\":\"thread_name\",\"args\":{{\"name\":\"{}\"}}}}",
      thread, name);
}

}  // namespace

std::string ChromeTrace(uint64_t begin_ns, const std::vector<ProfiledStep>& steps,
                        const std::vector<KernelRecord>& kernels) {
  constexpr uint32_t kHost = 0;
  std::map<uint32_t, uint64_t> launch_end;
  std::map<uint32_t, int> streams;
  for (const KernelRecord& kernel : kernels) {
    uint64_t& end = launch_end[kernel.launch];
    end = std::max(end, kernel.end_ns);
    streams[kernel.stream];
  }
  std::string json = "{\"traceEvents\":[\n";
  AppendThreadName(kHost, "host", json);
  for (const auto& [stream, unused] : streams) {
    json += ",\n";
    AppendThreadName(kHost + 1 + stream, fmt::format("stream {}", stream), json);
  }
  uint64_t step_begin = begin_ns;
  for (const ProfiledStep& step : steps) {
    const auto args = fmt::format(
        "\"tid\":{},\"args\":{{\"step\":{},\"requests\":{},\"prefill_tokens\":{},"
        "\"decode_tokens\":{}}}",
        kHost, step.stats.step, step.stats.num_requests, step.stats.num_prefill_tokens,
        step.stats.num_decode_tokens);
    AppendEvent("step", args, step_begin - begin_ns, step.end_ns - begin_ns, json);
    step_begin = step.end_ns;
  }
  for (const KernelRecord& kernel : kernels) {
    const auto step =
        std::ranges::lower_bound(steps, launch_end[kernel.launch], {}, &ProfiledStep::end_ns);
    if (step == steps.end() || kernel.begin_ns < begin_ns) continue;
    const auto args = fmt::format("\"tid\":{},\"args\":{{\"step\":{},\"launch\":{}}}",
                                  kHost + 1 + kernel.stream, step->stats.step, kernel.launch);
    AppendEvent(Demangled(kernel.name), args, kernel.begin_ns - begin_ns, kernel.end_ns - begin_ns,
                json);
  }
  return json + "\n]}";
}

Result<std::unique_ptr<StepProfile>> StepProfile::Start(std::string path, int64_t delay,
                                                        int64_t most_steps) {
  std::unique_ptr<StepProfile> profile(new StepProfile(std::move(path), delay, most_steps));
  VX_ASSIGN_OR_RETURN(profile->trace_, KernelTrace::Start());
  return profile;
}

void StepProfile::Begin() {
  const std::lock_guard lock(mutex_);
  num_steps_ = 0;
  steps_.clear();
  begin_ns_ = trace_->Now();
}

void StepProfile::NoteStep(const StepStats& stats) {
  const std::lock_guard lock(mutex_);
  const uint64_t now = trace_->Now();
  if (num_steps_++ < delay_) {
    begin_ns_ = now;
  } else if (most_steps_ == 0 || num_steps_ <= delay_ + most_steps_) {
    steps_.push_back({now, stats});
  }
}

Status StepProfile::Write() {
  const std::lock_guard lock(mutex_);
  if (steps_.empty()) {
    return InvalidArgument("--profile: expected more than {} steps, found {}", delay_, num_steps_);
  }
  VX_ASSIGN_OR_RETURN(const auto kernels, trace_->Kernels(begin_ns_, steps_.back().end_ns));
  VX_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Open(path_));
  file.WriteLine(ChromeTrace(begin_ns_, steps_, kernels));
  return file.Close();
}

}  // namespace vexact
