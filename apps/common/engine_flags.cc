#include "common/engine_flags.h"

#include <string_view>

#include "common/flags.h"
#include "common/float_text.h"
#include "engine/attention_choice.h"

namespace vexact {
namespace {

constexpr const char* kGroup = "Engine";

void AddModeFlags(CLI::App& app, EngineConfig& config) {
  const auto set_mode = [&config](const std::string& text) -> Status {
    VX_ASSIGN_OR_RETURN(config.mode, ParseMode(text));
    return {};
  };
  AddTextFlag(app, "--mode", set_mode,
              "invariant: the same bits in every batch; variant: whatever is fastest, no promise "
              "about bits [invariant]")
      ->type_name("NAME")
      ->group(kGroup);
  app.add_option("--attn-impl", config.attn_impl,
                 fmt::format("attention implementation, one of {} [follows --mode and --mask]",
                             AttentionImplNames()))
      ->type_name("NAME")
      ->group(kGroup);
  app.add_option("--mask", config.mask,
                 fmt::format("which tokens a token sees, one of {}; prefix-lm and document read "
                             "the requests' prefix_len and document_ids, sliding-window is the "
                             "model's own [causal]",
                             fmt::join(AttentionMasks(), ", ")))
      ->type_name("NAME")
      ->group(kGroup);
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

CLI::Option* AddThreadsFlag(CLI::App& app, int32_t& threads, const std::string& help) {
  const auto set = [&threads](const std::string& text) -> Status {
    VX_ASSIGN_OR_RETURN(const auto value, ParseNumber<int32_t>(text));
    if (value < 0 || value > kMaxThreads) {
      return InvalidArgument("expected 0 (one a core) to {}, found {}", kMaxThreads, value);
    }
    threads = value;
    return {};
  };
  return AddTextFlag(app, "--threads", set, help)->type_name("INT");
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
  AddThreadsFlag(app, config.num_threads, "threads that compute [one a core]")->group(kGroup);
  AddNumber(app, "--request-timeout-s", config.request_timeout_s,
            "seconds after which a request ends as it is; 0: never [0]");
  AddNumber(app, "--pipeline-depth", config.pipeline_depth,
            "steps launched ahead of their results: 0 or 1 [1]");
  AddNumber(app, "--seed", config.seed, "requests without a seed draw theirs from this one [0]");
  AddModeFlags(app, config);
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

Status RequireInvariant(const EngineConfig& config, std::string_view what) {
  if (config.mode == Mode::kInvariant) return {};
  return InvalidArgument(
      "{} contradicts mode {}: answers of this mode need not come out the same again; use mode {}",
      what, ModeName(config.mode), ModeName(Mode::kInvariant));
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
