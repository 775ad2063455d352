// Sampler: from rows of logits to token ids and log-probabilities, with a state for each sequence
// slot: parameters, and the token history that penalties, bad words and min_tokens read.
//
// A step's sampling is queued on a stream and read when the stream has come so far, so that the
// next step's forward pass can be queued in between: it takes the tokens drawn here from the device
// (newest_tokens), without waiting.
//
//   sampler->BeginStep();
//   for each chunk of rows: VX_RETURN_IF_ERROR(sampler->Queue(logits, chunk, stream));
//   sampler->QueueDownload(stream);
//   ... the stream comes so far ...
//   sampler->Finish(rows, first_faulty_rows, &result);
//
// Arithmetic: docs/numerics.md, sampling and logits -> logprob. Invariance: a row's answer depends
// on its logits and its sequence's parameters and history alone.
#ifndef VEXACT_SAMPLER_SAMPLER_H_
#define VEXACT_SAMPLER_SAMPLER_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "batch/batch_inputs.h"
#include "batch/step_result.h"
#include "kernels/backend.h"
#include "sampler/upload_arena.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

class SamplerSlot;
struct RowArrays;

struct SamplerLimits {
  int32_t max_num_seqs = 0;
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

  // Gives `started.slot` to a sequence, forgetting what was there.
  void Start(const StartedSequence& started);
  // The slot's sequence fails: nothing more is drawn for it until Start.
  void Fail(int32_t slot, const std::string& fault);

  // The last token drawn in each slot, as far as the stream has come, in the backend's memory. A
  // row with a fault leaves it as it was.
  const int32_t* newest_tokens() const { return newest_tokens_.as<int32_t>(); }

  void BeginStep();

  // logits[i] belongs to rows[i], a chunk of the step's rows, in order. Several rows of a slot,
  // with output lengths of their own, may come in one step; a drawing row's output_len is the
  // length of the slot's history. logits are scratch: processing may overwrite them.
  // kResourceExhausted: no memory for the rows' arrays.
  Status Queue(Rows<float> logits, std::span<const LogitRow> rows, Stream& stream);
  void QueueDownload(Stream& stream);

  // Writes into result->sequences[rows[i].sequence], which exist; `rows` are all of the step.
  // Targets are appended in order. A row with a fault sets its sequence's `fault` and appends no
  // token; later rows of the slot, in this step or the next, are then skipped with the same fault
  // until Start. So are the rows of a sequence that comes with a fault. Rows whose token_row is not
  // below their sequence's entry of first_faulty_rows [sequences] are passed over: a key or value
  // was not finite there, which is the caller's to report.
  //
  // TokenLogprob: rank and top are filled in only if the request asks for logprobs (otherwise rank
  // is 0); the logprob always is.
  void Finish(std::span<const LogitRow> rows, std::span<const int32_t> first_faulty_rows,
              StepResult* result);

 private:
  struct StepArrays;
  // Where a row's answers are, of all rows of the step.
  struct QueuedRow {
    int64_t outcome = -1;  // of Sample; -1: the row was not sampled
    int32_t num_top = -1;
    int64_t top_offset = 0;
  };

  Sampler(const Backend& backend, const SamplerLimits& limits);
  Status Allocate();
  std::vector<SampleRow> SampleRowsOf(std::span<const LogitRow> rows,
                                      std::vector<RowArrays>* arrays);
  std::vector<LogprobQuery> QueriesOf(std::span<const LogitRow> rows);
  Status EnsureTops(int64_t num_top, int64_t used, Stream& stream);
  std::string FaultOf(int64_t i, const LogitRow& row) const;
  TokenLogprob Answer(int64_t i, const LogitRow& row) const;

  const Backend& backend_;
  const SamplerLimits limits_;
  std::vector<std::unique_ptr<SamplerSlot>> slots_;
  UploadArena arena_;
  Buffer newest_tokens_;                // [max_num_seqs] int32
  Buffer block_max_;                    // [max_chunk_rows, blocks] float
  Buffer block_sums_;                   // [max_chunk_rows, blocks] uint64
  std::unique_ptr<StepArrays> device_;  // what a step's rows answer, in the backend's memory
  std::unique_ptr<StepArrays> host_;    // and what Finish reads of it

  // Of the step that is being queued.
  std::vector<QueuedRow> queued_;
  int64_t num_outcomes_ = 0;
  int64_t num_top_ = 0;
};

}  // namespace vexact

#endif  // VEXACT_SAMPLER_SAMPLER_H_
