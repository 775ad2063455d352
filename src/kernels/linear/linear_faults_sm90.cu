// A wrong schedule on purpose: what a kernel written with mma.sync.m16n8k8 computes. One warp has
// 16 tokens and 8 outputs and reads both operands from global memory.
#include "kernels/linear/linear_operands_sm90.cuh"
#include "kernels/linear/linear_schedules_sm90.h"
#include "kernels/sm90/launch.cuh"

namespace vexact {
namespace {

// Elements (row, column) and (row, column + 1), or zeros.
__device__ uint32_t LoadPair(const Rows<const bf16>& matrix, int64_t row, int64_t column) {
  if (row >= matrix.rows) return 0;
  const uint32_t low = column < matrix.cols ? matrix[row][column].bits : 0;
  const uint32_t high = column + 1 < matrix.cols ? matrix[row][column + 1].bits : 0;
  return low | high << 16;
}

__global__ void StepsOf8Kernel(sm90::LinearOperands args) {
  const int lane = threadIdx.x;
  const int64_t t = blockIdx.y * int64_t{16} + lane / 4;
  const int64_t o = blockIdx.x * int64_t{8} + lane / 4;
  float d[4] = {};
  for (int64_t k = 0; k < args.x.cols; k += 8) {
    const int64_t column = k + lane % 4 * 2;
    const uint32_t a0 = LoadPair(args.x, t, column);
    const uint32_t a1 = LoadPair(args.x, t + 8, column);
    const uint32_t b = LoadPair(args.w, o, column);
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
        "{%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a0), "r"(a1), "r"(b));
  }
  const int64_t first_out = blockIdx.x * int64_t{8} + lane % 4 * 2;
  sm90::StorePair(args, t, first_out, d[0], d[1]);
  sm90::StorePair(args, t + 8, first_out, d[2], d[3]);
}

}  // namespace

void LinearStepsOf8Sm90(const LinearArgs& args, Stream& stream) {
  const sm90::LinearOperands operands = sm90::MakeLinearOperands(args);
  const dim3 grid(static_cast<unsigned>((operands.w.rows + 7) / 8),
                  static_cast<unsigned>((operands.x.rows + 15) / 16));
  sm90::Launch(StepsOf8Kernel, grid, 32, 0, stream, operands);
}

}  // namespace vexact
