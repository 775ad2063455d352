// Attention in vectors. A unit of work is one KV head of one sequence and a run of query rows with
// all their heads that read it ("rows" below): a tile of K, then of V, is unpacked once for all of
// them. For Q K^T the lanes are positions, for P V they are elements of the head.
#include "kernels/attention/attention.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/cache_control.h>
#include <hwy/highway.h>
// clang-format on

#include <algorithm>
#include <atomic>
#include <cmath>
#include <vector>

#include "base/check.h"
#include "kernels/attention/attention_unit-inl.h"
#include "kernels/simd/dot16-inl.h"
#include "kernels/simd/ex2-inl.h"
#include "kernels/simd/tree128-inl.h"
#include "kernels/simd/vector-inl.h"
#include "numerics/constants.h"
#include "numerics/dot16.h"
#include "numerics/ex2.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace attention {

inline constexpr int64_t kMaxRows = 48;  // of a unit, unless one token has more heads a KV head

// One unit at work.
template <typename Mask>
class UnitRunner {
 public:
  UnitRunner(const AttentionArgs& args, const Unit& unit, Scratch& scratch)
      : u_(args, unit),
        s_(scratch),
        rows_(u_.rows),
        head_dim_(args.kv.head_dim),
        scale_(AttentionScale(args.kv.head_dim)) {}

  void Run() {
    for (int64_t r = 0; r < rows_; ++r) {
      s_.q_scales[r] = PrepareRow(u_.Query(r), head_dim_, rows_, s_.q.get() + r);
      s_.folds[r] = Softmax();
    }
    const int64_t first = u_.Begin(0) / kAttentionSegment;
    const int64_t end = CeilDiv(u_.End(rows_ - 1), kAttentionSegment);
    for (int64_t i = first; i < end; ++i) RunSegment(i * kAttentionSegment);
    for (int64_t r = 0; r < rows_; ++r) StoreRow(r);
  }

 private:
  void RunSegment(int64_t start) {
    const RowRange on = u_.RowsOn(start, start + kAttentionSegment);
    for (int64_t r = on.first; r < on.end; ++r) s_.segments[r] = Softmax();
    for (int64_t p = 0; p < s_.head_panels; ++p) {
      for (int64_t r = on.first; r < on.end; ++r) s_.states[p * rows_ + r].Start();
    }
    // Tiles that any row sees.
    const int64_t begin = std::max<int64_t>(0, u_.Begin(on.first) - start) / kAttentionTile;
    const int64_t end = std::min(start + kAttentionSegment, u_.End(on.end - 1));
    const int64_t tiles = CeilDiv(end - start, kAttentionTile);
    for (int64_t i = begin; i < tiles; ++i) {
      int64_t tile = i;
#ifdef VEXACT_BREAK_INVARIANCE
      // Test build: decode rows add a segment's tiles from the last one in batches of more than
      // one. (Turning the segments round would not do: the fold of two is one rounded sum of terms
      // scaled by powers of two, the same bits either way.)
      if (u_.unit.tokens == 1 && u_.args.sequences.count > 1) tile = begin + tiles - 1 - i;
#endif
      RunTile(start + tile * kAttentionTile);
    }
    for (int64_t r = on.first; r < on.end; ++r) FoldSegment(r);
  }

  void RunTile(int64_t tile) {
    TileRows on;
    on.rows = u_.RowsOn(tile, tile + kAttentionTile);
    on.begin = FirstSeen(tile, on.rows.first);
    on.end = EndSeen(tile, on.rows.end - 1);
    for (int64_t begin = on.begin / kPanel * kPanel; begin < on.end; begin += kPanel) {
      ScorePanel(tile, begin, std::min<int64_t>(on.end, begin + kPanel), on.rows);
    }
    for (int64_t r = on.rows.first; r < on.rows.end; ++r) UpdateSoftmax(tile, r);
    for (int64_t panel = 0; panel < s_.head_panels; ++panel) AddValues(tile, on, panel);
  }

  // The rows that see a tile, and which of its positions any of them sees.
  struct TileRows {
    RowRange rows;
    int64_t begin;
    int64_t end;
  };
  // Positions of a tile that row r sees, which sees some of it.
  int64_t FirstSeen(int64_t tile, int64_t r) const {
    return std::max<int64_t>(0, u_.Begin(r) - tile);
  }
  int64_t EndSeen(int64_t tile, int64_t r) const {
    return std::min<int64_t>(kAttentionTile, u_.End(r) - tile);
  }

