// Sampling of one token for each row: penalties, filters and the draw.
//
// Arithmetic: docs/numerics.md, sampling; the generator is Philox4x32-10 (base/philox.h). The
// parameters mean what vLLM's of the same name mean. Invariance: a row's answer depends on its
// logits, its SampleRow and the tokens before it alone.
//
// Whatever depends on the tokens before it (penalties, bad words) is read from the sequence's
// history in the backend's memory, to which Sample appends what it draws: the next step's rows can
// be queued before this step's tokens are known to the host.
#ifndef VEXACT_KERNELS_SAMPLING_SAMPLING_H_
#define VEXACT_KERNELS_SAMPLING_SAMPLING_H_

#include <cstdint>
#include <limits>

#include "base/result.h"
#include "kernels/logprob/logprob.h"
#include "kernels/simd/cpu_target.h"
#include "numerics/host_device.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

// Where the output ends with all ids of a bad word but the last, that one is forbidden.
struct BadWord {
  int32_t begin = 0;   // in SampleRow::bad_word_ids
  int32_t length = 0;  // at least 1
};

struct TokenBias {
  int32_t id = 0;
  float bias = 0.0f;
};

inline constexpr uint64_t kTopPOff = std::numeric_limits<uint64_t>::max();

// One row's parameters, each resolved to the form that the steps use (ResolveSampling).
struct SampleRow {
  int32_t row = 0;               // of logits, sums, block_max and block_sums; each at most once
  int32_t slot = 0;              // whose token the drawn one is; -1: it goes nowhere
  int64_t owner = 1;             // of the slot: not 0, another one for every sequence
  bool draws = true;             // choose a token; otherwise the row is only processed
  bool keeps_processed = false;  // replace the row's logits and sums by those of the kept y

  // The sequence before the row's position: the prompt, then the output. What no parameter reads
  // may be anything: the prompt is for repetition alone, the output for penalties and bad words.
  // The drawn token goes behind them, unless slot is -1. Null: an empty sequence that is not kept.
  int32_t* tokens = nullptr;  // [num_prompt + num_output], and room for the drawn one
  int32_t num_prompt = 0;
  int32_t num_output = 0;

  // Before temperature. Every array may be empty; ids of banned may repeat, others may not.
  // [ceil(vocab / 32)]: bit id % 32 of word id / 32; bits past the vocabulary are 0. None: all ids.
  const uint32_t* allowed = nullptr;
  const int32_t* banned = nullptr;  // [num_banned]: stop ids before min_tokens
  int32_t num_banned = 0;
  const BadWord* bad_words = nullptr;  // [num_bad_words]
  int32_t num_bad_words = 0;
  const int32_t* bad_word_ids = nullptr;
  const TokenBias* bias = nullptr;  // [num_bias]
  int32_t num_bias = 0;
  float repetition = 1.0f;  // of ids in prompt or output
  float frequency = 0.0f;   // of ids in the output, for each time
  float presence = 0.0f;    // of ids in the output

  bool greedy = false;               // the largest, without what follows
  float inverse_temperature = 1.0f;  // rn(1 / T)
  float log_min_p = kDropped;        // rn(ln(min_p)); -inf: off
  int32_t top_k = 0;                 // 0 or >= vocab: off
  uint64_t top_p = kTopPOff;         // floor(top_p * 2^32 + 1/2)

  uint64_t seed = 0;
  uint32_t position = 0;  // that the token will take
  uint32_t sample_index = 0;
};

// Whether a penalty may change a logit of the row.
VX_HOST_DEVICE inline bool IsPenalised(const SampleRow& row) {
  const bool reads_output = row.frequency != 0.0f || row.presence != 0.0f;
  return (row.repetition != 1.0f && row.num_prompt + row.num_output > 0) ||
         (reads_output && row.num_output > 0);
}

// Whether the row's logits may change before temperature.
VX_HOST_DEVICE inline bool IsEdited(const SampleRow& row) {
  return row.allowed != nullptr || row.num_banned > 0 || row.num_bad_words > 0 ||
         row.num_bias > 0 || IsPenalised(row);
}

