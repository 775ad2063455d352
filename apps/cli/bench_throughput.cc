// vexact bench throughput: all requests present at once, how fast are they answered?

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "checkpoint/mapped_file.h"
#include "cli/bench_workload.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/session.h"
#include "cli/step_profile.h"
#include "common/flags.h"
#include "common/float_text.h"
#include "common/progress.h"

namespace vexact {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchFlags {
  EngineFlags engine;
  int64_t num_requests = 0;  // 0: 16 random ones, or all of a file
  int32_t input_len = 128;
  int32_t output_len = 64;
  std::string input;
  std::string trace;
  std::string json;
  int32_t warmup_requests = 2;
  std::string profile;
  int64_t profile_delay_iterations = 0;
  int64_t profile_max_iterations = 0;  // 0: all
};

// What one run of requests measured. Seconds are since the first was submitted.
struct Measurement {
  int64_t num_requests = 0;
  int64_t num_failed = 0;
  int64_t prompt_tokens = 0;
  int64_t output_tokens = 0;
  double wall_s = 0.0;
  int64_t num_steps = 0;
  double host_ms = 0.0;             // of all steps (StepStats)
  double idle_ms = 0.0;             // likewise
  std::vector<double> latencies_s;  // of the requests that were answered, ascending
  std::string first_error;

  // The latency that this share of the requests does not exceed (nearest rank).
  double Percentile(double share) const {
    if (latencies_s.empty()) return 0.0;
    const auto rank = static_cast<size_t>(std::ceil(share * latencies_s.size()));
    return latencies_s[std::clamp<size_t>(rank, 1, latencies_s.size()) - 1];
  }
  double Average() const {
    double sum = 0.0;
    for (const double latency : latencies_s) sum += latency;
    return latencies_s.empty() ? 0.0 : sum / latencies_s.size();
  }
};

// Submits requests at once and gathers what the engine's thread reports.
class ThroughputRun {
 public:
  explicit ThroughputRun(EngineFront& front) : front_(front) {}

  // Shows progress; a signal aborts what is left.
  Measurement Measure(std::vector<Request> requests, bool show_progress,
                      InterruptSignals& interrupts) {
    const auto total = static_cast<int64_t>(requests.size());
    const EngineStats before = front_.Stats();
    start_ = Clock::now();
    measured_.num_requests = total;
    std::vector<RequestId> ids;
    for (Request& request : requests) {
      request.sampling.ignore_eos = true;
      const auto callback = [this](const Output& output) { Note(output); };
      const Result<RequestId> id = front_.Submit(std::move(request), callback);
      if (id.ok()) {
        ids.push_back(*id);
      } else {
        NoteFailure(id.error().message);
      }
    }
    Wait(total, ids, show_progress, interrupts);
    measured_.wall_s = SecondsSinceStart();
    const EngineStats after = front_.Stats();
    measured_.num_steps = after.num_steps - before.num_steps;
    measured_.host_ms = after.host_ms - before.host_ms;
    measured_.idle_ms = after.idle_ms - before.idle_ms;
    std::sort(measured_.latencies_s.begin(), measured_.latencies_s.end());
    return std::move(measured_);
  }

 private:
  double SecondsSinceStart() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
  }

  void Note(const Output& output) {
    const std::lock_guard lock(mutex_);
    measured_.output_tokens += static_cast<int64_t>(output.token_ids.size());
    if (!output.finished()) return;
    RequestState& request = requests_[output.request_id];
    request.failed = request.failed || output.finish_reason == FinishReason::kError ||
                     output.finish_reason == FinishReason::kAbort;
    if (!output.error.empty()) measured_.first_error = output.error;
    if (++request.samples_done < output.num_samples) return;
    if (request.failed) {
      ++measured_.num_failed;
    } else {
      measured_.latencies_s.push_back(SecondsSinceStart());
      measured_.prompt_tokens += static_cast<int64_t>(output.prompt_token_ids->size());
    }
    ++num_done_;
    done_.notify_all();
  }

  void NoteFailure(const std::string& error) {
    const std::lock_guard lock(mutex_);
    ++measured_.num_failed;
    measured_.first_error = error;
    ++num_done_;
  }

