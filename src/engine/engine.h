// Engine: requests in, pieces of answers out; the loop that joins scheduler, model, sampler and
// output, one step ahead of its results (architecture: docs, ARCHITECTURE.md).
//
//   VX_ASSIGN_OR_RETURN(auto engine, Engine::Create(config, model, tokenizer));
//   VX_ASSIGN_OR_RETURN(const RequestId id, engine->Add(std::move(request)));
//   while (engine->HasWork()) {
//     for (const Output& output : engine->Step()) Use(output);
//   }
//
// An answer (token ids, log-probabilities, text) is a pure function of weights, prompt, sampling
// parameters, seed and sample index: never of what else runs, of the options or of the order.
//
// Thread contract: one thread at a time, except Prepare, which any thread may call at any time.
// engine_front.h puts a thread of its own and a lock around an Engine.
#ifndef VEXACT_ENGINE_ENGINE_H_
#define VEXACT_ENGINE_ENGINE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/result.h"
#include "batch/sequence_mask.h"
#include "engine/engine_config.h"
#include "request/output.h"
#include "request/request.h"
#include "tensor/stream.h"

namespace vexact {

class Model;
class Tokenizer;

// Counted since the engine was made.
struct EngineStats {
  int32_t num_waiting = 0;  // sequences now in the queue
  int32_t num_running = 0;  // sequences now being computed
  int32_t kv_blocks_total = 0;
  int32_t kv_blocks_used = 0;        // now referenced by sequences
  int64_t num_steps = 0;             // collected
  int64_t num_prefill_tokens = 0;    // computed
  int64_t num_decode_tokens = 0;     // computed
  int64_t num_preempted = 0;         // sequences put back into the queue
  int64_t prefix_cache_queries = 0;  // tokens looked up by admitted sequences
  int64_t prefix_cache_hits = 0;     // tokens found
  double host_ms = 0.0;              // StepStats', of all steps
  double idle_ms = 0.0;              // likewise
  double busy_ms = 0.0;              // wall time in Step, waiting for the device included
  CallCounts calls;  // of linears and attention in the steps collected, the one in flight included
};

// A request that was found possible: tokenised, limits checked, seed chosen.
struct PreparedRequest {
  RequestId id = 0;
  std::shared_ptr<const std::vector<int32_t>> prompt_token_ids;
  std::optional<std::vector<int32_t>> completion_token_ids;
  std::optional<int32_t> redraw_sample_index;
  std::shared_ptr<const SamplingParams> sampling;  // seed set, bad words tokenised
  SequenceMask mask;
  std::string cache_salt;
  double timeout_s = 0.0;  // 0: none
};

class Engine {
 public:
  // `tokenizer` may be null: then requests give token ids, no stop strings and no bad words, and
  // outputs have no text. Errors: an option out of range, a combination that contradicts itself,
  // memory that is not there.
  static Result<std::unique_ptr<Engine>> Create(EngineConfig config,
                                                std::shared_ptr<const Model> model,
                                                std::shared_ptr<const Tokenizer> tokenizer);
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Accepts a request, or says why it can never be answered: empty prompt, unknown id, parameter
  // out of range, longer than max_model_len, more KV than the whole pool, and so on.
  Result<RequestId> Add(Request request);

  // The two halves of Add. Any thread may Prepare; ids ascend in the order of the calls.
  Result<PreparedRequest> Prepare(Request request) const;
  void Add(PreparedRequest request);

  // Launches the next step and collects the one `pipeline_depth` before it. Returns what became
  // known: of sequences in ascending (request, sample) order, after aborts and timeouts.
  std::vector<Output> Step();

  // Ends a request; the next Step returns its unfinished samples with kAbort. Unknown ids, and
  // those that have finished, are ignored.
  void Abort(RequestId id);

  // Whether Step has anything to do or to return.
  bool HasWork() const;

  // Replaces the weights by others of the same shape and empties the prefix cache. Refused while
  // HasWork(): every token of an answer comes from the same weights. After an error the weights and
  // the cache are those before.
  Status UpdateWeights(std::shared_ptr<const Model> model);

  // Forgets every cached block that no sequence uses; those in use are not found again.
  void ResetPrefixCache();

  EngineStats Stats() const;

  // Blocks, references, slots and states counted anew; kInternal names what does not add up.
  Status CheckInvariants() const;

  // With every 0 replaced by what it came to mean.
  const EngineConfig& config() const;

 private:
  struct Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace vexact

#endif  // VEXACT_ENGINE_ENGINE_H_