  // Asks for step `step` of `steps` equal parts of a tile of K or V, where any row sees it. Runs of
  // one block are too short for the processor to see them coming; values are asked for while the
  // tile's scores are at work, the next tile's keys while its values are.
  template <typename RowOf>
  void PrefetchPart(int64_t tile, int64_t step, int64_t steps, RowOf row_of) const {
    const int64_t end = std::min(tile + (step + 1) * kAttentionTile / steps, u_.End(rows_ - 1));
    for (int64_t p = tile + step * kAttentionTile / steps; p < end; ++p) {
      for (int64_t d = 0; d < head_dim_; d += 32) hwy::Prefetch(row_of(p) + d);
    }
  }

  // Scores of positions [tile + begin, tile + end).
  void ScorePanel(int64_t tile, int64_t begin, int64_t end, const RowRange& on) {
    u_.LoadKeys(tile + begin, tile + end, s_.keys.get());
    const DF df;
    const DU8 du8;
    VU8 max_fields = hn::Zero(du8);
    PanelGroup group;
    for (int64_t r = on.first; r < on.end; ++r) s_.starts[r].Start();
    for (int64_t g = 0; g < s_.head_groups; ++g) {
      PrefetchPart(tile, begin / kPanel * s_.head_groups + g, kTilePanels * s_.head_groups,
                   [this](int64_t p) { return u_.Value(p); });
      max_fields =
          ExpandPanelGroup(s_.keys.get() + g * kDotGroup * kPanel, kPanel, max_fields, group);
      for (int64_t r = on.first; r < on.end; ++r) {
        StepPanel(group, s_.q[g * rows_ + r], s_.q_scales[r].floor, s_.starts[r]);
      }
    }
    const bool keys_usable = hn::AllTrue(du8, hn::Lt(max_fields, hn::Set(du8, kMaxPanelField + 1)));
    for (int64_t r = on.first; r < on.end; ++r) {
      float* scores = s_.scores.get() + r * kAttentionTile;
      const RowScale& scale = s_.q_scales[r];
      if (!keys_usable || !scale.usable || s_.starts[r].Doubtful(scale.floor)) {
        const int64_t seen = std::min(end, EndSeen(tile, r));
        for (int64_t j = std::max(begin, FirstSeen(tile, r)); j < seen; ++j) {
          scores[j] = Chain(u_.Query(r), u_.Key(tile + j), head_dim_);
        }
        continue;
      }
      const VF unit = hn::Set(df, scale.Unit());
      for (int half = 0; half < 2; ++half) {
        const VF even = hn::Mul(hn::Load(df, s_.starts[r].sums[2 * half]), unit);
        const VF odd = hn::Mul(hn::Load(df, s_.starts[r].sums[2 * half + 1]), unit);
        hn::StoreInterleaved2(even, odd, df, scores + begin + half * kPanel / 2);
      }
    }
  }

  // Scores -> P, l and the scaling of O.
  void UpdateSoftmax(int64_t tile, int64_t r) {
    const DF df;
    const DI di;
    float* scores = s_.scores.get() + r * kAttentionTile;
    const int64_t first = FirstSeen(tile, r);
    const int64_t end = EndSeen(tile, r);
    const float largest = Largest(scores + first, end - first);
    Softmax& segment = s_.segments[r];
    const float tile_m = CeilOfProduct(largest, scale_);
    const float m = segment.empty ? tile_m : std::max(segment.m, tile_m);
    bool usable = true;
    if (!segment.empty) {
      if (m != segment.m) {
        const float factor = ::vexact::Ex2(segment.m - m);
        segment.l = segment.l * factor;
        ScaleStates(r, factor);
      }
      usable = s_.p_usable[r] != 0;
    }
    segment.empty = false;
    segment.m = m;

    VI max_word = hn::Zero(di);
    for (int64_t j = 0; j < kAttentionTile; j += kLanes) {
      const VI lane = hn::Iota(di, static_cast<int32_t>(j));
      auto seen = hn::Lt(lane, hn::Set(di, static_cast<int32_t>(end)));
      if constexpr (!Mask::kFromStart) {
        seen = hn::And(seen, hn::Gt(lane, hn::Set(di, static_cast<int32_t>(first - 1))));
      }
      const VF exponent =
          FusedMulAdd(hn::LoadU(df, scores + j), hn::Set(df, scale_), hn::Set(df, -m));
      const VF power = hn::IfThenElseZero(hn::RebindMask(df, seen), Ex2(exponent));
      hn::StoreU(power, df, scores + j);
      const VU p = hn::And(RoundToBf16(power), hn::Set(DU(), 0xffff0000u));
      max_word = hn::Max(max_word, hn::BitCast(di, p));
      RowGroup& group = s_.p[j / kDotGroup * rows_ + r];
      hn::Store(hn::BitCast(df, p), df, group.values + j % kDotGroup);
      // A zero's field is 0: it drops by at least 127 and stays below the floor of kMinFloor.
      const VI drop = hn::Sub(hn::Set(di, 127), hn::ShiftRight<23>(hn::BitCast(di, p)));
      hn::Store(hn::BitCast(DU(), hn::Mul(drop, hn::Set(di, 0x01010101))), DU(),
                group.drops + j % kDotGroup);
    }
    // P above 1 needs |M| >= 2^23; NaN and infinity look larger still.
    usable = usable && hn::AllTrue(di, hn::Lt(max_word, hn::Set(di, 128 << 23)));
    s_.p_usable[r] = usable ? 1 : 0;
    segment.l = segment.l + Tree128(scores);
  }

