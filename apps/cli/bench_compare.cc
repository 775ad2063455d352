// vexact bench compare: the same requests in both modes, in turn, in one process: what does mode
// invariant cost?

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <memory>
#include <utility>
#include <vector>

#include "base/threads.h"
#include "cli/bench.h"
#include "cli/bench_workload.h"
#include "cli/compare_report.h"
#include "cli/device_speed.h"
#include "cli/fail.h"
#include "cli/session.h"
#include "common/engine_flags.h"
#include "common/flags.h"
#include "common/interrupt.h"
#include "common/output_file.h"
#include "engine/engine.h"

namespace vexact {
namespace {

constexpr Mode kModes[] = {Mode::kInvariant, Mode::kVariant};

struct CompareFlags {
  EngineFlags engine;  // its attn_impl: "", or what ParseAttentionPair reads
  WorkloadFlags workload;
  int32_t repeats = 5;
  std::string out = ".";
};

std::string WorkloadText(const WorkloadFlags& flags, size_t num_requests) {
  std::string source = fmt::format("random prompts of {} tokens", flags.input_len);
  for (const std::string& file : {flags.input, flags.trace, flags.dataset}) {
    if (!file.empty()) source = file;
  }
  return fmt::format("{} requests, all at once: {}", num_requests, source);
}

// bf16 words of the linears that a decode step multiplies by: of experts, those of one token.
int64_t WeightWordsOf(const ModelConfig& c) {
  const int64_t hidden = c.hidden_size;
  const int64_t attention = int64_t{2} * (c.num_heads + c.num_kv_heads) * c.head_dim * hidden;
  const int64_t dense = 3 * hidden * c.intermediate_size;
  const int64_t experts = hidden * c.moe.num_experts +
                          3 * hidden * c.moe.moe_intermediate_size * c.moe.num_experts_per_tok;
  const int64_t mlp = c.moe.num_experts > 0 ? experts : dense;
  return c.num_layers * (attention + mlp) + hidden * c.vocab_size;
}

// Of --attn-impl: of mode invariant and of mode variant. One name stands for both.
Result<std::array<std::string, 2>> ParseAttentionPair(const std::string& text) {
  const size_t comma = text.find(',');
  if (comma == std::string::npos) return std::array{text, text};
  std::array<std::string, 2> pair = {text.substr(0, comma), text.substr(comma + 1)};
  if (pair[0].empty() || pair[1].empty() || pair[1].find(',') != std::string::npos) {
    return InvalidArgument(
        "--attn-impl: expected NAME or INVARIANT,VARIANT (of each mode one), found \"{}\"", text);
  }
  return pair;
}

using AttentionPair = std::array<const AttentionImpl*, 2>;  // kModes' order

// Asks the one table for both modes.
Result<AttentionPair> ChooseAttentionPair(const EngineConfig& config,
                                          std::optional<AttentionDevice> device) {
  VX_ASSIGN_OR_RETURN(const auto names, ParseAttentionPair(config.attn_impl));
  AttentionPair pair;
  for (size_t m = 0; m < 2; ++m) {
    const auto choice = ChooseAttention({kModes[m], names[m], device, config.mask});
    if (!choice.ok()) {
      return InvalidArgument("bench compare (--attn-impl INVARIANT,VARIANT): {}",
                             choice.error().message);
    }
    pair[m] = *choice;
  }
  return pair;
}

class Comparison {
 public:
  Comparison(const CompareFlags& flags, InterruptSignals& interrupts)
      : flags_(flags), interrupts_(interrupts) {}

  Result<CompareReport> Run() {
    VX_RETURN_IF_ERROR(Load());
    const WorkloadSource source{models_[0]->config().vocab_size, tokenizer_.get(),
                                flags_.engine.config.seed};
    VX_ASSIGN_OR_RETURN(const std::vector<Request> requests,
                        MakeRequests(flags_.workload, source, interrupts_));
    report_.workload = WorkloadText(flags_.workload, requests.size());
    for (int32_t repeat = 0; repeat < flags_.repeats; ++repeat) {
      for (int turn = 0; turn < 2; ++turn) {
        // Each mode goes first as often as the other.
        VX_RETURN_IF_ERROR(RunOnce((repeat + turn) % 2, requests, source));
      }
    }
    for (int m = 0; m < 2; ++m) {
      report_.modes[m].linear_choices = models_[m]->backend().LinearChoices();
    }
    return std::move(report_);
  }
  // The program's, if Run fails.
  int exit_status() const { return exit_status_; }

