// Linear in vectors: lanes are outputs. A packed weight is [ceil(out / kPanel)][in, padded to a
// multiple of 16][kPanel] bf16; the last panel repeats the last output. Work is split by panels and
// by blocks of rows: an output is one thread's from its first product to its last.
#include "kernels/linear/linear.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/linear/linear_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>
// clang-format on

#include <algorithm>
#include <vector>

#include "kernels/linear/linear_store-inl.h"
#include "kernels/simd/dot16-inl.h"
#include "kernels/simd/split.h"
#include "kernels/simd/vector-inl.h"
#include "numerics/dot16.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace linear {

inline constexpr int64_t kRowBlock = 32;  // rows that share one expansion of a panel group

Result<LinearWeight> Pack(Rows<const bf16> rows) {
  const int64_t panels = CeilDiv(rows.rows, kPanel);
  const int64_t padded_in = CeilDiv(rows.cols, kDotGroup) * kDotGroup;
  VX_ASSIGN_OR_RETURN(Buffer storage, AllocateHost(panels * padded_in * kPanel * sizeof(bf16)));
  bf16* packed = storage.as<bf16>();
  for (int64_t p = 0; p < panels; ++p) {
    for (int64_t lane = 0; lane < kPanel; ++lane) {
      const bf16* row = rows[std::min(p * kPanel + lane, rows.rows - 1)];
      bf16* column = packed + p * padded_in * kPanel + lane;
      for (int64_t i = 0; i < rows.cols; ++i) column[i * kPanel] = row[i];
    }
  }
  return LinearWeight{rows.rows, rows.cols, std::move(storage)};
}

// One task: some rows against some panels.
struct Task {
  const LinearArgs& args;
  int64_t first_row;
  int64_t rows;
  int64_t groups;                // of 16 inputs
  std::vector<RowGroup> x;       // [groups, rows]
  std::vector<RowScale> scales;  // [rows]

  const bf16* Panel(int64_t panel) const {
    return args.weight->storage.as<bf16>() + panel * groups * kDotGroup * kPanel;
  }
};

// The sums of one row and panel with Dot16 alone.
void ScalarSums(const Task& task, int64_t row, int64_t panel, PanelState& state) {
  const bf16* words = task.Panel(panel);
  const int64_t in = task.args.weight->in_features;
  std::vector<bf16> column(in);
  for (int lane = 0; lane < kPanel; ++lane) {
    for (int64_t i = 0; i < in; ++i) column[i] = words[i * kPanel + lane];
    state.sums[PanelVector(lane)][PanelLane(lane)] =
        Chain(task.args.x[task.first_row + row], column.data(), in);
  }
}

// The smallest exponent field among a panel's elements that are not 0.
int MinField(const bf16* words, int64_t count) {
  int min_field = 255;
  for (int64_t i = 0; i < count; ++i) {
    const int magnitude = words[i].bits & 0x7fff;
    if (magnitude != 0) min_field = std::min(min_field, magnitude >> 7);
  }
  return min_field;
}

// y of one row and panel from its sums * unit.
void StorePanel(const Task& task, int64_t row, int64_t panel, const PanelState& state, float unit) {
  const DF df;
  for (int half = 0; half < 2; ++half) {
    const VF even = hn::Mul(hn::Load(df, state.sums[2 * half]), hn::Set(df, unit));
    const VF odd = hn::Mul(hn::Load(df, state.sums[2 * half + 1]), hn::Set(df, unit));
    StoreOutputs(task.args, task.first_row + row, panel * kPanel + half * kPanel / 2, even, odd);
  }
}

void FinishPanel(const Task& task, int64_t panel, int max_field, PanelState* states) {
  const bf16* words = task.Panel(panel);
  int min_field = -1;  // not yet known
  for (int64_t r = 0; r < task.rows; ++r) {
    const RowScale& scale = task.scales[r];
    bool exact = scale.usable && max_field <= kMaxPanelField;
    if (exact && states[r].Doubtful(scale.floor)) {
      if (min_field < 0) min_field = MinField(words, task.groups * kDotGroup * kPanel);
      // A low E is harmless if only zeros can cause it.
      states[r].ClearLowest();
      exact = min_field - scale.max_drop > scale.floor && !states[r].Doubtful(scale.floor);
    }
    if (!exact) ScalarSums(task, r, panel, states[r]);
    StorePanel(task, r, panel, states[r], exact ? scale.Unit() : 1.0f);
  }
}