  void ScaleStates(int64_t r, float factor) {
    const DF df;
    for (int64_t p = 0; p < s_.head_panels; ++p) {
      for (auto& sums : s_.states[p * rows_ + r].sums) {
        hn::Store(hn::Mul(hn::Load(df, sums), hn::Set(df, factor)), df, sums);
      }
    }
  }

  // V of positions [position, position + 16), one panel of their elements, from the pool itself if
  // all of it may be read there, else copied among zeros. Positions from `end` on are never read.
  const bf16* Values(int64_t position, int64_t end, int64_t panel, int64_t* stride) {
    const int64_t elements = std::min<int64_t>(kPanel, head_dim_ - panel * kPanel);
    // A block's size is a multiple of 16, so that the 16 positions are rows of one block.
    if (position + kDotGroup <= end && elements == kPanel) {
      *stride = head_dim_;
      return u_.Value(position) + panel * kPanel;
    }
    *stride = kPanel;
    std::fill_n(s_.values, kDotGroup * kPanel, bf16{});
    for (int64_t j = 0; j < std::min<int64_t>(kDotGroup, end - position); ++j) {
      std::copy_n(u_.Value(position + j) + panel * kPanel, elements, s_.values + j * kPanel);
    }
    return s_.values;
  }

  // O <- chain of P and V over the tile, for one panel of the head's elements.
  void AddValues(int64_t tile, const TileRows& on, int64_t panel) {
    const DU8 du8;
    PanelState* states = s_.states.get() + panel * rows_;
    for (int64_t r = on.rows.first; r < on.rows.end; ++r) {
      states[r].Watch();
      s_.starts[r] = states[r];
    }
    VU8 max_fields = hn::Zero(du8);
    PanelGroup group;
    for (int64_t g = on.begin / kDotGroup; g * kDotGroup < on.end; ++g) {
      PrefetchPart(tile + kAttentionTile, panel * kTileGroups + g, s_.head_panels * kTileGroups,
                   [this](int64_t p) { return u_.Key(p); });
      int64_t stride;
      const int64_t position = tile + g * kDotGroup;
      const bf16* values = Values(position, tile + on.end, panel, &stride);
      max_fields = ExpandPanelGroup(values, stride, max_fields, group);
      // A group of positions that a row does not see changes nothing.
      const RowRange rows = u_.RowsOn(position, position + kDotGroup);
      for (int64_t r = rows.first; r < rows.end; ++r) {
        StepPanel(group, s_.p[g * rows_ + r], kMinFloor, states[r]);
      }
    }
    const bool values_usable =
        hn::AllTrue(du8, hn::Lt(max_fields, hn::Set(du8, kMaxPanelField + 1)));
    for (int64_t r = on.rows.first; r < on.rows.end; ++r) {
      if (values_usable && s_.p_usable[r] != 0 && !states[r].Doubtful(kMinFloor)) continue;
      AddValuesScalar(tile, panel, r);
      // What is not finite stays out of StepPanel from here on.
      if (!values_usable) s_.p_usable[r] = 0;
    }
  }

