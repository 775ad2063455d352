#include "kernels/attention/attention_kernel_sm90.cuh"
#include "kernels/attention/attention_masks_sm90.h"

namespace vexact::sm90 {

void AttentionPrefixLm(const AttentionArgs& args, Stream& stream) {
  LaunchUnderMask<PrefixLmMask>(args, stream);
}

}  // namespace vexact::sm90
