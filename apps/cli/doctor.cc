// vexact doctor: is this device what it should be, and are its bits those of the CPU?

#include <chrono>
#include <memory>
#include <utility>

#include "base/threads.h"
#include "cli/commands.h"
#include "cli/device_speed.h"
#include "cli/digest_file.h"
#include "cli/fail.h"
#include "common/engine_flags.h"
#include "common/flags.h"
#include "common/output_file.h"
#include "engine/attention_choice.h"
#include "engine/load_model.h"
#include "kernels/self_check/digests.h"
#include "kernels/self_check/self_check.h"

namespace vexact {
namespace {

struct DoctorFlags {
  std::string device = "auto";
  std::string attn_impl;  // "": fa-invariant
  int32_t threads = 0;    // 0: one a core
  bool quick = false;
  std::string record_digests;
  std::string compare_digests;
  int64_t digest_rows = 2048;
};

constexpr const char* kFooter =
    R"(The CPU's fast kernels are compared with the plain functions of docs/numerics.md, a GPU's with the CPU's.
--record-digests runs an operator at its most rows, and at every number of rows up to --digest-rows;
--compare-digests recomputes what the file holds: all blocks of rows up to --digest-rows, single rows beyond.
Exit status: 0 all bits are right, 1 some are not or the run failed, 2 wrong usage.)";

// The linear layers of Qwen3-1.7B.
constexpr LinearProblem kLayers[] = {{4096, 2048, false, false},
                                     {2048, 2048, false, false},
                                     {12288, 2048, false, false},
                                     {2048, 6144, false, false}};
constexpr LinearProblem kHead = {151936, 2048, false, true};
constexpr int64_t kLinearRows[] = {1, 2, 8, 16, 32, 64, 128, 256, 512, 2048};
constexpr int64_t kHeadRows[] = {1, 8, 64};

class Doctor {
 public:
  Doctor(const DoctorFlags& flags, const Backend& device, OutputFile& output, ThreadPool pool)
      : flags_(flags), device_(device), output_(output), pool_(std::move(pool)) {}

  // Whether every bit is right.
  Result<bool> Run() {
    const auto cpu = MakeCpuBackend();
    Print("device           {}", device_.Description());
    if (!device_.UsesHostMemory()) Print("host             {}", cpu->Description());
    Print("threads          {}", pool_.num_threads());
    if (!flags_.quick) {
      VX_RETURN_IF_ERROR(PrintSpeed());
      VX_RETURN_IF_ERROR(PrepareLinears());
    }
    VX_RETURN_IF_ERROR(Check("CPU against the plain functions", *cpu, *MakeReferenceBackend(),
                             SelfCheckScope::kShort));
    if (!device_.UsesHostMemory()) {
      VX_RETURN_IF_ERROR(Check("GPU against the CPU", device_, *cpu,
                               flags_.quick ? SelfCheckScope::kShort : SelfCheckScope::kFull));
    }
    if (!flags_.record_digests.empty()) VX_RETURN_IF_ERROR(Record());
    if (!flags_.compare_digests.empty()) VX_RETURN_IF_ERROR(Compare());
    Print("{}", all_right_ ? "all bits are right" : "SOME BITS ARE WRONG");
    return all_right_;
  }

 private:
  template <typename... Args>
  void Print(fmt::format_string<Args...> format, Args&&... args) {
    output_.WriteLine(fmt::format(format, std::forward<Args>(args)...));
    output_.Flush();
  }

  Status PrintSpeed() {
    VX_ASSIGN_OR_RETURN(const DeviceSpeed speed, MeasureDevice(device_, pool_));
    Print("memory           {:.0f} GB/s (embedding)", speed.bandwidth * 1e-9);
    Print("matrix           {:.3f} TFLOP/s (linear, {} x 4096 -> 4096, bf16)",
          speed.matrix_rate * 2e-12, speed.matrix_rows);
    return {};
  }

  // Before the self-check, whose linears then run on what was chosen.
  Status PrepareLinears() {
    VX_RETURN_IF_ERROR(device_.PrepareLinear(kLayers, kLinearRows));
    VX_RETURN_IF_ERROR(device_.PrepareLinear({&kHead, 1}, kHeadRows));
    for (const std::string& line : device_.LinearChoices()) Print("linear           {}", line);
    return {};
  }

  Status Check(std::string_view title, const Backend& device, const Backend& expected,
               SelfCheckScope scope) {
    VX_ASSIGN_OR_RETURN(const SelfCheckReport report, RunSelfCheck(device, expected, scope, pool_));
    Print("self-check       {}: {}", title, scope == SelfCheckScope::kFull ? "full" : "short");
    double milliseconds = 0.0;
    for (size_t i = 0; i < report.results.size();) {
      const std::string& op = report.results[i].op;
      size_t checks = 0;
      uint64_t words = 0;
      uint64_t differing = 0;
      double op_milliseconds = 0.0;
      for (; i < report.results.size() && report.results[i].op == op; ++i, ++checks) {
        words += report.results[i].words;
        differing += report.results[i].differing;
        op_milliseconds += report.results[i].milliseconds;
      }
      milliseconds += op_milliseconds;
      Print("  {:<14} {:>3} checks {:>10} words {:>9.1f} ms  {}", op, checks, words,
            op_milliseconds,
            differing == 0 ? std::string("equal") : fmt::format("{} DIFFER", differing));
    }
    for (const SelfCheckResult& result : report.results) {
      if (result.differing == 0) continue;
      all_right_ = false;
      Print("  {} ({}): {} of {} words differ; {}", result.op, result.shape, result.differing,
            result.words, result.first);
    }
    Print("  {} checks in {:.2f} s", report.results.size(), milliseconds * 1e-3);
    return {};
  }