  void AddValuesScalar(int64_t tile, int64_t panel, int64_t r) {
    const int64_t first = FirstSeen(tile, r);
    const int64_t end = EndSeen(tile, r);
    bf16 rounded[kAttentionTile];
    for (int64_t j = 0; j < kAttentionTile; ++j) {
      rounded[j] = Bf16FromFloat(s_.p[j / kDotGroup * rows_ + r].values[j % kDotGroup]);
    }
    const int64_t elements = std::min<int64_t>(kPanel, head_dim_ - panel * kPanel);
    for (int64_t lane = 0; lane < elements; ++lane) {
      bf16 column[kAttentionTile] = {};
      for (int64_t j = first; j < end; ++j) column[j] = u_.Value(tile + j)[panel * kPanel + lane];
      const int v = PanelVector(lane);
      const int64_t at = PanelLane(lane);
      s_.states[panel * rows_ + r].sums[v][at] =
          Chain(s_.starts[r].sums[v][at], rounded, column, kAttentionTile);
    }
  }

  // Adds the finished segment to the row's fold.
  void FoldSegment(int64_t r) {
    const DF df;
    const Softmax& next = s_.segments[r];
    Softmax& fold = s_.folds[r];
    const bool first = fold.empty;
    const float m = first ? next.m : std::max(fold.m, next.m);
    const float fold_factor = first ? 0.0f : ::vexact::Ex2(fold.m - m);
    const float next_factor = first ? 1.0f : ::vexact::Ex2(next.m - m);
    fold.l = first ? next.l : std::fma(next.l, next_factor, fold.l * fold_factor);
    fold.m = m;
    fold.empty = false;
    for (int64_t p = 0; p < s_.head_panels; ++p) {
      for (int v = 0; v < 4; ++v) {
        float* o = s_.fold.get() + ((r * s_.head_panels + p) * 4 + v) * kLanes;
        const VF sums = hn::Load(df, s_.states[p * rows_ + r].sums[v]);
        if (first) {
          hn::StoreU(sums, df, o);
        } else {
          const VF scaled = hn::Mul(hn::LoadU(df, o), hn::Set(df, fold_factor));
          hn::StoreU(FusedMulAdd(sums, hn::Set(df, next_factor), scaled), df, o);
        }
      }
    }
  }

  // y = bf16(rn(O * rcp(l))).
  void StoreRow(int64_t r) {
    const DF df;
    const VF reciprocal = hn::Set(df, 1.0f / s_.folds[r].l);
    bf16* y = u_.Output(r);
    for (int64_t i = 0; i < 2 * s_.head_panels; ++i) {
      const float* o = s_.fold.get() + (r * s_.head_panels * 2 + i) * 2 * kLanes;
      const VU even = RoundToBf16(hn::Mul(hn::LoadU(df, o), reciprocal));
      const VU odd = RoundToBf16(hn::Mul(hn::LoadU(df, o + kLanes), reciprocal));
      alignas(64) bf16 words[2 * kLanes];
      StoreBf16(JoinBf16(even, odd), words);
      const int64_t first = i * 2 * kLanes;
      if (first < head_dim_) {
        std::copy_n(words, std::min<int64_t>(2 * kLanes, head_dim_ - first), y + first);
      }
    }
  }

  const UnitRows<Mask> u_;
  Scratch& s_;
  const int64_t rows_;
  const int64_t head_dim_;
  const float scale_;
};

template <typename Mask>
void RunMasked(const AttentionArgs& args, Stream& stream) {
  CheckShapes(args);
  CheckSequences(args);
  VX_CHECK(args.kv.block_size % kDotGroup == 0, "blocks of a multiple of 16 positions");
  const int64_t group = args.num_heads / args.kv.num_kv_heads;
  const int64_t max_tokens = std::max<int64_t>(1, kMaxRows / group);
  const std::vector<Unit> units = SplitIntoUnits(args, max_tokens);
  int64_t max_rows = 0;
  for (const Unit& unit : units) max_rows = std::max(max_rows, unit.tokens * group);
  const auto count = static_cast<int64_t>(units.size());
  std::atomic<int64_t> next = 0;
  stream.pool->ParallelFor(std::min<int64_t>(stream.pool->num_threads(), count), [&](int64_t) {
    Scratch scratch(args, max_rows);
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      UnitRunner<Mask>(args, units[i], scratch).Run();
    }
  });
}

void Run(const AttentionArgs& args, Stream& stream) {
  WithMask(args.sequences.mask,
           [&](const auto& mask) { RunMasked<std::decay_t<decltype(mask)>>(args, stream); });
}

}  // namespace attention
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {

void AttentionCpu(CpuTarget target, const AttentionArgs& args, Stream& stream) {
  VX_CPU_DISPATCH(target, attention::Run, args, stream);
}

}  // namespace vexact
#endif  // HWY_ONCE
