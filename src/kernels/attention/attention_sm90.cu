#include "kernels/attention/attention_kernel_sm90.cuh"

namespace vexact {

void AttentionSm90(const AttentionArgs& args, Stream& stream) {
  if (args.sequences.count == 0) return;
  constexpr int kSegmentTiles = kAttentionSegment / kAttentionTile;
  switch (args.kv.head_dim) {
    case 16:
      return sm90::LaunchAttention<16, kSegmentTiles>(args, stream);
    case 32:
      return sm90::LaunchAttention<32, kSegmentTiles>(args, stream);
    case 64:
      return sm90::LaunchAttention<64, kSegmentTiles>(args, stream);
    case 128:
      return sm90::LaunchAttention<128, kSegmentTiles>(args, stream);
    default:
      VX_CHECK(false, "head_dim 16, 32, 64 or 128");
  }
}

}  // namespace vexact
