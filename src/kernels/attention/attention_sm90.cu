#include "kernels/attention/attention_kernel_sm90.cuh"

namespace vexact {

void AttentionSm90(const AttentionArgs& args, Stream& stream) {
  if (args.sequences.count == 0) return;
  switch (args.kv.head_dim) {
    case 16:
      return sm90::LaunchAttention<16>(args, stream);
    case 32:
      return sm90::LaunchAttention<32>(args, stream);
    case 64:
      return sm90::LaunchAttention<64>(args, stream);
    case 128:
      return sm90::LaunchAttention<128>(args, stream);
    default:
      VX_CHECK(false, "head_dim 16, 32, 64 or 128");
  }
}

}  // namespace vexact
