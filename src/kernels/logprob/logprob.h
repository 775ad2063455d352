// Log-probabilities of rows of logits: the sum of a row's softmax in integers, the log-probability
// and rank of given ids, and the most likely ids.
//
// Arithmetic: docs/numerics.md, logits -> logprob. The sums are integers over blocks of 128 ids, so
// any order and any split gives the same bits. Invariance: a row's answer depends on the row alone.
#ifndef VEXACT_KERNELS_LOGPROB_LOGPROB_H_
#define VEXACT_KERNELS_LOGPROB_LOGPROB_H_

#include <cstdint>
#include <limits>

#include "kernels/simd/cpu_target.h"
#include "numerics/host_device.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

inline constexpr int64_t kVocabBlock = 128;    // ids that share one M_b and S_b
inline constexpr int64_t kMaxVocab = 1 << 18;  // above, S could overflow
inline constexpr float kLogitLimit = 0x1p22f;  // a logit of this magnitude or more is a fault
inline constexpr float kDropped = -std::numeric_limits<float>::infinity();  // not a candidate

VX_HOST_DEVICE inline int64_t NumVocabBlocks(int64_t vocab_size) {
  return (vocab_size + kVocabBlock - 1) / kVocabBlock;
}

// What one pass over a row finds.
struct LogitSums {
  uint64_t sum = 0;          // S, in units of 2^(exponent - 44)
  int32_t exponent = 0;      // M
  float max = kDropped;      // the largest value; dropped: the row holds nothing
  int32_t argmax = -1;       // the lowest id that has it; -1: the row holds nothing
  int32_t fault_id = -1;     // the lowest id with a fault; sum to argmax then keep their defaults
  float fault_value = 0.0f;  // its logit
};

// Requires: 1 <= vocab <= kMaxVocab.
struct SumLogitsArgs {
  Rows<const float> logits;  // [rows, vocab]
  // NaN, +inf and |z| >= kLogitLimit are faults; so is -inf, unless it marks dropped ids.
  bool has_dropped = false;
  LogitSums* sums;            // [rows]
  Rows<float> block_max;      // [rows, blocks]; kDropped for a block of nothing; free after a fault
  Rows<uint64_t> block_sums;  // [rows, blocks]: S_b; free after a fault
};
void SumLogitsReference(const SumLogitsArgs& args, Stream& stream);
void SumLogitsCpu(CpuTarget target, const SumLogitsArgs& args, Stream& stream);
void SumLogitsSm90(const SumLogitsArgs& args, Stream& stream);

// One row's question to Logprob.
struct LogprobQuery {
  int32_t row = 0;         // of logits, sums and block_max; several queries may share one
  int32_t id = 0;          // whose logprob is asked for; -1: that of drawn[row]
  int32_t num_top = -1;    // the most likely ids to report; -1: neither they nor the rank
  int64_t top_offset = 0;  // where they start in top_ids and top_logprobs
};

struct LogprobAnswer {
  float logprob = 0.0f;  // -inf if the id is dropped
  int32_t rank = 0;      // ids before this one in (value descending, id ascending) order, plus 1
  int32_t num_top = 0;   // how many of the asked-for are not dropped
};

// A query of a row whose sums have a fault or that holds nothing, or of a row that drew nothing,
// keeps a default answer. Requires: sums and block maxima are those of SumLogits; id < vocab;
// num_top <= vocab.
struct LogprobArgs {
  Rows<const float> logits;     // [rows, vocab]
  const LogitSums* sums;        // [rows]
  Rows<const float> block_max;  // [rows, blocks]
  int64_t num_queries;
  const LogprobQuery* queries;     // [num_queries]
  const int32_t* drawn = nullptr;  // [rows], from Sample; null if every query has an id
  LogprobAnswer* answers;          // [num_queries]
  int32_t* top_ids;                // at each query's top_offset, in rank order
  float* top_logprobs;             // likewise
};
void LogprobReference(const LogprobArgs& args, Stream& stream);
void LogprobCpu(CpuTarget target, const LogprobArgs& args, Stream& stream);
void LogprobSm90(const LogprobArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_LOGPROB_LOGPROB_H_
