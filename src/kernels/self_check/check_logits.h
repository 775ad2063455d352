// Calls of sum_logits, logprob and sample on generated logits, for checks and digests.
#ifndef VEXACT_KERNELS_SELF_CHECK_CHECK_LOGITS_H_
#define VEXACT_KERNELS_SELF_CHECK_CHECK_LOGITS_H_

#include "kernels/self_check/operator_call.h"

namespace vexact {

// Rows [begin, end) of logits, a function of (row, id) alone: mostly within 9 of each other, every
// fourth row with few different values (ties), every fourth with one far above the others.
struct CheckedLogits {
  int64_t begin;
  int64_t end;
  int64_t vocab;
  bool has_dropped = false;  // three ids in four are -inf, and whole blocks of them
};
std::vector<float> MakeLogits(const CheckedLogits& shape, ThreadPool& pool);

// Outputs "sums", "block_max" and "block_sums".
Status RunCheckedSums(OperatorCall& call, const CheckedLogits& shape);
// Outputs "answers", "top_ids" and "top_logprobs"; a query for each row, and more for some.
Status RunCheckedLogprobs(OperatorCall& call, const CheckedLogits& shape);
// Outputs "logits", "sums", "outcomes" and "drawn"; sixteen rows after each other have each filter
// and penalty alone, and then together.
Status RunCheckedSamples(OperatorCall& call, const CheckedLogits& shape);

}  // namespace vexact

#endif  // VEXACT_KERNELS_SELF_CHECK_CHECK_LOGITS_H_