  void Wait(int64_t total, const std::vector<RequestId>& ids, bool show_progress,
            InterruptSignals& interrupts) {
    ProgressBar progress(show_progress);
    bool aborted = false;
    std::unique_lock lock(mutex_);
    while (num_done_ < total) {
      done_.wait_for(lock, std::chrono::milliseconds(100));
      progress.Update({.done = num_done_, .total = total, .tokens = measured_.output_tokens});
      if (aborted || !interrupts.Triggered()) continue;
      aborted = true;
      lock.unlock();
      for (const RequestId id : ids) front_.Abort(id);
      lock.lock();
    }
  }

  struct RequestState {
    int32_t samples_done = 0;
    bool failed = false;
  };

  EngineFront& front_;
  Clock::time_point start_;
  std::mutex mutex_;  // guards everything below
  std::condition_variable done_;
  Measurement measured_;
  std::map<RequestId, RequestState> requests_;
  int64_t num_done_ = 0;
};

// (name in the JSON file, what it is called on the screen, value)
struct Figure {
  const char* name;
  const char* label;
  double value;
};

std::vector<Figure> FiguresOf(const Measurement& run) {
  const auto steps = static_cast<double>(std::max<int64_t>(run.num_steps, 1));
  const auto rate = [&run](int64_t count) {
    return run.wall_s > 0 ? static_cast<double>(count) / run.wall_s : 0.0;
  };
  return {
      {"num_requests", "requests", static_cast<double>(run.num_requests)},
      {"num_failed", "failed", static_cast<double>(run.num_failed)},
      {"prompt_tokens", "prompt tokens", static_cast<double>(run.prompt_tokens)},
      {"output_tokens", "output tokens", static_cast<double>(run.output_tokens)},
      {"wall_s", "wall time (s)", run.wall_s},
      {"requests_per_s", "requests/s", rate(run.num_requests - run.num_failed)},
      {"total_tokens_per_s", "total tokens/s", rate(run.prompt_tokens + run.output_tokens)},
      {"output_tokens_per_s", "output tokens/s", rate(run.output_tokens)},
      {"average_latency_s", "average latency (s)", run.Average()},
      {"p50_latency_s", "P50 latency (s)", run.Percentile(0.50)},
      {"p95_latency_s", "P95 latency (s)", run.Percentile(0.95)},
      {"num_steps", "steps", static_cast<double>(run.num_steps)},
      {"host_us_per_step", "host time/step (us)", run.host_ms * 1e3 / steps},
      {"idle_percent", "device idle (%)", run.wall_s > 0 ? run.idle_ms * 0.1 / run.wall_s : 0.0},
  };
}

Status Report(const Measurement& run, const std::string& json_path) {
  const std::vector<Figure> figures = FiguresOf(run);
  VX_ASSIGN_OR_RETURN(OutputFile output, OutputFile::Open("-"));
  std::string json = "{";
  for (const Figure& figure : figures) {
    const bool whole = figure.value == std::floor(figure.value) && figure.value < 1e15;
    output.WriteLine(fmt::format(
        "{:<20} {:>12}", figure.label,
        whole ? fmt::format("{:.0f}", figure.value) : fmt::format("{:.3f}", figure.value)));
    json += fmt::format("{}\"{}\":", json.size() > 1 ? "," : "", figure.name);
    AppendJsonDouble(figure.value, json);
  }
  VX_RETURN_IF_ERROR(output.Close());
  if (json_path.empty()) return {};
  VX_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Open(json_path));
  file.WriteLine(json + "}");
  return file.Close();
}

Result<std::vector<Request>> MakeRequests(const BenchFlags& flags, int32_t vocab_size) {
  if (!flags.input.empty()) return ReadRequests(flags.input, flags.num_requests);
  std::vector<RequestLengths> lengths;
  if (flags.trace.empty()) {
    lengths.assign(flags.num_requests == 0 ? 16 : flags.num_requests,
                   {flags.input_len, flags.output_len});
  } else {
    VX_ASSIGN_OR_RETURN(const auto csv, MappedFile::Open(flags.trace));
    VX_ASSIGN_OR_RETURN(lengths, ParseTrace(csv->text(), flags.trace, flags.num_requests));
  }
  return RandomRequests(lengths, vocab_size, flags.engine.config.seed);
}

// None is asked for, or one that hears of every step of `engine`.
Result<std::unique_ptr<StepProfile>> StartProfile(const BenchFlags& flags, EngineFlags& engine) {
  if (flags.profile.empty()) return std::unique_ptr<StepProfile>();
  VX_ASSIGN_OR_RETURN(auto profile,
                      StepProfile::Start(flags.profile, flags.profile_delay_iterations,
                                         flags.profile_max_iterations));
  engine.config.on_step = [profile = profile.get()](const StepStats& stats) {
    profile->NoteStep(stats);
  };
  return profile;
}

