// SequenceMask: what the engine's mask knows of one sequence.
#ifndef VEXACT_BATCH_SEQUENCE_MASK_H_
#define VEXACT_BATCH_SEQUENCE_MASK_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/attention/attention_mask.h"

namespace vexact {

struct SequenceMask {
  MaskKind kind = MaskKind::kCausal;
  // kPrefixLm: positions that all see each other. Keys and values of a position depend on all of
  // them, so they are computed in one step; 0, or at least 2.
  int32_t prefix_len = 0;
  // kDocument: where a document begins, ascending, without the first position. Tokens behind the
  // prompt belong to its last document.
  std::vector<int32_t> document_starts = {};

  bool BeginsDocument(int32_t position) const {
    return std::ranges::binary_search(document_starts, position);
  }
  // AttentionMask::reach of the row at `position`. Requires: HasReach(kind).
  int32_t ReachAt(int32_t position) const {
    if (kind == MaskKind::kPrefixLm) return std::max(0, prefix_len - 1 - position);
    const auto next = std::ranges::upper_bound(document_starts, position);
    return next == document_starts.begin() ? position : position - *(next - 1);
  }
};

}  // namespace vexact

#endif  // VEXACT_BATCH_SEQUENCE_MASK_H_
