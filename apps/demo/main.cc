// vexact_demo: the invariance proof. The same 12 requests run in many ways; every token id and
// every fp32 log-probability of every way is compared with the first way's, bit by bit. Exit
// status: 0 no word differs and every way did what it claims, 1 otherwise, 2 wrong usage.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <utility>

#include "common/engine_flags.h"
#include "common/flags.h"
#include "demo/ways.h"
#include "kernels/backend.h"

namespace vexact {
namespace {

using Clock = std::chrono::steady_clock;

// The way that is running, on standard error: a line that counts on a terminal, one line a way
// elsewhere.
class WayProgress {
 public:
  WayProgress(const std::string& name, size_t number, size_t total)
      : title_(fmt::format("way {}/{}: {}", number, total, name)) {
    if (!terminal_) fmt::print(stderr, "{}\n", title_);
  }
  ~WayProgress() {
    if (terminal_) fmt::print(stderr, "\r\x1b[K");
  }
  WayProgress(const WayProgress&) = delete;
  WayProgress& operator=(const WayProgress&) = delete;

  void Show(int64_t tokens) const {
    if (!terminal_) return;
    const std::chrono::duration<double> elapsed = Clock::now() - start_;
    fmt::print(stderr, "\r\x1b[K{}: {} tokens, {:.1f} tokens/s", title_, tokens,
               static_cast<double>(tokens) / elapsed.count());
    std::fflush(stderr);
  }

 private:
  const bool terminal_ = isatty(STDERR_FILENO) == 1;
  const std::string title_;
  const Clock::time_point start_ = Clock::now();
};

void PrintHeader() {
  fmt::print("{:<34} {:<16} {:>8} {:>8} {:>6} {:>5} {:>6} {:>9} {:>6} {:>8} {:>6}\n", "way",
             "digest", "requests", "logprobs", "differ", "batch", "chunks", "preempted", "cached",
             "tokens/s", "s");
}

void PrintRow(const Way& way, const WayReport& report, const Comparison& comparison) {
  fmt::print("{:<34} {:<16} {:>8} {:>8} {:>6} {:>5} {:>6} {:>9} {:>6} {:>8.1f} {:>6.1f}\n",
             way.name, report.digest.substr(0, 16), report.num_requests, comparison.logprobs,
             comparison.differing, report.largest_batch, report.prefill_chunks, report.preemptions,
             report.cached_tokens, static_cast<double>(report.computed_tokens) / report.seconds,
             report.seconds);
  std::fflush(stdout);
}

struct Verdict {
  int64_t tokens = 0;
  int64_t logprobs = 0;
  int64_t differing = 0;
  std::vector<std::string> broken_claims;
};

Result<Verdict> Prove(LoadedModel model, bool fail_fast) {
  Verdict verdict;
  WayRunner runner(std::move(model));
  const std::vector<Way> ways = AllWays();
  std::vector<RequestResult> alone;
  PrintHeader();
  for (size_t i = 0; i < ways.size(); ++i) {
    WayReport report;
    {
      const WayProgress progress(ways[i].name, i + 1, ways.size());
      VX_ASSIGN_OR_RETURN(
          report, runner.Run(ways[i], [&progress](int64_t tokens) { progress.Show(tokens); }));
    }
    if (i == 0) alone = report.results;
    const Comparison comparison = Compare(alone, report.results);
    PrintRow(ways[i], report, comparison);
    verdict.tokens += report.computed_tokens;
    verdict.logprobs += i == 0 ? 0 : comparison.logprobs;
    verdict.differing += comparison.differing;
    if (std::string claim = BrokenClaim(ways[i], report); !claim.empty()) {
      verdict.broken_claims.push_back(fmt::format("{}: {}", ways[i].name, claim));
    }
    if (fail_fast && (verdict.differing > 0 || !verdict.broken_claims.empty())) break;
  }
  return verdict;
}

int Run(const std::string& path, const std::string& device, bool fail_fast) {
  const Clock::time_point start = Clock::now();
  const auto backend = MakeBackend(device);
  if (!backend.ok()) {
    fmt::print(stderr, "vexact_demo: {}\n", backend.error().message);
    return kExitFailure;
  }
  Result<LoadedModel> model = LoadModel({.path = path}, *backend, {});
  if (!model.ok()) {
    fmt::print(stderr, "vexact_demo: {}\n", model.error().message);
    return kExitFailure;
  }
  const Result<Verdict> verdict = Prove(std::move(model).value(), fail_fast);
  if (!verdict.ok()) {
    fmt::print(stderr, "vexact_demo: {}\n", verdict.error().message);
    return kExitFailure;
  }
  const std::chrono::duration<double> elapsed = Clock::now() - start;
  fmt::print(
      "{} log-probabilities compared with those of each request alone, {} words differ; "
      "{} tokens computed in {:.0f} s\n",
      verdict->logprobs, verdict->differing, verdict->tokens, elapsed.count());
  for (const std::string& claim : verdict->broken_claims) {
    fmt::print("FAILED: {}\n", claim);
  }
  if (verdict->differing > 0) fmt::print("FAILED: the answers are not the same\n");
  const bool proven = verdict->differing == 0 && verdict->broken_claims.empty();
  if (proven) fmt::print("proven: the same bits in every way\n");
  return proven ? kExitSuccess : kExitFailure;
}

}  // namespace
}  // namespace vexact

int main(int argc, char** argv) {
  CLI::App app("Runs 12 requests in many ways and compares every token and log-probability bit.",
               "vexact_demo");
  app.footer(
      "Exit status: 0 no word differs and every way did what it claims, 1 otherwise, 2 wrong "
      "usage.");
  std::string model;
  vexact::AddModelFlag(app, model);
  std::string device = "auto";
  app.add_option("--device", device, "cpu, cuda, or auto: the GPU if there is one [auto]")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}));
  bool fail_fast = false;
  app.add_flag("--fail-fast", fail_fast, "stop after the first way that fails");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? vexact::kExitSuccess : vexact::kExitUsage;
  }
  return vexact::Run(model, device, fail_fast);
}
