// Sampler: from rows of logits to token ids and log-probabilities, with a state for each sequence
// slot: parameters on the host, and in the backend's memory the tokens that penalties and bad words
// read, to which a step's sampling appends what it draws.
//
// A step's sampling is queued on a stream and read when the stream has come so far. Nothing that it
// computes depends on what the host has read, so the next step is queued behind it without waiting:
// its forward pass takes the tokens drawn here from the device (newest_tokens), its sampling the
// histories, and a slot whose row had a fault draws nothing more there.
//
//   const int step = sampler->BeginStep();
//   for each chunk of rows: VX_RETURN_IF_ERROR(sampler->Queue(logits, chunk, stream));
//   sampler->QueueDownload(stream);
//   ... the stream comes so far; meanwhile the next step may be begun and queued ...
//   sampler->Finish(step, rows, first_faulty_rows, &result);
//
// Arithmetic: docs/numerics.md, sampling and logits -> logprob. Invariance: a row's answer depends
// on its logits and its sequence's parameters and history alone.
#ifndef VEXACT_SAMPLER_SAMPLER_H_
#define VEXACT_SAMPLER_SAMPLER_H_

#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "batch/batch_inputs.h"
#include "batch/step_result.h"
#include "kernels/backend.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

class SamplerSlot;

struct SamplerLimits {
  int32_t max_num_seqs = 0;
  int32_t max_model_len = 0;   // prompt and output tokens of a sequence
  int64_t vocab_size = 0;      // 1 to kMaxVocab
  int64_t max_step_rows = 0;   // of logits, in one step
  int64_t max_chunk_rows = 0;  // in one call of Queue
};

// Thread contract: calls come in the order above, one at a time.
class Sampler {
 public:
  // `backend` outlives the sampler.
  static Result<std::unique_ptr<Sampler>> Create(const Backend& backend,
                                                 const SamplerLimits& limits);
  ~Sampler();

  // Gives `started.slot` to a sequence, forgetting what was there. Requires: no step that is not
  // finished has rows of the slot.
  void Start(const StartedSequence& started);
  // The slot's sequence fails: nothing more is reported of it until Start.
  void Fail(int32_t slot, const SequenceFault& fault);

  // The last token drawn in each slot, as far as the stream has come, in the backend's memory. A
  // row with a fault leaves it as it was.
  const int32_t* newest_tokens() const { return newest_tokens_.as<int32_t>(); }

  // Two steps may be on their way: the one before the last has been finished, or was given up and
  // its work has ended. Returns which of the two this one is.
  int BeginStep();

  // logits[i] belongs to rows[i], a chunk of the begun step's rows, in order. Several rows of a
  // slot, with output lengths of their own, may come in one step; a drawing row's output_len is the
  // length of the slot's output, drawn tokens that nobody has read yet included. logits are
  // scratch: processing may overwrite them. kResourceExhausted: no memory for the rows' arrays.
  Status Queue(Rows<float> logits, std::span<const LogitRow> rows, Stream& stream);
  void QueueDownload(Stream& stream);

  // In the order of the steps. Writes into result->sequences[rows[i].sequence], which exist; `rows`
  // are all of the step.
  // Targets are appended in order. A row with a fault sets its sequence's `fault` and appends no
  // token; later rows of the slot, in this step or the next, are then skipped with the same fault
  // until Start. So are the rows of a sequence that comes with a fault. Rows whose token_row is not
  // below their sequence's entry of first_faulty_rows [sequences] are passed over: a key or value
  // was not finite there, which is the caller's to report.
  //
  // TokenLogprob: rank and top are filled in only if the request asks for logprobs (otherwise rank
  // is 0); the logprob always is.
  void Finish(int step, std::span<const LogitRow> rows, std::span<const int32_t> first_faulty_rows,
              StepResult* result);

 private:
  struct Step;

  Sampler(const Backend& backend, const SamplerLimits& limits);
  Status Allocate();
  Status AllocateStep(Step* step) const;
  Step& begun() { return *steps_[last_begun_]; }
  Status PlaceSlots(std::span<const LogitRow> rows, Stream& stream);
  std::vector<SampleRow> SampleRowsOf(std::span<const LogitRow> rows);
  std::vector<LogprobQuery> QueriesOf(std::span<const LogitRow> rows);
  Status EnsureTops(int64_t num_top, int64_t used, Stream& stream);

  const Backend& backend_;
  const SamplerLimits limits_;
  std::vector<std::unique_ptr<SamplerSlot>> slots_;
  int64_t num_started_ = 0;
  std::vector<Buffer> constants_;  // [max_num_seqs]: of the slots' parameters, kept to be reused
  Buffer tokens_;                  // [max_num_seqs, max_model_len] int32: prompt, then output
  Buffer newest_tokens_;           // [max_num_seqs] int32
  Buffer failed_owners_;           // [max_num_seqs] int64
  Buffer block_max_;               // [max_chunk_rows, blocks] float
  Buffer block_sums_;              // [max_chunk_rows, blocks] uint64
  std::array<std::unique_ptr<Step>, 2> steps_;
  int last_begun_ = 1;
};

}  // namespace vexact

#endif  // VEXACT_SAMPLER_SAMPLER_H_
