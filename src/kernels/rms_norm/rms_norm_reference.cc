#include <cmath>

#include "base/check.h"
#include "kernels/rms_norm/rms_norm.h"

namespace vexact {
namespace {

constexpr int64_t kLanes = 256;
constexpr int64_t kLaneGroup = 8;  // consecutive elements of one lane

float SumOfSquares(const bf16* x, int64_t count) {
  float lanes[kLanes] = {};
  for (int64_t i = 0; i < count; ++i) {
    float& p = lanes[i / kLaneGroup % kLanes];
    const float value = FloatFromBf16(x[i]);
    p = std::fma(value, value, p);
  }
  for (int64_t half = kLanes / 2; half >= 1; half /= 2) {
    for (int64_t lane = 0; lane < half; ++lane) lanes[lane] = lanes[lane] + lanes[lane + half];
  }
  return lanes[0];
}

void NormaliseGroup(const bf16* x, const RmsNormArgs& args, bf16* y) {
  const float mean = SumOfSquares(x, args.group) / static_cast<float>(args.group);
  const float shifted = mean + args.eps;
  const auto r = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shifted)));
  for (int64_t i = 0; i < args.group; ++i) {
    const float normalised = FloatFromBf16(Bf16FromFloat(FloatFromBf16(x[i]) * r));
    y[i] = Bf16FromFloat(FloatFromBf16(args.weight[i]) * normalised);
  }
}

}  // namespace

void CheckShapes(const RmsNormArgs& args) {
  VX_CHECK(args.group > 0 && args.x.cols % args.group == 0, "cols is a multiple of group");
  VX_CHECK(args.y.rows == args.x.rows && args.y.cols == args.x.cols, "y has the shape of x");
}

void RmsNormReference(const RmsNormArgs& args, Stream& stream) {
  CheckShapes(args);
  const int64_t groups = args.x.cols / args.group;
  stream.pool->ParallelFor(args.x.rows * groups, [&](int64_t index) {
    const int64_t t = index / groups;
    const int64_t offset = index % groups * args.group;
    NormaliseGroup(args.x[t] + offset, args, args.y[t] + offset);
  });
}

}  // namespace vexact