 private:
  Status SetAttention(std::optional<AttentionDevice> device) {
    const auto pair = ChooseAttentionPair(flags_.engine.config, device);
    if (!pair.ok()) exit_status_ = kExitUsage;
    VX_ASSIGN_OR_RETURN(attention_, pair);
    return {};
  }

  Status OpenBackends(std::array<std::shared_ptr<const Backend>, 2>& backends) {
    const std::string& device = flags_.engine.device;
    VX_RETURN_IF_ERROR(SetAttention(DeviceOf(device)));
    VX_ASSIGN_OR_RETURN(backends[0], MakeBackend(device, Mode::kInvariant, attention_[0]->kernels));
    VX_RETURN_IF_ERROR(SetAttention(DeviceOf(*backends[0])));
    // The self-check of the first holds for the second, unless this has kernels of its own.
    const bool is_checked = attention_[1]->kernels == attention_[0]->kernels;
    VX_ASSIGN_OR_RETURN(backends[1], (is_checked ? OpenBackend : MakeBackend)(
                                         device, Mode::kVariant, attention_[1]->kernels));
    return {};
  }

  // One copy of the weights for both modes.
  Status Load() {
    std::array<std::shared_ptr<const Backend>, 2> backends;
    VX_RETURN_IF_ERROR(OpenBackends(backends));
    ModelLoadOptions options;
    options.progress = [this](int64_t /*layers*/, int64_t /*all*/) {
      interrupts_.EndProcessIfTriggered();
    };
    VX_ASSIGN_OR_RETURN(LoadedModel loaded,
                        LoadModel(flags_.engine.model, std::move(backends[0]), options));
    models_[0] = loaded.model;
    VX_ASSIGN_OR_RETURN(models_[1], loaded.model->On(std::move(backends[1])));
    tokenizer_ = loaded.tokenizer;
    report_.model = flags_.engine.model.path;
    report_.device = models_[0]->backend().Description();
    return MeasureFloor();
  }

  Status MeasureFloor() {
    const int32_t threads = flags_.engine.config.num_threads;
    VX_ASSIGN_OR_RETURN(ThreadPool pool,
                        ThreadPool::Create(threads > 0 ? threads : HardwareThreads()));
    // On the free backend: the floor is what the device can do, not what the mode allows.
    VX_ASSIGN_OR_RETURN(const DeviceSpeed speed, MeasureDevice(models_[1]->backend(), pool));
    report_.floor = {.weight_words = WeightWordsOf(models_[0]->config()),
                     .kv_bytes_per_token = models_[0]->KvBytesPerToken(),
                     .block_size = flags_.engine.config.block_size,
                     .bytes_per_s = speed.bandwidth,
                     .macs_per_s = speed.matrix_rate};
    return {};
  }

  // An engine for each run: both modes have all of the device's memory, and nothing is left behind.
  Status RunOnce(int m, const std::vector<Request>& requests, const WorkloadSource& source) {
    CompareMode& mode = report_.modes[m];
    CompareRun run;
    EngineConfig config = flags_.engine.config;
    config.mode = mode.mode = kModes[m];
    config.attn_impl = attention_[m]->name;
    config.on_step = [&run](const StepStats& stats) { run.steps.push_back(stats); };
    auto made = Engine::Create(std::move(config), models_[m], tokenizer_);
    if (!made.ok()) {
      exit_status_ = ExitStatusOf(made.error());
      return made.error();
    }
    const std::unique_ptr<Engine> engine = std::move(made).value();
    mode.attn_impl = engine->config().attn_impl;
    const std::vector<Request> warmup =
        WarmupRequests(flags_.workload, source, engine->config().max_model_len);
    VX_RETURN_IF_ERROR(Answer(*engine, warmup).status);
    engine->ResetPrefixCache();
    run.steps.clear();
    const auto start = std::chrono::steady_clock::now();
    const Answered answered = Answer(*engine, requests);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    VX_RETURN_IF_ERROR(answered.status);
    mode.calls += engine->Stats().calls;
    run.wall_s = elapsed.count();
    run.output_tokens = answered.output_tokens;
    fmt::print(stderr, "{:<9} {:.3f} s, {:.1f} output tokens/s, {} steps\n", ModeName(mode.mode),
               run.wall_s, static_cast<double>(run.output_tokens) / run.wall_s, run.steps.size());
    mode.runs.push_back(std::move(run));
    return {};
  }