int Run(const BenchFlags& flags) {
  InterruptSignals interrupts;
  int exit_status = kExitSuccess;
  EngineFlags engine = flags.engine;
  const auto profile = StartProfile(flags, engine);  // outlives the session
  if (!profile.ok()) return Fail(profile.error());
  const auto session = Session::Open(engine, /*quiet=*/false, interrupts, exit_status);
  if (session == nullptr) return exit_status;
  const int32_t vocab_size = session->model_config().vocab_size;
  auto requests = MakeRequests(flags, vocab_size);
  if (!requests.ok()) return Fail(requests.error());
  if (flags.warmup_requests > 0) {
    const std::vector<RequestLengths> lengths(flags.warmup_requests, {32, 8});
    ThroughputRun(session->front())
        .Measure(RandomRequests(lengths, vocab_size, ~flags.engine.config.seed), false, interrupts);
    session->front().ResetPrefixCache();
  }
  if (*profile) (*profile)->Begin();
  const Measurement run =
      ThroughputRun(session->front()).Measure(std::move(requests).value(), true, interrupts);
  if (!run.first_error.empty()) fmt::print(stderr, "vexact: {}\n", run.first_error);
  const Status profiled = *profile ? (*profile)->Write() : Status();
  for (const Status& status : {Report(run, flags.json), profiled, session->Close()}) {
    if (!status.ok()) return Fail(status.error());
  }
  return run.num_failed == 0 ? kExitSuccess : kExitFailure;
}

template <typename T>
void AddCount(CLI::App& app, const std::string& name, T& target, T least, const std::string& help) {
  const auto set = [&target, least](const std::string& text) -> Status {
    VX_ASSIGN_OR_RETURN(const T value, ParseNumber<T>(text));
    if (value < least) return InvalidArgument("expected at least {}, found {}", least, value);
    target = value;
    return {};
  };
  AddTextFlag(app, name, set, help)->type_name("INT");
}

void AddProfileFlags(CLI::App& app, BenchFlags& flags) {
  CLI::Option* const profile =
      app.add_option("--profile", flags.profile,
                     "write steps and the GPU's kernels as a Chrome trace to this file (CUPTI)");
  profile->type_name("FILE.json");
  AddCount<int64_t>(app, "--profile-delay-iterations", flags.profile_delay_iterations, 0,
                    "steps before the profile begins [0]");
  AddCount<int64_t>(app, "--profile-max-iterations", flags.profile_max_iterations, 1,
                    "steps of the profile at most [all]");
}

}  // namespace

void AddBench(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<BenchFlags>();
  CLI::App* const bench = app.add_subcommand("bench", "Benchmarks");
  bench->require_subcommand(1);
  CLI::App* const command =
      bench->add_subcommand("throughput", "All requests present at once: how fast?");
  command->footer(
      "Stop tokens are ignored, so that every output has its full length. Loading and warm-up are "
      "outside the clock.\nExit status: 0 every request was answered, 1 one failed or the run did, "
      "2 wrong usage.");
  AddCount<int64_t>(*command, "--num-requests", flags->num_requests, 1,
                    "requests [16 random ones; all of --input or --trace]");
  AddCount<int32_t>(*command, "--input-len", flags->input_len, 1,
                    "tokens of a random prompt [128]");
  AddCount<int32_t>(*command, "--output-len", flags->output_len, 1,
                    "tokens of a random request's output [64]");
  auto* const input =
      command->add_option("--input", flags->input, "requests as `vexact generate` reads them");
  input->type_name("FILE.jsonl|-");
  command
      ->add_option("--trace", flags->trace,
                   "random requests with the lengths of this table: columns prompt_tokens (or "
                   "prompt_len) and output_tokens (or output_len)")
      ->type_name("FILE.csv")
      ->excludes(input);
  AddCount<int32_t>(*command, "--warmup-requests", flags->warmup_requests, 0,
                    "requests before the clock starts [2]");
  command->add_option("--json", flags->json, "also write the figures to this file")
      ->type_name("FILE");
  AddProfileFlags(*command, *flags);
  AddEngineFlags(*command, flags->engine);
  command->callback([flags, &chosen] { chosen = [flags] { return Run(*flags); }; });
}

}  // namespace vexact
