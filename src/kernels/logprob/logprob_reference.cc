#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "base/check.h"
#include "kernels/logprob/logprob.h"
#include "kernels/logprob/logprob_value.h"

namespace vexact {
namespace {

bool IsFault(float z, bool has_dropped) {
  if (has_dropped && z == kDropped) return false;
  return !(std::fabs(z) < kLogitLimit);
}

// M_b and S_b of z[0, n), and their row's sums from them.
void SumRow(const float* z, int64_t vocab, bool has_dropped, LogitSums* sums, float* block_max,
            uint64_t* block_sums) {
  *sums = LogitSums{};
  for (int64_t i = 0; i < vocab; ++i) {
    if (IsFault(z[i], has_dropped)) {
      sums->fault_id = static_cast<int32_t>(i);
      sums->fault_value = z[i];
      return;
    }
  }
  for (int64_t i = 0; i < vocab; ++i) {
    if (z[i] > sums->max) {
      sums->max = z[i];
      sums->argmax = static_cast<int32_t>(i);
    }
  }
  if (sums->argmax >= 0) sums->exponent = SoftmaxExponent(sums->max);
  for (int64_t b = 0; b < NumVocabBlocks(vocab); ++b) {
    const int64_t begin = b * kVocabBlock;
    const int64_t end = std::min(begin + kVocabBlock, vocab);
    block_max[b] = *std::max_element(z + begin, z + end);
    block_sums[b] = 0;
    if (block_max[b] == kDropped) continue;
    const int32_t exponent = SoftmaxExponent(block_max[b]);
    for (int64_t i = begin; i < end; ++i) block_sums[b] += SoftmaxTerm(z[i], exponent);
    sums->sum += BlockShare(block_sums[b], sums->exponent - exponent);
  }
}

void Answer(const float* z, int64_t vocab, const LogitSums& sums, const LogprobQuery& query,
            const LogprobArgs& args, LogprobAnswer* answer) {
  *answer = LogprobAnswer{};
  const int32_t id = query.id >= 0 ? query.id : args.drawn[query.row];
  if (sums.argmax < 0 || id < 0) return;
  answer->logprob = LogprobOf(z[id], sums.exponent, sums.sum);
  if (query.num_top < 0) return;
  std::vector<int32_t> order(vocab);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [z](int32_t a, int32_t b) { return z[a] > z[b]; });
  const auto place = std::find(order.begin(), order.end(), id);
  answer->rank = static_cast<int32_t>(place - order.begin()) + 1;
  for (int32_t n = 0; n < query.num_top && z[order[n]] != kDropped; ++n) {
    args.top_ids[query.top_offset + n] = order[n];
    args.top_logprobs[query.top_offset + n] = LogprobOf(z[order[n]], sums.exponent, sums.sum);
    answer->num_top = n + 1;
  }
}

}  // namespace

void SumLogitsReference(const SumLogitsArgs& args, Stream& stream) {
  VX_CHECK(args.logits.cols >= 1 && args.logits.cols <= kMaxVocab);
  stream.pool->ParallelFor(args.logits.rows, [&](int64_t r) {
    SumRow(args.logits[r], args.logits.cols, args.has_dropped, &args.sums[r], args.block_max[r],
           args.block_sums[r]);
  });
}

void LogprobReference(const LogprobArgs& args, Stream& stream) {
  stream.pool->ParallelFor(args.num_queries, [&](int64_t q) {
    const LogprobQuery& query = args.queries[q];
    Answer(args.logits[query.row], args.logits.cols, args.sums[query.row], query, args,
           &args.answers[q]);
  });
}

}  // namespace vexact
