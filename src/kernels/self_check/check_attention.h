// An attention call over sequences of generated keys and values, for checks and digests.
#ifndef VEXACT_KERNELS_SELF_CHECK_CHECK_ATTENTION_H_
#define VEXACT_KERNELS_SELF_CHECK_CHECK_ATTENTION_H_

#include <span>

#include "kernels/self_check/operator_call.h"

namespace vexact {

struct CheckedSequence {
  int64_t id;       // sequences of other ids hold other values
  int64_t context;  // positions, the query rows' included
  int64_t rows;     // query rows, at the last positions
};

struct CheckedAttention {
  int64_t num_heads;
  int64_t num_kv_heads;
  int64_t head_dim;
  int64_t block_size;
  MaskKind mask =
      MaskKind::kCausal;  // others with windows, documents and prefixes of 100 positions
};

// Calls attention; output "y". Slots of the pool that hold no position are NaN, and the blocks of
// different sequences lie in each other's gaps. A row's words depend on (id, position) alone, a
// prefix's also on where its sequence ends.
Status RunCheckedAttention(OperatorCall& call, const CheckedAttention& shape,
                           std::span<const CheckedSequence> sequences);

}  // namespace vexact

#endif  // VEXACT_KERNELS_SELF_CHECK_CHECK_ATTENTION_H_
