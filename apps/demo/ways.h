// The ways in which the proof runs its requests, and what happened in each.
#ifndef VEXACT_DEMO_WAYS_H_
#define VEXACT_DEMO_WAYS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/function_ref.h"
#include "common/request_result.h"
#include "engine/engine.h"
#include "engine/load_model.h"

namespace vexact {

struct Way {
  std::string name = {};
  int32_t max_num_batched_tokens = 2048;
  int32_t num_threads = 0;  // 0: all
  int32_t kv_blocks = 0;    // 0: enough for everything
  bool prefix_caching = false;
  bool one_at_a_time = false;
  bool with_strangers = false;  // and shuffled
  bool repeats_last = false;    // goes on with the engine of the way before it: a warm cache
  Mode mode = Mode::kInvariant;

  // What the way claims to have done; 0: nothing.
  int32_t least_batch = 0;
  int32_t most_batch = 0;
  bool splits_prompts = false;
  bool preempts = false;
  bool reads_cache = false;
};

// Those of mode invariant, whose answers are one; and a few of them again in mode variant.
std::vector<Way> InvariantWays();
std::vector<Way> VariantWays();

struct WayReport {
  std::vector<RequestResult> results;  // of the proof's requests, in their own order
  std::string digest;
  int32_t num_requests = 0;  // strangers included
  int32_t num_threads = 0;
  int32_t largest_batch = 0;
  int64_t prefill_chunks = 0;  // pieces in which prompts were computed
  int64_t preemptions = 0;
  int64_t cached_tokens = 0;
  int64_t computed_tokens = 0;
  double seconds = 0.0;
};

// Where two ways' answers are not the same.
struct Comparison {
  int64_t logprobs = 0;   // fp32 words compared
  int64_t differing = 0;  // token ids or fp32 words that differ, or are missing in one
};

Comparison Compare(const std::vector<RequestResult>& expected,
                   const std::vector<RequestResult>& found);

// "" if the way did what it claims, else what it did not do.
std::string BrokenClaim(const Way& way, const WayReport& report);

// Runs ways one after the other over one model's weights.
class WayRunner {
 public:
  // `variant` is model.model on a backend of mode variant.
  WayRunner(LoadedModel model, std::shared_ptr<const Model> variant);

  // `progress` is called after each step with the tokens computed so far. Errors: the engine
  // refuses an option or a request, or a request fails.
  Result<WayReport> Run(const Way& way, FunctionRef<void(int64_t)> progress);

 private:
  Status MakeEngine(const Way& way);
  Status RunAll(const Way& way, FunctionRef<void(int64_t)> progress, WayReport& report);
  Status AddRequest(Request request, int index);
  void StepUntilDone(FunctionRef<void(int64_t)> progress);

  LoadedModel model_;
  std::shared_ptr<const Model> variant_;
  std::unique_ptr<Engine> engine_;
  // Of the way that is running.
  std::vector<StepStats> steps_;  // since it began
  std::vector<RequestResult> results_;
  std::vector<int> index_of_id_;  // the proof's request that a RequestId is; -1: a stranger
};

}  // namespace vexact

#endif  // VEXACT_DEMO_WAYS_H_
