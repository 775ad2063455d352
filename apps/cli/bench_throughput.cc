// vexact bench throughput: all requests present at once, how fast are they answered?

#include <cmath>
#include <memory>
#include <utility>
#include <vector>

#include "cli/bench.h"
#include "cli/bench_run.h"
#include "cli/bench_workload.h"
#include "cli/fail.h"
#include "cli/session.h"
#include "common/flags.h"
#include "common/float_text.h"

namespace vexact {
namespace {

struct BenchFlags {
  EngineFlags engine;
  WorkloadFlags workload;
  std::string json;
};

// (name in the JSON file, what it is called on the screen, value)
struct Figure {
  const char* name;
  const char* label;
  double value;
};

std::vector<Figure> FiguresOf(const Measurement& run) {
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

int Run(const BenchFlags& flags) {
  InterruptSignals interrupts;
  int exit_status = kExitSuccess;
  const auto session = Session::Open(flags.engine, /*quiet=*/false, interrupts, exit_status);
  if (session == nullptr) return exit_status;
  const WorkloadSource source{session->model_config().vocab_size, session->tokenizer(),
                              flags.engine.config.seed};
  auto requests = MakeRequests(flags.workload, source);
  if (!requests.ok()) return Fail(requests.error());
  MeasureRun(session->front(), WarmupRequests(flags.workload, source), false, interrupts);
  session->front().ResetPrefixCache();
  const Measurement run =
      MeasureRun(session->front(), std::move(requests).value(), true, interrupts);
  if (!run.first_error.empty()) fmt::print(stderr, "vexact: {}\n", run.first_error);
  for (const Status& status : {Report(run, flags.json), session->Close()}) {
    if (!status.ok()) return Fail(status.error());
  }
  return run.num_failed == 0 ? kExitSuccess : kExitFailure;
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
  AddEngineFlags(*command, flags->engine);
  command->callback([flags, &chosen] { chosen = [flags] { return Run(*flags); }; });
}

}  // namespace vexact
