// What attention's CPU kernels work on: units of work, and small vector functions; the canonical
// kernel's memory.
#if defined(VEXACT_KERNELS_ATTENTION_ATTENTION_UNIT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VEXACT_KERNELS_ATTENTION_ATTENTION_UNIT_INL_H_
#undef VEXACT_KERNELS_ATTENTION_ATTENTION_UNIT_INL_H_
#else
#define VEXACT_KERNELS_ATTENTION_ATTENTION_UNIT_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <memory>
#include <type_traits>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/simd/dot16-inl.h"
#include "kernels/simd/split.h"
#include "kernels/simd/vector-inl.h"
#include "numerics/dot16.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace attention {

inline constexpr int64_t kTileGroups = kAttentionTile / kDotGroup;
inline constexpr int64_t kTilePanels = kAttentionTile / kPanel;

// to[d * kPanel + i] = from[i][first + d] for i and d in [0, 8).
HWY_INLINE void Transpose8x8(const bf16* const* from, int64_t first, bf16* to) {
  const hn::FixedTag<uint16_t, 8> d16;
  const hn::FixedTag<uint32_t, 4> d32;
  const hn::FixedTag<uint64_t, 2> d64;
  hn::Vec<decltype(d16)> rows[8];
  HWY_UNROLL(8)
  for (int i = 0; i < 8; ++i) {
    rows[i] = hn::LoadU(d16, reinterpret_cast<const uint16_t*>(from[i] + first));
  }
  hn::Vec<decltype(d32)> pairs[8];  // elements 0-3 (even entries) or 4-7 of two rows
  HWY_UNROLL(4)
  for (int i = 0; i < 4; ++i) {
    pairs[2 * i] = hn::BitCast(d32, hn::InterleaveLower(d16, rows[2 * i], rows[2 * i + 1]));
    pairs[2 * i + 1] = hn::BitCast(d32, hn::InterleaveUpper(d16, rows[2 * i], rows[2 * i + 1]));
  }
  HWY_UNROLL(2)
  for (int half = 0; half < 2; ++half) {  // elements 4 * half to 4 * half + 3
    const auto lower_01 = hn::InterleaveLower(d32, pairs[half], pairs[2 + half]);
    const auto lower_23 = hn::InterleaveUpper(d32, pairs[half], pairs[2 + half]);
    const auto upper_01 = hn::InterleaveLower(d32, pairs[4 + half], pairs[6 + half]);
    const auto upper_23 = hn::InterleaveUpper(d32, pairs[4 + half], pairs[6 + half]);
    const auto store = [&](int element, auto lower, auto upper) {
      uint16_t* at = reinterpret_cast<uint16_t*>(to + (4 * half + element) * kPanel);
      const auto a = hn::BitCast(d64, lower);
      const auto b = hn::BitCast(d64, upper);
      hn::StoreU(hn::BitCast(d16, hn::InterleaveLower(d64, a, b)), d16, at);
      hn::StoreU(hn::BitCast(d16, hn::InterleaveUpper(d64, a, b)), d16, at + kPanel);
    };
    store(0, lower_01, upper_01);
    store(2, lower_23, upper_23);
  }
}

struct Unit {
  int32_t sequence;
  int32_t kv_head;
  int64_t first_token;  // row of q
  int64_t tokens;
  int64_t first_position;  // of first_token
};

// Rows [first, end) of a unit.
struct RowRange {
  int64_t first;
  int64_t end;
};

// A unit's rows of q and positions of the pool. Row r is token r / group, head r % group of the KV
// head.
template <typename Mask>
struct UnitRows {
  UnitRows(const AttentionArgs& call, const Unit& of)
      : args(call),
        unit(of),
        mask(call.sequences.mask),
        group(call.num_heads / call.kv.num_kv_heads),
        rows(of.tokens * group),
        head_dim(call.kv.head_dim) {}

  const bf16* Query(int64_t r) const {  // [head_dim]
    return args.q[unit.first_token + r / group] + (unit.kv_head * group + r % group) * head_dim;
  }
  bf16* Output(int64_t r) const {  // [head_dim]
    return args.y[unit.first_token + r / group] + (unit.kv_head * group + r % group) * head_dim;
  }
  // Row r sees positions [Begin(r), End(r)); neither descends with r.
  int64_t Begin(int64_t r) const { return BeginOfToken(r / group); }
  int64_t End(int64_t r) const { return EndOfToken(r / group); }
  // The first row that sees `position` or later ones.
  int64_t FirstRow(int64_t position) const {
    if constexpr (std::is_same_v<Mask, CausalMask>) {
      return std::clamp((position - unit.first_position) * group, int64_t{0}, rows);
    } else {
      return FirstToken([&](int64_t token) { return EndOfToken(token) > position; }) * group;
    }
  }
  // The rows that see any of positions [begin, end).
  RowRange RowsOn(int64_t begin, int64_t end) const {
    RowRange range{FirstRow(begin), rows};
    if constexpr (!Mask::kFromStart) {
      range.end = FirstToken([&](int64_t token) { return BeginOfToken(token) >= end; }) * group;
    }
    return range;
  }
  const bf16* Key(int64_t position) const {  // [head_dim], as the next
    return args.kv.Keys(Block(position), unit.kv_head) + position % args.kv.block_size * head_dim;
  }
  const bf16* Value(int64_t position) const {
    return args.kv.Values(Block(position), unit.kv_head) + position % args.kv.block_size * head_dim;
  }
  // K of positions [begin, begin + kPanel), transposed: keys is [head_dim, kPanel]. Lanes from
  // `end` on repeat the last position before it, so that they raise no doubt of their own.
  void LoadKeys(int64_t begin, int64_t end, bf16* keys) const {
    for (int64_t lane = 0; lane < kPanel; lane += 8) {
      const bf16* rows_of_k[8];
      for (int64_t i = 0; i < 8; ++i) rows_of_k[i] = Key(std::min(begin + lane + i, end - 1));
      int64_t d = 0;
      for (; d + 8 <= head_dim; d += 8) Transpose8x8(rows_of_k, d, keys + d * kPanel + lane);
      for (; d < head_dim; ++d) {
        for (int64_t i = 0; i < 8; ++i) keys[d * kPanel + lane + i] = rows_of_k[i][d];
      }
    }
  }

