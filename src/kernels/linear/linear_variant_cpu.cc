// Linear of variant mode on a CPU: the weights of linear_cpu.cc, summed in fp32 in whatever order
// is fastest for the number of rows (panel_products-inl.h).
//
// oneDNN was to do this. Debian's 2.6.3 refuses bf16 on AVX2, and its fp32 path wants weights of
// twice the bytes: docs/performance.md has both measured beside this kernel.
#include "kernels/linear/linear.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/linear_variant_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include <algorithm>
#include <memory>

#include "kernels/linear/linear_store-inl.h"
#include "kernels/simd/dot16-inl.h"
#include "kernels/simd/panel_products-inl.h"
#include "kernels/simd/split.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace linear_variant {

// Blocks of rows that a task takes through a panel while the panel is in the second cache.
inline constexpr int64_t kTaskBlocks = 8;

struct Call {
  const LinearArgs& args;
  RowBlocks blocks;
  int64_t padded_in;  // of a packed panel
  float* x;           // [rows, in], ProductStride(in) apart

  int64_t in() const { return args.weight->in_features; }
  const bf16* Panel(int64_t panel) const {
    return args.weight->storage.as<bf16>() + panel * padded_in * kPanel;
  }
  float* Row(int64_t row) const { return x + row * ProductStride(in()); }
};

template <int kRows>
void RunBlock(const Call& call, int64_t panel, int64_t block) {
  using Shape = ProductShape<kRows>;
  const int64_t first_row = call.blocks.First(block);
  for (int half = 0; half < 2; half += Shape::kHalves) {
    ProductSums<kRows, Shape::kHalves> sums;
    sums.Clear();
    AddProducts<Shape::kParts>({.words = call.Panel(panel) + half * kHalfPanel,
                                .words_stride = kPanel,
                                .x = call.Row(first_row),
                                .x_stride = ProductStride(call.in()),
                                .count = call.in()},
                               sums);
    for (int r = 0; r < kRows; ++r) {
      for (int h = 0; h < Shape::kHalves; ++h) {
        linear::StoreOutputs(call.args, first_row + r, panel * kPanel + (half + h) * kHalfPanel,
                             sums.v[r][2 * h], sums.v[r][2 * h + 1]);
      }
    }
  }
}

void Run(const LinearArgs& args, Stream& stream) {
  const LinearWeight& weight = *args.weight;
  if (args.x.rows == 0) return;
  const auto x = std::make_unique_for_overwrite<float[]>(args.x.rows * ProductStride(args.x.cols));
  const Call call{args, RowBlocks(args.x.rows), CeilDiv(args.x.cols, kDotGroup) * kDotGroup,
                  x.get()};
  stream.pool->ParallelFor(args.x.rows, [&](int64_t row) {
    for (int64_t i = 0; i < call.in(); ++i) call.Row(row)[i] = FloatFromBf16(args.x[row][i]);
  });

  const int64_t panels = CeilDiv(weight.out_features, kPanel);
  const int64_t row_tasks = CeilDiv(call.blocks.count, kTaskBlocks);
  const int64_t wanted = CeilDiv(8 * stream.pool->num_threads(), row_tasks);
  const int64_t panels_per_task = CeilDiv(panels, wanted);
  const int64_t slices = CeilDiv(panels, panels_per_task);
  // Panel slices outside: tasks that run together share weights.
  stream.pool->ParallelFor(slices * row_tasks, [&](int64_t task) {
    const int64_t first_panel = task / row_tasks * panels_per_task;
    const int64_t first_block = task % row_tasks * kTaskBlocks;
    const int64_t end_block = std::min(first_block + kTaskBlocks, call.blocks.count);
    for (int64_t p = first_panel; p < std::min(first_panel + panels_per_task, panels); ++p) {
      for (int64_t b = first_block; b < end_block; ++b) {
        WithProductRows(call.blocks.Rows(b), [&]<int kRows>() { RunBlock<kRows>(call, p, b); });
      }
    }
  });
}

}  // namespace linear_variant
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {

void LinearVariantCpu(CpuTarget target, const LinearArgs& args, Stream& stream) {
  CheckShapes(args);
  VX_CPU_DISPATCH(target, linear_variant::Run, args, stream);
}

}  // namespace vexact
#endif  // HWY_ONCE
