// vexact bench throughput: all requests present at once, how fast are they answered?

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "cli/bench.h"
#include "cli/bench_run.h"
#include "cli/bench_workload.h"
#include "cli/fail.h"
#include "cli/session.h"
#include "cli/step_profile.h"
#include "common/flags.h"
#include "common/float_text.h"

namespace vexact {
namespace {

struct BenchFlags {
  EngineFlags engine;
  WorkloadFlags workload;
  std::string json;
  std::string profile;
  int64_t profile_delay_iterations = 0;
  int64_t profile_max_iterations = 0;  // 0: all
};

// (name in the JSON file, what it is called on the screen, value)
struct Figure {
  const char* name;
  const char* label;
  double value;
};

std::vector<Figure> FiguresOf(const Measurement& run) {
  const auto steps = static_cast<double>(std::max<int64_t>(run.num_steps, 1));
  return {
      {"num_requests", "requests", static_cast<double>(run.num_requests)},
      {"num_failed", "failed", static_cast<double>(run.num_failed)},
      {"prompt_tokens", "prompt tokens", static_cast<double>(run.prompt_tokens)},
      {"output_tokens", "output tokens", static_cast<double>(run.output_tokens)},
      {"wall_s", "wall time (s)", run.wall_s},
      {"requests_per_s", "requests/s", run.PerSecond(run.num_requests - run.num_failed)},
      {"total_tokens_per_s", "total tokens/s",
       run.PerSecond(run.prompt_tokens + run.output_tokens)},
      {"output_tokens_per_s", "output tokens/s", run.PerSecond(run.output_tokens)},
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
  output.WriteLine("THROUGHPUT SUMMARY");
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
  const WorkloadSource source{session->model_config().vocab_size, session->tokenizer(),
                              flags.engine.config.seed};
  auto requests = MakeRequests(flags.workload, source, interrupts);
  if (!requests.ok()) return Fail(requests.error());
  const std::vector<Request> warmup =
      WarmupRequests(flags.workload, source, session->front().config().max_model_len);
  MeasureRun(session->front(), warmup, false, interrupts);
  session->front().ResetPrefixCache();
  if (*profile) (*profile)->Begin();
  const Measurement run =
      MeasureRun(session->front(), std::move(requests).value(), true, interrupts);
  if (!run.first_error.empty()) fmt::print(stderr, "vexact: {}\n", run.first_error);
  const Status profiled = *profile ? (*profile)->Write() : Status();
  for (const Status& status : {Report(run, flags.json), profiled, session->Close()}) {
    if (!status.ok()) return Fail(status.error());
  }
  return run.num_failed == 0 ? kExitSuccess : kExitFailure;
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

void AddBenchThroughput(CLI::App& bench, Command& chosen) {
  const auto flags = std::make_shared<BenchFlags>();
  CLI::App* const command =
      bench.add_subcommand("throughput", "All requests present at once: how fast?");
  command->footer(
      "Stop tokens are ignored, so that every output has its full length. Loading and warm-up are "
      "outside the clock.\nExit status: 0 every request was answered, 1 one failed or the run did, "
      "2 wrong usage.");
  AddWorkloadFlags(*command, flags->workload);
  command->add_option("--json", flags->json, "also write the figures to this file")
      ->type_name("FILE");
  AddProfileFlags(*command, *flags);
  AddEngineFlags(*command, flags->engine);
  command->callback([flags, &chosen] { chosen = [flags] { return Run(*flags); }; });
}

}  // namespace vexact
