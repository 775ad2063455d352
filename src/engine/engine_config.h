// Options of an engine, named as vLLM names them.
#ifndef VEXACT_ENGINE_ENGINE_CONFIG_H_
#define VEXACT_ENGINE_ENGINE_CONFIG_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace vexact {

enum class Mode {
  kInvariant,  // every operator has the bits of its reference (docs/numerics.md)
  kVariant,    // free choice of algorithms; refused until there is one
};

// "invariant" or "variant"; an error names what was found.
Result<Mode> ParseMode(std::string_view name);

// What one step did; a line of the batch probe.
struct StepStats {
  int64_t step = 0;
  int32_t num_requests = 0;        // sequences in the step
  int32_t num_prefill_tokens = 0;  // of prompts, and of outputs that preemption made prompts again
  int32_t num_decode_tokens = 0;
  int32_t num_waiting = 0;        // sequences in the queue after the step was planned
  int32_t kv_blocks_used = 0;     // referenced by sequences after the step was planned
  int32_t num_preempted = 0;      // sequences put back into the queue while planning it
  int32_t num_cached_tokens = 0;  // of sequences admitted in it, found in the prefix cache
  double milliseconds = 0.0;      // from the start of its computation to its last result
};

struct EngineConfig {
  int32_t max_num_batched_tokens = 2048;  // a step's token budget
  int32_t max_num_seqs = 512;             // sequences in flight at once
  int32_t max_model_len = 0;              // prompt and output tokens; 0: the model's own limit
  int32_t block_size = 16;                // tokens of a KV block: 16, 32 or 64
  int64_t kv_cache_memory_bytes = 0;      // 0: what max_num_seqs * max_model_len needs, at most
                                          // 2 GiB and a quarter of the host's memory
  bool enable_chunked_prefill = true;     // false: a prompt runs whole, in one step
  bool enable_prefix_caching = true;
  int32_t num_threads = 0;         // 0: one for each core that this process may use
  double request_timeout_s = 0.0;  // of requests that do not say; 0: none
  int32_t pipeline_depth = 1;      // steps launched ahead of their results: 0 or 1
  Mode mode = Mode::kInvariant;
  std::string attn_impl;  // "": follows the mode; "fa-invariant"
  std::string device = "cpu";
  int64_t seed = 0;  // of requests without one
  // Ids that end an answer unless it ignores them: the checkpoint's and the tokenizer's, joined.
  std::vector<int32_t> eos_token_ids;

  // Seconds, never decreasing; none: the steady clock. Decides timeouts and timings.
  std::function<double()> clock;
  // Called by Step after each collected step, on its thread; none: no one listens.
  std::function<void(const StepStats&)> on_step;
};

}  // namespace vexact

#endif  // VEXACT_ENGINE_ENGINE_CONFIG_H_
