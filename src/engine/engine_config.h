// Options of an engine, named as vLLM names them.
#ifndef VEXACT_ENGINE_ENGINE_CONFIG_H_
#define VEXACT_ENGINE_ENGINE_CONFIG_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "batch/step_stats.h"
#include "kernels/backend.h"
#include "kernels/mode.h"

namespace vexact {

inline constexpr int32_t kMaxThreads = 1024;

struct EngineConfig {
  int32_t max_num_batched_tokens = 2048;  // a step's token budget
  int32_t max_num_seqs = 512;             // sequences in flight at once
  int32_t max_model_len = 0;              // prompt and output tokens; 0: the model's own limit
  int32_t block_size = 16;                // tokens of a KV block: 16, 32 or 64
  // 0: what max_num_seqs * max_model_len needs, at most 2 GiB and a quarter of the host's memory on
  // a CPU, on a GPU what gpu_memory_utilization leaves.
  int64_t kv_cache_memory_bytes = 0;
  // Of a GPU's memory: everything that was in use once a whole step had run, and the KV cache.
  double gpu_memory_utilization = 0.9;
  bool enable_chunked_prefill = true;  // false: a prompt runs whole, in one step
  bool enable_prefix_caching = true;
  int32_t num_threads = 0;         // 0: one for each core that this process may use
  double request_timeout_s = 0.0;  // of requests that do not say; 0: none
  int32_t pipeline_depth = 1;      // steps launched ahead of their results: 0 or 1
  Mode mode = Mode::kInvariant;    // of the model's backend
  std::string attn_impl;           // attention_choice.h's; "": follows the mode and the mask
  std::string mask = "causal";     // attention_choice.h's: which positions a token sees
  int64_t seed = 0;                // of requests without one
  // Ids that end an answer, unless it ignores them (StopTokenIds of load_model.h).
  std::vector<int32_t> eos_token_ids;

  // Seconds, never decreasing; none: the steady clock. Decides timeouts and timings.
  std::function<double()> clock;
  // Called by Step after each collected step, on its thread; none: no one listens.
  std::function<void(const StepStats&)> on_step;
};

// What the model and the machine say about a configuration.
struct EngineLimits {
  int64_t model_max_len = 0;       // positions that the model was loaded for
  int64_t kv_bytes_per_token = 0;  // of all layers
  int32_t sliding_window = 0;      // ModelConfig's
  int32_t num_cores = 0;
  bool is_gpu = false;
  Mode mode = Mode::kInvariant;                                // of the model's backend
  AttentionKernels attention_kernels = AttentionKernels::kFa;  // likewise
  DeviceMemory memory;  // of the device, once all but the KV cache is allocated
};

// A configuration that can run, every 0 replaced by what it means.
struct ResolvedConfig {
  EngineConfig config;
  int32_t num_blocks = 0;  // of the KV pool
};

// Errors name the option, what was expected and what was found. ResolveConfig leaves the KV cache
// open, for its size depends on what is left of the device's memory: limits.memory is read by
// ResolveKvCache alone.
Result<EngineConfig> ResolveConfig(EngineConfig config, const EngineLimits& limits);
Result<ResolvedConfig> ResolveKvCache(EngineConfig config, const EngineLimits& limits);

}  // namespace vexact

#endif  // VEXACT_ENGINE_ENGINE_CONFIG_H_
