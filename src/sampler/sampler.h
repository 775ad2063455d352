// Sampler: from rows of logits to token ids and log-probabilities, with a state for each sequence
// slot: parameters, and the token history that penalties, bad words and min_tokens read. The
// sampler appends drawn tokens itself, so a step can be launched before the last one is collected.
//
// Arithmetic: docs/numerics.md, sampling and logits -> logprob. Invariance: a row's answer depends
// on its logits and its sequence's parameters and history alone.
#ifndef VEXACT_SAMPLER_SAMPLER_H_
#define VEXACT_SAMPLER_SAMPLER_H_

#include <memory>
#include <span>
#include <vector>

#include "batch/batch_inputs.h"
#include "batch/step_result.h"
#include "kernels/backend.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

class SamplerSlot;

// Thread contract: calls come in stream order, one at a time.
class Sampler {
 public:
  // `backend` outlives the sampler.
  Sampler(const Backend& backend, int32_t max_num_seqs, int64_t vocab_size);
  ~Sampler();

  // Gives `started.slot` to a sequence, forgetting what was there.
  void Start(const StartedSequence& started);

  // The newest token of a slot's history, for inputs that wait for it: the last drawn or given
  // output token, or the last of the prompt. After a fault it stays what it was.
  int32_t NewestToken(int32_t slot) const;

  // logits[i] belongs to rows[i]; writes into result->sequences[rows[i].sequence], which exist.
  // Targets are appended in order. Several rows of a slot, with output lengths of their own, may
  // come in one call; a drawing row's output_len is the length of the slot's history.
  //
  // A row with a fault sets its sequence's `fault` and appends no token; later rows of the slot,
  // in this call or the next, are then skipped with the same fault until Start. So are the rows of
  // a sequence that comes with a fault (a K or V that is not finite).
  //
  // TokenLogprob: rank and top are filled in only if the request asks for logprobs (otherwise rank
  // is 0); the logprob always is. logits are scratch: processing may overwrite them.
  void Run(Rows<float> logits, std::span<const LogitRow> rows, StepResult* result, Stream& stream);

 private:
  struct Workspace;
  void Sum(Rows<float> logits, Stream& stream);
  void Sample(Rows<float> logits, std::span<const LogitRow> rows, const StepResult& result,
              Stream& stream);
  void Query(Rows<float> logits, std::span<const LogitRow> rows, Stream& stream);
  TokenLogprob Answer(int64_t row) const;

  const Backend& backend_;
  int64_t vocab_size_;
  std::vector<std::unique_ptr<SamplerSlot>> slots_;
  std::unique_ptr<Workspace> work_;  // arrays of one Run, kept for their capacity
};

}  // namespace vexact

#endif  // VEXACT_SAMPLER_SAMPLER_H_