  struct Answered {
    Status status;
    int64_t output_tokens = 0;
  };

  // All requests are there before the first step, so that every run has the same batches: an
  // EngineFront would begin while they come.
  Answered Answer(Engine& engine, std::vector<Request> requests) {
    Answered answered;
    for (size_t i = 0; i < requests.size(); ++i) {
      requests[i].sampling.ignore_eos = true;
      const Result<RequestId> id = engine.Add(std::move(requests[i]));
      if (id.ok()) continue;
      // Before anything has run: what is left out would make the rest another workload.
      answered.status = InvalidArgument("request {}: {}", i, id.error().message);
      return answered;
    }
    while (engine.HasWork()) {
      interrupts_.EndProcessIfTriggered();
      for (const Output& output : engine.Step()) {
        answered.output_tokens += static_cast<int64_t>(output.token_ids.size());
        if (output.finish_reason != FinishReason::kError &&
            output.finish_reason != FinishReason::kTimeout) {
          continue;
        }
        answered.status =
            MakeError(ErrorCode::kInternal, "request {}: expected an answer, found {} {}",
                      output.request_id, FinishReasonName(output.finish_reason), output.error);
      }
    }
    return answered;
  }

  const CompareFlags& flags_;
  InterruptSignals& interrupts_;
  AttentionPair attention_ = {};  // kModes' order, as below
  std::shared_ptr<const Model> models_[2];
  std::shared_ptr<const Tokenizer> tokenizer_;
  CompareReport report_;
  int exit_status_ = kExitFailure;
};

Status WriteFile(const std::string& path, const std::string& text) {
  VX_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Open(path));
  file.Write(text);
  return file.Close();
}

Status WriteReport(const CompareReport& report, const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return MakeError(ErrorCode::kIo, "{}: {}", folder, error.message());
  VX_RETURN_IF_ERROR(WriteFile(folder + "/results.json", CompareJson(report) + "\n"));
  VX_RETURN_IF_ERROR(WriteFile(folder + "/compare.svg", CompareSvg(report)));
  const std::string text = CompareMarkdown(report, "compare.svg");
  VX_RETURN_IF_ERROR(WriteFile(folder + "/compare.md", text));
  return WriteFile("-", text);
}

int Run(const CompareFlags& flags) {
  if (flags.engine.config.mode != Mode::kInvariant || !flags.engine.batch_probe.empty()) {
    return Fail(
        Error{ErrorCode::kInvalidArgument,
              "bench compare: expected neither --mode nor --batch-probe: it runs both modes "
              "and compares their batches"},
        kExitUsage);
  }
  InterruptSignals interrupts;
  Comparison comparison(flags, interrupts);
  const Result<CompareReport> report = comparison.Run();
  if (!report.ok()) return Fail(report.error(), comparison.exit_status());
  const Status status = WriteReport(*report, flags.out);
  return status.ok() ? kExitSuccess : Fail(status.error());
}

}  // namespace

void AddBenchCompare(CLI::App& bench, Command& chosen) {
  const auto flags = std::make_shared<CompareFlags>();
  CLI::App* const command =
      bench.add_subcommand("compare", "Both modes in turn: what do the same bits cost?");
  command->footer(
      "Writes results.json, compare.md (also to standard output) and compare.svg. Every run has an "
      "engine of its own over one copy of the weights; loading, making the engine and warm-up are "
      "outside the clock.\nExit status: 0 every request was answered, 1 one failed or the run did, "
      "2 wrong usage.");
  AddWorkloadFlags(*command, flags->workload);
  const auto set_repeats = [flags](const std::string& text) -> Status {
    VX_ASSIGN_OR_RETURN(flags->repeats, ParseNumber<int32_t>(text));
    return flags->repeats >= 1 ? Status()
                               : InvalidArgument("expected at least 1, found {}", flags->repeats);
  };
  AddTextFlag(*command, "--repeats", set_repeats, "runs of each mode [5]")->type_name("INT");
  command->add_option("--out", flags->out, "folder for the three files [.]")->type_name("FOLDER");
  AddEngineFlags(*command, flags->engine);
  CLI::Option* const attention = command->get_option("--attn-impl");
  attention->type_name("INVARIANT,VARIANT");
  attention->description(
      fmt::format("attention implementations of the two modes, each one of {}; one name stands for "
                  "both [each follows its mode and --mask]",
                  AttentionImplNames()));
  command->callback([flags, &chosen] { chosen = [flags] { return Run(*flags); }; });
}

}  // namespace vexact