// Whether the row's filters may drop tokens.
VX_HOST_DEVICE inline bool IsFiltered(const SampleRow& row, int64_t vocab) {
  return !row.greedy && (row.log_min_p != kDropped || (row.top_k > 0 && row.top_k < vocab) ||
                         row.top_p != kTopPOff);
}

// y = rn(z * factor): a greedy row has no temperature.
VX_HOST_DEVICE inline float FactorOf(const SampleRow& row) {
  return row.greedy ? 1.0f : row.inverse_temperature;
}

// Whether the row's y, or what is kept of them, may differ from its raw logits.
VX_HOST_DEVICE inline bool IsChanged(const SampleRow& row, int64_t vocab) {
  return IsEdited(row) || IsFiltered(row, vocab) || FactorOf(row) != 1.0f;
}

enum class SampleFault : int32_t {
  kNone,
  kValue,           // fault_id's processed value is NaN, infinite or |value| >= kLogitLimit
  kNothingAllowed,  // every id is forbidden
  kLogits,          // the row's sums have a fault: nothing was done
  kEarlier,         // the slot's owner has had a fault before: nothing was done
};

struct SampleOutcome {
  int32_t token = -1;  // -1: the row does not draw, or has a fault
  SampleFault fault = SampleFault::kNone;
  int32_t fault_id = -1;     // the lowest id with a fault
  float fault_value = 0.0f;  // what it had become
};

// Requires: sums, block_max and block_sums are those of SumLogits of the logits. After a fault that
// is not kLogits the row's logits and sums are free.
struct SampleArgs {
  Rows<float> logits;         // [rows, vocab]; changed only where keeps_processed
  LogitSums* sums;            // [rows]
  Rows<float> block_max;      // [rows, blocks]
  Rows<uint64_t> block_sums;  // [rows, blocks]
  int64_t num_rows;
  const SampleRow* rows;    // [num_rows], and the arrays they point to: in the backend's memory
  SampleOutcome* outcomes;  // [num_rows]
  // Each may be null. Drawn tokens also go to drawn[row], -1 if there is none (rows of logits that
  // are in no SampleRow keep what was there), and, if there is one, to newest_tokens[slot]; each
  // slot is in one row at most. A row with a fault makes its owner the slot's failed one, who draws
  // nothing more: what follows it in the stream needs no answer from the host.
  int32_t* drawn = nullptr;          // [logits.rows]
  int32_t* newest_tokens = nullptr;  // [sampler slots]
  int64_t* failed_owners = nullptr;  // [sampler slots]; 0: nobody
  // Promises: a backend may leave out what other rows need.
  bool all_plain = false;                                    // no row IsChanged or keeps_processed
  int64_t num_edited = std::numeric_limits<int64_t>::max();  // no row from this one on IsEdited
};

VX_HOST_DEVICE inline bool HasFailedBefore(const SampleArgs& args, const SampleRow& row) {
  return args.failed_owners != nullptr && row.slot >= 0 &&
         args.failed_owners[row.slot] == row.owner;
}

// Puts what args.rows[n] came to where SampleArgs says.
VX_HOST_DEVICE inline void StoreOutcome(const SampleArgs& args, int64_t n,
                                        const SampleOutcome& outcome) {
  const SampleRow& row = args.rows[n];
  args.outcomes[n] = outcome;
  if (args.drawn != nullptr) args.drawn[row.row] = outcome.token;
  if (row.slot < 0) return;
  if (outcome.fault != SampleFault::kNone) {
    if (args.failed_owners != nullptr) args.failed_owners[row.slot] = row.owner;
  } else if (outcome.token >= 0) {
    if (args.newest_tokens != nullptr) args.newest_tokens[row.slot] = outcome.token;
    if (row.tokens != nullptr) row.tokens[row.num_prompt + row.num_output] = outcome.token;
  }
}

// What a backend of the host's memory asks: that the promises are kept.
void CheckPromises(const SampleArgs& args);

void SampleReference(const SampleArgs& args, Stream& stream);
void SampleCpu(CpuTarget target, const SampleArgs& args, Stream& stream);
// kResourceExhausted: no memory for copies of edited rows; nothing was done.
Status SampleSm90(const SampleArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_SAMPLING_SAMPLING_H_
