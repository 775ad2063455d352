#include "kernels/attention/attention_kernel_sm90.cuh"
#include "kernels/attention/attention_masks_sm90.h"

namespace vexact::sm90 {

void AttentionSlidingWindow(const AttentionArgs& args, Stream& stream) {
  LaunchUnderMask<SlidingWindowMask>(args, stream);
}

}  // namespace vexact::sm90
