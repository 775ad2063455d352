// Sampling of one token for each row: penalties, filters and the draw.
//
// Arithmetic: docs/numerics.md, sampling; the generator is Philox4x32-10 (base/philox.h). The
// parameters mean what vLLM's of the same name mean. Invariance: a row's answer depends on its
// logits and its SampleRow alone.
#ifndef VEXACT_KERNELS_SAMPLING_SAMPLING_H_
#define VEXACT_KERNELS_SAMPLING_SAMPLING_H_

#include <cstdint>
#include <limits>

#include "kernels/logprob/logprob.h"
#include "kernels/simd/cpu_target.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

// A token that a sequence holds.
struct TokenCount {
  int32_t id = 0;
  int32_t count = 0;  // occurrences in the output; 0: it is in the prompt only
};

struct TokenBias {
  int32_t id = 0;
  float bias = 0.0f;
};

inline constexpr uint64_t kTopPOff = std::numeric_limits<uint64_t>::max();

// One row's parameters, each resolved to the form that the steps use (ResolveSampling).
struct SampleRow {
  int32_t row = 0;               // of logits, sums, block_max and block_sums; each at most once
  int32_t slot = 0;              // where newest_tokens takes the drawn token; -1: nowhere
  bool draws = true;             // choose a token; otherwise the row is only processed
  bool keeps_processed = false;  // replace the row's logits and sums by those of the kept y

  // Before temperature. Every array may be empty; ids of banned may repeat, others may not.
  // [ceil(vocab / 32)]: bit id % 32 of word id / 32; bits past the vocabulary are 0. None: all ids.
  const uint32_t* allowed = nullptr;
  const int32_t* banned = nullptr;  // [num_banned]: bad words' ends, stop ids before min_tokens
  int32_t num_banned = 0;
  const TokenBias* bias = nullptr;  // [num_bias]
  int32_t num_bias = 0;
  const TokenCount* history = nullptr;  // [num_history]: the tokens of prompt and output
  int32_t num_history = 0;
  float repetition = 1.0f;
  float frequency = 0.0f;
  float presence = 0.0f;

  bool greedy = false;               // the largest, without what follows
  float inverse_temperature = 1.0f;  // rn(1 / T)
  float log_min_p = kDropped;        // rn(ln(min_p)); -inf: off
  int32_t top_k = 0;                 // 0 or >= vocab: off
  uint64_t top_p = kTopPOff;         // floor(top_p * 2^32 + 1/2)

  uint64_t seed = 0;
  uint32_t position = 0;  // that the token will take
  uint32_t sample_index = 0;
};

enum class SampleFault : int32_t {
  kNone,
  kValue,           // fault_id's processed value is NaN, infinite or |value| >= kLogitLimit
  kNothingAllowed,  // every id is forbidden
  kLogits,          // the row's sums have a fault: nothing was done
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
  // Drawn tokens also go to drawn[row], -1 if there is none, and, if there is one, to
  // newest_tokens[slot], each slot in one row at most; each may be null.
  int32_t* drawn = nullptr;          // [logits.rows]
  int32_t* newest_tokens = nullptr;  // [sampler slots]
  // A promise: no row has an array, a penalty, a temperature other than 1, a filter or
  // keeps_processed. A backend may then leave out what they need.
  bool all_plain = false;
};
void SampleReference(const SampleArgs& args, Stream& stream);
void SampleCpu(CpuTarget target, const SampleArgs& args, Stream& stream);
void SampleSm90(const SampleArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_SAMPLING_SAMPLING_H_
