// One file a mask, so that they are compiled beside each other.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_MASKS_SM90_H_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_MASKS_SM90_H_

#include "kernels/attention/attention.h"

namespace vexact::sm90 {

void AttentionCausal(const AttentionArgs& args, Stream& stream);
void AttentionSlidingWindow(const AttentionArgs& args, Stream& stream);
void AttentionPrefixLm(const AttentionArgs& args, Stream& stream);
void AttentionDocument(const AttentionArgs& args, Stream& stream);

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_MASKS_SM90_H_
