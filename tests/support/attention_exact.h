// Attention as a softmax in float64, and how far the law may be from it.
#ifndef VEXACT_SUPPORT_ATTENTION_EXACT_H_
#define VEXACT_SUPPORT_ATTENTION_EXACT_H_

#include "support/attention_call.h"

namespace vexact {

// Whether the row at `position` sees `key` under the mask, from the sequence's own prefix and
// documents.
bool Sees(const AttentionMask& mask, const AttentionSequence& sequence, int64_t position,
          int64_t key);

// Expects row `row` of `y`, the answer for this one sequence, within its derived error.
void ExpectWithinError(const Matrix<bf16>& y, const AttentionSequence& sequence,
                       const AttentionShape& shape, int64_t row, const AttentionMask& mask);

}  // namespace vexact

#endif  // VEXACT_SUPPORT_ATTENTION_EXACT_H_