// `in_flight` panels side by side: with few rows their chains hide each other's latency.
void RunPanels(const Task& task, int64_t first_panel, int64_t in_flight,
               std::vector<PanelState>& states) {
  const DU8 du8;
  alignas(64) uint8_t max_fields[4][kPanel] = {};
  PanelGroup group;
  for (int64_t i = 0; i < in_flight * task.rows; ++i) states[i].Start();
  for (int64_t g = 0; g < task.groups; ++g) {
    for (int64_t p = 0; p < in_flight; ++p) {
      const bf16* words = task.Panel(first_panel + p) + g * kDotGroup * kPanel;
      // The next group of this panel: at one row the weights come from memory just in time.
      for (int k = 0; k < kDotGroup * kPanel; k += 32)
        hwy::Prefetch(words + kDotGroup * kPanel + k);
      const VU8 seen = ExpandPanelGroup(words, kPanel, hn::Load(du8, max_fields[p]), group);
      hn::Store(seen, du8, max_fields[p]);
      for (int64_t r = 0; r < task.rows; ++r) {
        StepPanel(group, task.x[g * task.rows + r], task.scales[r].floor,
                  states[p * task.rows + r]);
      }
    }
  }
  for (int64_t p = 0; p < in_flight; ++p) {
    const int max_field = *std::max_element(max_fields[p], max_fields[p] + kPanel);
    FinishPanel(task, first_panel + p, max_field, states.data() + p * task.rows);
  }
}

void RunTask(const LinearArgs& args, int64_t first_row, int64_t first_panel, int64_t end_panel) {
  const int64_t rows = std::min(kRowBlock, args.x.rows - first_row);
  const int64_t groups = CeilDiv(args.x.cols, kDotGroup);
  Task task{args, first_row, rows, groups, std::vector<RowGroup>(groups * rows), {}};
  for (int64_t r = 0; r < rows; ++r) {
    task.scales.push_back(PrepareRow(args.x[first_row + r], args.x.cols, rows, task.x.data() + r));
  }
  const int64_t in_flight = std::max<int64_t>(1, 4 / rows);
  std::vector<PanelState> states(in_flight * rows);
  for (int64_t p = first_panel; p < end_panel; p += in_flight) {
    RunPanels(task, p, std::min(in_flight, end_panel - p), states);
  }
}

void Run(const LinearArgs& args, Stream& stream) {
  const LinearWeight& weight = *args.weight;
  const int64_t panels = CeilDiv(weight.out_features, kPanel);
  const int64_t row_blocks = CeilDiv(args.x.rows, kRowBlock);
  // At least 4 panels a task, so that preparing the rows stays small beside them.
  const int64_t wanted = CeilDiv(8 * stream.pool->num_threads(), std::max<int64_t>(row_blocks, 1));
  const int64_t panels_per_task = std::max<int64_t>(4, CeilDiv(panels, wanted));
  const int64_t slices = CeilDiv(panels, panels_per_task);
  // Panel slices outside: tasks that run together share weights.
  stream.pool->ParallelFor(slices * row_blocks, [&](int64_t task) {
    const int64_t first_panel = task / row_blocks * panels_per_task;
    RunTask(args, task % row_blocks * kRowBlock, first_panel,
            std::min(first_panel + panels_per_task, panels));
  });
}

}  // namespace linear
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {

Result<LinearWeight> PackLinearCpu(CpuTarget target, Rows<const bf16> rows) {
  VX_CPU_DISPATCH(target, linear::Pack, rows);
}

void LinearCpu(CpuTarget target, const LinearArgs& args, Stream& stream) {
  CheckShapes(args);
  VX_CPU_DISPATCH(target, linear::Run, args, stream);
}

}  // namespace vexact
#endif  // HWY_ONCE
