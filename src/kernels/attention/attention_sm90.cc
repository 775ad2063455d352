#include "base/check.h"
#include "kernels/attention/attention_masks_sm90.h"

namespace vexact {

void AttentionSm90(const AttentionArgs& args, Stream& stream) {
  CheckShapes(args);
  if (args.sequences.count == 0) return;
  switch (args.sequences.mask.kind) {
    case MaskKind::kCausal:
      return sm90::AttentionCausal(args, stream);
    case MaskKind::kSlidingWindow:
      return sm90::AttentionSlidingWindow(args, stream);
    case MaskKind::kPrefixLm:
      return sm90::AttentionPrefixLm(args, stream);
    case MaskKind::kDocument:
      return sm90::AttentionDocument(args, stream);
  }
  VX_CHECK(false, "a MaskKind");
}

}  // namespace vexact
