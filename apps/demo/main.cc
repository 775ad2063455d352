// vexact_demo: the invariance proof. The same 12 requests run in many ways; every token id and
// every fp32 log-probability of every way is compared with the first way's, bit by bit; then a few
// ways again in mode variant, to see what that promise is worth. Exit status: 0 no word of mode
// invariant differs and every way did what it claims, 1 otherwise, 2 wrong usage.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <set>
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

// What the ways of one mode came to.
struct Verdict {
  Mode mode = Mode::kInvariant;
  size_t num_ways = 0;
  std::set<std::string> digests;
  int64_t tokens = 0;
  double seconds = 0.0;
  int64_t logprobs = 0;
  int64_t differing = 0;
  std::vector<std::string> broken_claims;

  bool failed() const {
    return !broken_claims.empty() || (mode == Mode::kInvariant && differing > 0);
  }
};

Result<Verdict> RunWays(WayRunner& runner, const std::vector<Way>& ways, bool fail_fast) {
  Verdict verdict;
  verdict.mode = ways[0].mode;
  std::vector<RequestResult> alone;
  fmt::print("mode {}\n", ModeName(verdict.mode));
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
    ++verdict.num_ways;
    verdict.digests.insert(report.digest);
    verdict.tokens += report.computed_tokens;
    verdict.seconds += report.seconds;
    verdict.logprobs += i == 0 ? 0 : comparison.logprobs;
    verdict.differing += comparison.differing;
    if (std::string claim = BrokenClaim(ways[i], report); !claim.empty()) {
      verdict.broken_claims.push_back(fmt::format("{}: {}", ways[i].name, claim));
    }
    if (fail_fast && verdict.failed()) break;
  }
  return verdict;
}

void PrintVerdict(const Verdict& verdict) {
  fmt::print(
      "mode {}: {} ways, distinct digests: {}; {} log-probabilities compared with those of each "
      "request "
      "alone, {} words differ; {} tokens computed in {:.0f} s, {:.1f} tokens/s\n",
      ModeName(verdict.mode), verdict.num_ways, verdict.digests.size(), verdict.logprobs,
      verdict.differing, verdict.tokens, verdict.seconds,
      static_cast<double>(verdict.tokens) / verdict.seconds);
  for (const std::string& claim : verdict.broken_claims) fmt::print("FAILED: {}\n", claim);
}

// Whether mode invariant kept its promise and every way did what it claims. Mode variant is shown
// beside it: it promises nothing, so its digests decide nothing.
Result<bool> Prove(const std::string& path, const std::string& device, bool fail_fast) {
  VX_ASSIGN_OR_RETURN(auto backend, MakeBackend(device));
  VX_ASSIGN_OR_RETURN(LoadedModel model, LoadModel({.path = path}, std::move(backend), {}));
  VX_ASSIGN_OR_RETURN(auto variant_backend, OpenBackend(device, Mode::kVariant));
  VX_ASSIGN_OR_RETURN(auto variant, model.model->On(std::move(variant_backend)));
  WayRunner runner(std::move(model), std::move(variant));
  VX_ASSIGN_OR_RETURN(const Verdict invariant, RunWays(runner, InvariantWays(), fail_fast));
  PrintVerdict(invariant);
  if (invariant.differing > 0) fmt::print("FAILED: the answers are not the same\n");
  if (fail_fast && invariant.failed()) return false;
  VX_ASSIGN_OR_RETURN(const Verdict free, RunWays(runner, VariantWays(), fail_fast));
  PrintVerdict(free);
  const bool proven = !invariant.failed() && !free.failed();
  if (proven) fmt::print("proven: the same bits in every way of mode invariant\n");
  return proven;
}

int Run(const std::string& path, const std::string& device, bool fail_fast) {
  const Result<bool> proven = Prove(path, device, fail_fast);
  if (!proven.ok()) {
    fmt::print(stderr, "vexact_demo: {}\n", proven.error().message);
    return kExitFailure;
  }
  return *proven ? kExitSuccess : kExitFailure;
}

}  // namespace
}  // namespace vexact

int main(int argc, char** argv) {
  CLI::App app("Runs 12 requests in many ways and compares every token and log-probability bit.",
               "vexact_demo");
  app.footer(
      "Exit status: 0 no word of mode invariant differs and every way did what it claims, 1 "
      "otherwise, 2 wrong usage.");
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