  const AttentionArgs& args;
  const Unit& unit;
  const Mask mask;
  const int64_t group;  // query heads of a KV head
  const int64_t rows;
  const int64_t head_dim;

 private:
  int64_t BeginOfToken(int64_t token) const {
    return mask.Begin(static_cast<int32_t>(unit.first_position + token), unit.first_token + token);
  }
  int64_t EndOfToken(int64_t token) const {
    return mask.End(static_cast<int32_t>(unit.first_position + token), unit.first_token + token);
  }
  // The first token of the unit for which `holds`, which then holds for all later ones.
  template <typename Predicate>
  int64_t FirstToken(Predicate holds) const {
    int64_t low = 0;
    for (int64_t high = unit.tokens; low < high;) {
      const int64_t middle = (low + high) / 2;
      if (holds(middle)) {
        high = middle;
      } else {
        low = middle + 1;
      }
    }
    return low;
  }
  int64_t Block(int64_t position) const {
    const PagedSequences& s = args.sequences;
    return s.block_tables[s.block_table_start[unit.sequence] + position / args.kv.block_size];
  }
};

// A softmax sum in progress, without its vector O.
struct Softmax {
  bool empty = true;
  float m = 0.0f;
  float l = 0.0f;
};

// The memory of one unit, reused by the next.
struct Scratch {
  Scratch(const AttentionArgs& args, int64_t max_rows)
      : head_groups(CeilDiv(args.kv.head_dim, kDotGroup)),
        head_panels(CeilDiv(args.kv.head_dim, kPanel)),
        q(std::make_unique_for_overwrite<RowGroup[]>(head_groups * max_rows)),
        p(std::make_unique_for_overwrite<RowGroup[]>(kTileGroups * max_rows)),
        states(std::make_unique_for_overwrite<PanelState[]>(std::max(head_panels, int64_t{1}) *
                                                            max_rows)),
        starts(std::make_unique_for_overwrite<PanelState[]>(max_rows)),
        keys(std::make_unique<bf16[]>(head_groups * kDotGroup * kPanel)),
        scores(std::make_unique_for_overwrite<float[]>(kAttentionTile * max_rows)),
        fold(std::make_unique_for_overwrite<float[]>(head_panels * kPanel * max_rows)),
        q_scales(max_rows),
        p_usable(max_rows),
        segments(max_rows),
        folds(max_rows) {}

  int64_t head_groups;
  int64_t head_panels;
  std::unique_ptr<RowGroup[]> q;         // [head_groups, rows]
  std::unique_ptr<RowGroup[]> p;         // [kTileGroups, rows]
  std::unique_ptr<PanelState[]> states;  // O of the segment: [head_panels, rows]
  std::unique_ptr<PanelState[]> starts;  // scores, or one panel of O before the tile: [rows]
  std::unique_ptr<bf16[]> keys;          // one panel of positions: [head_groups * 16, kPanel]
  std::unique_ptr<float[]> scores;       // [rows, kAttentionTile]
  std::unique_ptr<float[]> fold;         // O of the fold: [rows, head_panels * kPanel], lane order
  std::vector<RowScale> q_scales;        // [rows]
  std::vector<uint8_t> p_usable;         // [rows]: P and O are fit for StepPanel
  std::vector<Softmax> segments;         // [rows]
  std::vector<Softmax> folds;            // [rows]
  bf16 values[kDotGroup * kPanel];       // see UnitRunner::Values
};

// The largest of scores[0..count), NaN ignored; -inf if there is none.
inline float Largest(const float* scores, int64_t count) {
  const DF df;
  VF largest = hn::Set(df, -INFINITY);
  int64_t j = 0;
  for (; j + kLanes <= count; j += kLanes) {
    const VF v = hn::LoadU(df, scores + j);
    largest = hn::IfThenElse(hn::Gt(v, largest), v, largest);
  }
  float lanes[kLanes];  // (Highway's MaxOfLanes without SIMD never answers -inf.)
  hn::StoreU(largest, df, lanes);
  float result = *std::max_element(lanes, lanes + kLanes);
  for (; j < count; ++j) result = scores[j] > result ? scores[j] : result;
  return result;
}

// Every row and head of the call once; a unit has at most `max_tokens` rows of q.
inline std::vector<Unit> SplitIntoUnits(const AttentionArgs& args, int64_t max_tokens) {
  std::vector<Unit> units;
  for (int64_t s = 0; s < args.sequences.count; ++s) {
    const int64_t begin = args.sequences.query_start[s];
    const int64_t end = args.sequences.query_start[s + 1];
    const int64_t first_position = args.sequences.context_len[s] - (end - begin);
    for (int64_t t = begin; t < end; t += max_tokens) {
      for (int64_t head = 0; head < args.kv.num_kv_heads; ++head) {
        units.push_back({static_cast<int32_t>(s), static_cast<int32_t>(head), t,
                         std::min(max_tokens, end - t), first_position + (t - begin)});
      }
    }
  }
  return units;
}

}  // namespace attention
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_UNIT_INL_H_
