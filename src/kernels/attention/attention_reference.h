// One query row of the reference attention, before its last rounding: what tests compare with the
// oracle, for other lengths of a segment too.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_REFERENCE_H_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_REFERENCE_H_

#include "kernels/attention/attention.h"

namespace vexact {

struct AttentionRow {
  int64_t sequence;
  int64_t row;  // of args.q
  int64_t position;
  int64_t head;
};

// y[d] = the fp32 value that attention rounds to bf16 for this row and head; y is [head_dim].
// `segment` is a multiple of kAttentionTile.
void AttentionRowReference(const AttentionArgs& args, const AttentionRow& row, int64_t segment,
                           float* y);

}  // namespace vexact

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_REFERENCE_H_
