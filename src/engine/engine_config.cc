#include "engine/engine_config.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

namespace vexact {
namespace {

constexpr int64_t kDefaultKvBytes = int64_t{2} << 30;
constexpr int32_t kMaxThreads = 1024;

Status CheckRange(std::string_view option, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return InvalidArgument("{}: expected {} to {}, found {}", option, low, high, value);
}

Status CheckMode(const EngineConfig& config) {
  if (config.mode == Mode::kVariant) {
    return Unsupported("mode: expected invariant; variant is not in this version");
  }
  if (config.device == "cuda") {
    return Unsupported("device: expected cpu; cuda is not in this version");
  }
  if (config.device != "cpu") {
    return InvalidArgument("device: expected cpu, found \"{}\"", config.device);
  }
  const std::string& attention = config.attn_impl;
  if (attention == "fa-invariant") return {};
  if (attention == "fa-variant" || attention == "fa-variant-cute") {
    return InvalidArgument("attn_impl: {} contradicts mode invariant; expected fa-invariant",
                           attention);
  }
  if (attention == "fa-invariant-cute" || attention == "flex") {
    return Unsupported("attn_impl: expected fa-invariant; {} is not in this version", attention);
  }
  return InvalidArgument("attn_impl: expected fa-invariant, found \"{}\"", attention);
}

Status CheckRanges(const EngineConfig& config, const EngineLimits& limits) {
  constexpr int32_t kMax = std::numeric_limits<int32_t>::max() / 2;
  VX_RETURN_IF_ERROR(
      CheckRange("max_num_batched_tokens", config.max_num_batched_tokens, 1, 1 << 20));
  VX_RETURN_IF_ERROR(CheckRange("max_num_seqs", config.max_num_seqs, 1, 1 << 16));
  VX_RETURN_IF_ERROR(CheckRange("max_model_len", config.max_model_len, 1,
                                std::min<int64_t>(limits.model_max_len, kMax)));
  VX_RETURN_IF_ERROR(CheckRange("num_threads", config.num_threads, 1, kMaxThreads));
  VX_RETURN_IF_ERROR(CheckRange("pipeline_depth", config.pipeline_depth, 0, 1));
  if (config.block_size != 16 && config.block_size != 32 && config.block_size != 64) {
    return InvalidArgument("block_size: expected 16, 32 or 64, found {}", config.block_size);
  }
  if (!(config.request_timeout_s >= 0.0)) {
    return InvalidArgument("request_timeout_s: expected at least 0, found {}",
                           config.request_timeout_s);
  }
  if (!config.enable_chunked_prefill && config.max_model_len > config.max_num_batched_tokens) {
    return InvalidArgument(
        "max_model_len: expected at most max_num_batched_tokens ({}) without chunked prefill, "
        "found {}",
        config.max_num_batched_tokens, config.max_model_len);
  }
  return {};
}

int64_t DefaultKvBytes(const EngineConfig& config, const EngineLimits& limits) {
  const int64_t blocks_of_one = (config.max_model_len + config.block_size - 1) / config.block_size;
  const int64_t most = std::min(kDefaultKvBytes, limits.host_memory_bytes / 4);
  const int64_t bytes_of_one = blocks_of_one * config.block_size * limits.kv_bytes_per_token;
  // In floating point, because the product may not fit: only whether it exceeds `most` matters.
  const double need = static_cast<double>(bytes_of_one) * config.max_num_seqs;
  return need < static_cast<double>(most) ? bytes_of_one * config.max_num_seqs : most;
}

}  // namespace

Result<Mode> ParseMode(std::string_view name) {
  if (name == "invariant") return Mode::kInvariant;
  if (name == "variant") return Mode::kVariant;
  return InvalidArgument("mode: expected invariant or variant, found \"{}\"", name);
}

Result<ResolvedConfig> ResolveConfig(EngineConfig config, const EngineLimits& limits) {
  if (config.max_model_len == 0) config.max_model_len = static_cast<int32_t>(limits.model_max_len);
  if (config.num_threads == 0) config.num_threads = std::max(1, limits.num_cores);
  if (config.attn_impl.empty()) config.attn_impl = "fa-invariant";
  if (!config.clock) {
    config.clock = [] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
          .count();
    };
  }
  VX_RETURN_IF_ERROR(CheckMode(config));
  VX_RETURN_IF_ERROR(CheckRanges(config, limits));
  if (config.kv_cache_memory_bytes == 0) {
    config.kv_cache_memory_bytes = DefaultKvBytes(config, limits);
  }
  const int64_t block_bytes = config.block_size * limits.kv_bytes_per_token;
  // KV slots are int32.
  const int64_t most_blocks = std::numeric_limits<int32_t>::max() / config.block_size;
  const int64_t num_blocks = config.kv_cache_memory_bytes / block_bytes;
  if (num_blocks < 1 || num_blocks > most_blocks) {
    return InvalidArgument(
        "kv_cache_memory_bytes: expected {} to {} (1 to {} blocks of {} tokens), found {}",
        block_bytes, block_bytes * most_blocks, most_blocks, config.block_size,
        config.kv_cache_memory_bytes);
  }
  return ResolvedConfig{std::move(config), static_cast<int32_t>(num_blocks)};
}

}  // namespace vexact
