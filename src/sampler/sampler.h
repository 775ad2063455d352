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
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

// Thread contract: calls come in stream order, one at a time.
class Sampler {
 public:
  Sampler(int32_t max_num_seqs, int64_t vocab_size);
  ~Sampler();

  // Gives `started.slot` to a sequence, forgetting what was there.
  void Start(const StartedSequence& started);

  // The newest token of a slot's history, for inputs that wait for it.
  int32_t NewestToken(int32_t slot) const;

  // logits[i] belongs to rows[i]; writes into result->sequences[rows[i].sequence], which exist.
  // Targets are appended in order. A row with a fault sets `fault` and appends no token.
  // logits are scratch: processing may overwrite them.
  void Run(Rows<float> logits, std::span<const LogitRow> rows, StepResult* result, Stream& stream);

 private:
  struct Slot;
  std::vector<std::unique_ptr<Slot>> slots_;
  int64_t vocab_size_;
};

}  // namespace vexact

#endif  // VEXACT_SAMPLER_SAMPLER_H_
