#include "base/check.h"
#include "kernels/rope/rope.h"

namespace vexact {
namespace {

// bf16(rn(bf16(rn(x * cos)) + bf16(rn(rotated * sin)))).
bf16 Rotate(float x, float rotated, bf16 cos, bf16 sin) {
  const float straight = FloatFromBf16(Bf16FromFloat(x * FloatFromBf16(cos)));
  const float crossed = FloatFromBf16(Bf16FromFloat(rotated * FloatFromBf16(sin)));
  return Bf16FromFloat(straight + crossed);
}

}  // namespace

void RopeReference(const RopeArgs& args, Stream& stream) {
  const RopeView& table = args.table;
  const int64_t half = table.half;
  VX_CHECK(args.head_dim == 2 * half && args.x.cols % args.head_dim == 0, "x.cols, head_dim");
  const int64_t heads = args.x.cols / args.head_dim;
  stream.pool->ParallelFor(args.x.rows * heads, [&](int64_t index) {
    const int64_t t = index / heads;
    bf16* x = args.x[t] + index % heads * args.head_dim;
    VX_CHECK(args.positions[t] >= 0 && args.positions[t] < table.max_positions, "position");
    const bf16* cos = table.cos + args.positions[t] * half;
    const bf16* sin = table.sin + args.positions[t] * half;
    for (int64_t i = 0; i < half; ++i) {  // rotate_half: (first, second) -> (-second, first)
      const float first = FloatFromBf16(x[i]);
      const float second = FloatFromBf16(x[i + half]);
      x[i] = Rotate(first, -second, cos[i], sin[i]);
      x[i + half] = Rotate(second, first, cos[i], sin[i]);
    }
  });
}

}  // namespace vexact
