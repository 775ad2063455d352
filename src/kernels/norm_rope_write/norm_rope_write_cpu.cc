#include "kernels/norm_rope_write/norm_rope_write.h"

namespace vexact {

void NormRopeWriteCpu(CpuTarget target, const NormRopeWriteArgs& args, Stream& stream) {
  const NormRopeWriteSteps steps = StepsOf(args);
  if (args.q_norm != nullptr) RmsNormCpu(target, steps.q_norm, stream);
  if (args.k_norm != nullptr) RmsNormCpu(target, steps.k_norm, stream);
  RopeCpu(target, steps.rope, stream);
  KvWriteCpu(steps.write, stream);
}

}  // namespace vexact
