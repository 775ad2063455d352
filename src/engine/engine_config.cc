#include "engine/engine_config.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "engine/attention_choice.h"

namespace vexact {
namespace {

constexpr int64_t kDefaultKvBytes = int64_t{2} << 30;

Status CheckRange(std::string_view option, int64_t value, int64_t low, int64_t high) {
  if (value >= low && value <= high) return {};
  return InvalidArgument("{}: expected {} to {}, found {}", option, low, high, value);
}

Status ResolveMode(const EngineLimits& limits, EngineConfig* config) {
  VX_ASSIGN_OR_RETURN(
      const AttentionImpl* const attention,
      ChooseAttention({.mode = config->mode,
                       .attn_impl = config->attn_impl,
                       .device = limits.is_gpu ? AttentionDevice::kHopper : AttentionDevice::kCpu,
                       .mask = config->mask}));
  if (config->mode != limits.mode) {
    return InvalidArgument("mode: expected {}, for which the model's backend was made, found {}",
                           ModeName(limits.mode), ModeName(config->mode));
  }
  if (attention->kernels != limits.attention_kernels) {
    return InvalidArgument(
        "attn_impl: expected one of the kernels for which the model's backend was made, found {}",
        attention->name);
  }
  config->attn_impl = attention->name;
  return {};
}

// A model was trained with its window or without one.
Status CheckMask(const EngineConfig& config, const EngineLimits& limits) {
  const bool wanted = MaskKindOf(config.mask) == MaskKind::kSlidingWindow;
  if (wanted == (limits.sliding_window > 0)) return {};
  if (wanted) {
    return InvalidArgument("mask {}: expected a model with a sliding window, found one without",
                           config.mask);
  }
  return InvalidArgument(
      "mask: expected sliding-window for a model with a sliding window ({} positions), found {}",
      limits.sliding_window, config.mask);
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
  if (!(config.gpu_memory_utilization > 0.0 && config.gpu_memory_utilization <= 1.0)) {
    return InvalidArgument("gpu_memory_utilization: expected above 0, at most 1, found {}",
                           config.gpu_memory_utilization);
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

// What the KV cache may take.
int64_t KvBytesAvailable(const EngineConfig& config, const EngineLimits& limits) {
  const DeviceMemory& memory = limits.memory;
  if (!limits.is_gpu) return std::min(kDefaultKvBytes, memory.total_bytes / 4);
  const auto usable =
      static_cast<int64_t>(config.gpu_memory_utilization * static_cast<double>(memory.total_bytes));
  return usable - (memory.total_bytes - memory.free_bytes);
}

int64_t DefaultKvBytes(const EngineConfig& config, const EngineLimits& limits) {
  const int64_t blocks_of_one = (config.max_model_len + config.block_size - 1) / config.block_size;
  const int64_t most = KvBytesAvailable(config, limits);
  const int64_t bytes_of_one = blocks_of_one * config.block_size * limits.kv_bytes_per_token;
  // In floating point, because the product may not fit: only whether it exceeds `most` matters.
  const double need = static_cast<double>(bytes_of_one) * config.max_num_seqs;
  return need < static_cast<double>(most) ? bytes_of_one * config.max_num_seqs : most;
}

}  // namespace

Result<EngineConfig> ResolveConfig(EngineConfig config, const EngineLimits& limits) {
  if (config.max_model_len == 0) config.max_model_len = static_cast<int32_t>(limits.model_max_len);
  if (config.num_threads == 0) config.num_threads = std::max(1, limits.num_cores);
  if (!config.clock) {
    config.clock = [] {
      return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
          .count();
    };
  }
  VX_RETURN_IF_ERROR(ResolveMode(limits, &config));
  VX_RETURN_IF_ERROR(CheckMask(config, limits));
  VX_RETURN_IF_ERROR(CheckRanges(config, limits));
  return config;
}

Result<ResolvedConfig> ResolveKvCache(EngineConfig config, const EngineLimits& limits) {
  const int64_t block_bytes = config.block_size * limits.kv_bytes_per_token;
  if (config.kv_cache_memory_bytes == 0) {
    config.kv_cache_memory_bytes = DefaultKvBytes(config, limits);
    if (limits.is_gpu && config.kv_cache_memory_bytes < block_bytes) {
      return Error{ErrorCode::kResourceExhausted,
                   fmt::format("device memory: expected room for a KV cache below {} of {} bytes, "
                               "found {} in use; lower max_num_batched_tokens or max_num_seqs, or "
                               "raise gpu_memory_utilization",
                               config.gpu_memory_utilization, limits.memory.total_bytes,
                               limits.memory.total_bytes - limits.memory.free_bytes)};
    }
  }
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
