#include "common/engine_flags.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "common/flags.h"
#include "common/float_text.h"

namespace vexact {
namespace {

constexpr const char* kGroup = "Engine";

// A flag that has one value so far; others that are known get their own answer.
struct LoneChoice {
  std::string_view flag;
  std::string_view value;
  std::array<std::string_view, 4> later;  // "" where there are fewer
};

constexpr LoneChoice kMode{"--mode", "invariant", {"variant"}};
constexpr LoneChoice kAttention{
    "--attn-impl", "fa-invariant", {"fa-variant", "fa-invariant-cute", "fa-variant-cute", "flex"}};

Status CheckChoice(const LoneChoice& choice, std::string_view found) {
  if (found == choice.value) return {};
  if (!found.empty() &&
      std::find(choice.later.begin(), choice.later.end(), found) != choice.later.end()) {
    return Unsupported("{}: not supported yet; this version has {} only", found, choice.value);
  }
  return InvalidArgument("expected {}, found \"{}\"", choice.value, found);
}

void AddChoice(CLI::App& app, const LoneChoice& choice, std::function<void(std::string)> set,
               const std::string& help) {
  const auto check = [choice, set = std::move(set)](const std::string& text) -> Status {
    VX_RETURN_IF_ERROR(CheckChoice(choice, text));
    set(text);
    return {};
  };
  AddTextFlag(app, std::string(choice.flag), check, help)->type_name("NAME")->group(kGroup);
}

template <typename T>
void AddNumber(CLI::App& app, const std::string& names, T& target, const std::string& help) {
  AddNumberFlag<T>(
      app, names, [&target](T value) { target = value; }, help)
      ->group(kGroup);
}

void AddSwitches(CLI::App& app, EngineConfig& config) {
  app.add_flag_callback(
         "--enable-chunked-prefill", [&config] { config.enable_chunked_prefill = true; },
         "long prompts run in pieces, beside the tokens of others [on]")
      ->group(kGroup);
  app.add_flag_callback(
         "--no-enable-chunked-prefill,--disable-chunked-prefill",
         [&config] { config.enable_chunked_prefill = false; },
         "a prompt runs whole; then --max-model-len may not exceed --max-num-batched-tokens")
      ->group(kGroup);
  app.add_flag_callback(
         "--enable-prefix-caching", [&config] { config.enable_prefix_caching = true; },
         "blocks of finished prompts serve later requests [on]")
      ->group(kGroup);
  app.add_flag_callback(
         "--no-enable-prefix-caching", [&config] { config.enable_prefix_caching = false; },
         "every prompt is computed anew")
      ->group(kGroup);
}

}  // namespace

void AddModelFlag(CLI::App& app, std::string& path) {
  app.add_option("--model,--model-path", path,
                 "directory with config.json, safetensors and tokenizer.json, or a GGUF file")
      ->required()
      ->type_name("DIR|FILE.gguf");
}

void AddModelSourceFlags(CLI::App& app, ModelSource& source) {
  AddModelFlag(app, source.path);
  const auto set_format = [&source](const std::string& text) -> Status {
    VX_ASSIGN_OR_RETURN(source.load_format, ParseLoadFormat(text));
    return {};
  };
  AddTextFlag(app, "--load-format", set_format,
              "auto: the model's weights; dummy: generated ones of the same shapes, for which a "
              "directory needs nothing but config.json [auto]")
      ->type_name("NAME");
  AddNumberFlag<int64_t>(
      app, "--dummy-seed", [&source](int64_t seed) { source.dummy_seed = seed; },
      "what dummy weights are generated from, beside their names [0]");
}

void AddEngineFlags(CLI::App& app, EngineFlags& flags) {
  AddModelSourceFlags(app, flags.model);
  EngineConfig& config = flags.config;
  AddNumber(app, "--max-num-batched-tokens", config.max_num_batched_tokens,
            "tokens of a step at most [2048]");
  AddNumber(app, "--max-num-seqs", config.max_num_seqs, "sequences of a step at most [512]");
  AddNumber(app, "--max-model-len", config.max_model_len,
            "prompt and output tokens of a request at most [the model's context length]");
  AddNumber(app, "--block-size", config.block_size, "tokens of a KV block: 16, 32 or 64 [16]");
  AddNumber(app, "--kv-cache-memory-bytes", config.kv_cache_memory_bytes,
            "size of the KV cache [as much as is useful; on a CPU at most 2 GiB and a quarter of "
            "memory]");
  AddNumber(app, "--gpu-memory-utilization", config.gpu_memory_utilization,
            "share of a GPU's memory that the engine may take [0.9]");
  AddSwitches(app, config);
  AddNumber(app, "--threads", config.num_threads, "threads that compute [one a core]");
  AddNumber(app, "--request-timeout-s", config.request_timeout_s,
            "seconds after which a request ends as it is; 0: never [0]");
  AddNumber(app, "--pipeline-depth", config.pipeline_depth,
            "steps launched ahead of their results: 0 or 1 [1]");
  AddNumber(app, "--seed", config.seed, "requests without a seed draw theirs from this one [0]");
  AddChoice(
      app, kMode, [&config](const std::string& /*only one*/) { config.mode = Mode::kInvariant; },
      "invariant: the same bits in every batch [invariant]");
  AddChoice(
      app, kAttention, [&config](std::string name) { config.attn_impl = std::move(name); },
      "attention implementation: fa-invariant [follows --mode]");
  app.add_option(
         "--device", flags.device,
         "where to compute: cpu, cuda (a Hopper GPU), or auto: the GPU if there is one [auto]")
      ->check(CLI::IsMember({"cpu", "cuda", "auto"}))
      ->type_name("NAME")
      ->group(kGroup);
  app.add_option("--batch-probe", flags.batch_probe, "write one JSON line a step to this file")
      ->type_name("FILE")
      ->group(kGroup);
}

std::string StepStatsJson(const StepStats& stats) {
  std::string json = fmt::format(
      "{{\"step\":{},\"requests\":{},\"prefill_tokens\":{},\"decode_tokens\":{},\"waiting\":{},"
      "\"kv_blocks_used\":{},\"preempted\":{},\"cached_tokens\":{},\"ms\":",
      stats.step, stats.num_requests, stats.num_prefill_tokens, stats.num_decode_tokens,
      stats.num_waiting, stats.kv_blocks_used, stats.num_preempted, stats.num_cached_tokens);
  AppendJsonDouble(stats.milliseconds, json);
  json += ",\"host_ms\":";
  AppendJsonDouble(stats.host_ms, json);
  json += ",\"idle_ms\":";
  AppendJsonDouble(stats.idle_ms, json);
  json += '}';
  return json;
}

}  // namespace vexact