  Status Record() {
    DigestFile file{device_.Description(), {}};
    for (const DigestCase& digest_case : DigestCases()) {
      const auto start = std::chrono::steady_clock::now();
      VX_ASSIGN_OR_RETURN(OperatorDigests digests,
                          RecordDigests(digest_case, flags_.digest_rows, device_, pool_));
      file.operators.push_back(std::move(digests));
      Print("recorded         {}: equal at all numbers of rows up to {}, {:.2f} s",
            digest_case.name, flags_.digest_rows, SecondsSince(start));
    }
    return WriteDigestFile(flags_.record_digests, file);
  }

  Status Compare() {
    VX_ASSIGN_OR_RETURN(const DigestFile file, ReadDigestFile(flags_.compare_digests));
    const std::vector<DigestCase> cases = DigestCases();
    if (file.operators.size() != cases.size()) {
      return InvalidArgument("{}: expected {} operators, found {}", flags_.compare_digests,
                             cases.size(), file.operators.size());
    }
    Print("digests          recorded on {}", file.device);
    for (size_t i = 0; i < cases.size(); ++i) {
      if (file.operators[i].name != cases[i].name) {
        return InvalidArgument("{}: expected \"{}\", found \"{}\"", flags_.compare_digests,
                               cases[i].name, file.operators[i].name);
      }
      const auto start = std::chrono::steady_clock::now();
      VX_ASSIGN_OR_RETURN(
          const DigestComparison comparison,
          CompareDigests(cases[i], file.operators[i], flags_.digest_rows, device_, pool_));
      all_right_ = all_right_ && comparison.differing.empty();
      Print("compared         {}: {} rows in {} digests, {:.2f} s, {}", cases[i].name,
            comparison.num_rows, comparison.num_blocks, SecondsSince(start),
            comparison.differing.empty()
                ? std::string("equal")
                : fmt::format("DIFFERENT: {}", fmt::join(comparison.differing, ", ")));
    }
    return {};
  }

  static double SecondsSince(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  const DoctorFlags& flags_;
  const Backend& device_;
  OutputFile& output_;
  ThreadPool pool_;
  bool all_right_ = true;
};

Result<bool> Examine(const DoctorFlags& flags, AttentionKernels attention) {
  VX_ASSIGN_OR_RETURN(OutputFile output, OutputFile::Open("-"));
  VX_ASSIGN_OR_RETURN(const auto device, OpenBackend(flags.device, Mode::kInvariant, attention));
  VX_ASSIGN_OR_RETURN(ThreadPool pool,
                      ThreadPool::Create(flags.threads > 0 ? flags.threads : HardwareThreads()));
  VX_ASSIGN_OR_RETURN(const bool all_right, Doctor(flags, *device, output, std::move(pool)).Run());
  VX_RETURN_IF_ERROR(output.Close());
  return all_right;
}

int Run(const DoctorFlags& flags) {
  const auto attention = ChooseAttention({.attn_impl = flags.attn_impl, .device = {}});
  if (!attention.ok()) return Fail(attention.error(), kExitUsage);
  const Result<bool> all_right = Examine(flags, (*attention)->kernels);
  if (!all_right.ok()) return Fail(all_right.error());
  return *all_right ? kExitSuccess : kExitFailure;
}

}  // namespace

void AddDoctor(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<DoctorFlags>();
  CLI::App* const command =
      app.add_subcommand("doctor", "The device, its speed, and whether its bits are right");
  command->footer(kFooter);
  command
      ->add_option("--device", flags->device, "cpu, cuda, or auto: the GPU if there is one [auto]")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}))
      ->type_name("NAME");
  command
      ->add_option("--attn-impl", flags->attn_impl,
                   "the attention kernels of a GPU to look at, by their name in mode invariant "
                   "[fa-invariant]")
      ->type_name("NAME");
  AddThreadsFlag(*command, flags->threads, "threads of the CPU [one a core]");
  command->add_flag("--quick", flags->quick,
                    "the short self-check alone, as it runs at the start of an engine");
  command
      ->add_option("--record-digests", flags->record_digests,
                   "write digests of every operator at the shapes of two models")
      ->type_name("FILE.json");
  command
      ->add_option("--compare-digests", flags->compare_digests,
                   "recompute digests that another device recorded")
      ->type_name("FILE.json");
  AddCount<int64_t>(
      *command, "--digest-rows", flags->digest_rows, 1,
      "rows that are recomputed, from the first, and numbers of rows that are recorded [2048]");
  command->callback([flags, &chosen] { chosen = [flags] { return Run(*flags); }; });
}

}  // namespace vexact
