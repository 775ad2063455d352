// Attention of variant mode on a CPU: products in fp32 (panel_products-inl.h), softmax about the
// running maximum itself, P not rounded, and a sequence's positions cut over the threads where the
// call has too few units to keep them busy (Dao et al., Flash-Decoding, 2023). How a row is summed
// depends on what else is in the call.
#include "kernels/attention/attention.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/attention_variant_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
// clang-format on

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <span>
#include <vector>

#include "base/check.h"
#include "kernels/attention/attention_unit-inl.h"
#include "kernels/simd/panel_products-inl.h"
#include "numerics/constants.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {
namespace attention_variant {

using attention::Unit;
using UnitRows = attention::UnitRows<CausalMask>;

inline constexpr int64_t kTile = 128;             // positions whose scores are held at once
inline constexpr int64_t kLeastPart = 2 * kTile;  // positions worth a part of their own
inline constexpr int64_t kMaxRows = 48;           // of a unit, unless one token has more heads
inline constexpr int64_t kMaxRun = 64;            // positions in one block of the pool

// 2^x for x <= 0 (0 from about -126 down), relative error about 1e-7; NaN stays NaN. The Taylor
// polynomial of degree 6 about a whole number.
HWY_INLINE VF Power(VF x) {
  const DF df;
  const VF bounded = hn::Max(hn::Set(df, -126.0f), x);  // the second operand where one is NaN
  const VF whole = hn::Round(bounded);
  const VF f = hn::Sub(bounded, whole);
  VF p = hn::Set(df, 1.5403530e-4f);
  p = FusedMulAdd(p, f, hn::Set(df, 1.3333558e-3f));
  p = FusedMulAdd(p, f, hn::Set(df, 9.6181291e-3f));
  p = FusedMulAdd(p, f, hn::Set(df, 5.5504109e-2f));
  p = FusedMulAdd(p, f, hn::Set(df, 2.4022651e-1f));
  p = FusedMulAdd(p, f, hn::Set(df, 6.9314718e-1f));
  p = FusedMulAdd(p, f, hn::Set(df, 1.0f));
  const VI exponent = hn::ShiftLeft<23>(hn::Add(TruncateToInt(whole), hn::Set(DI(), 127)));
  return hn::Mul(p, hn::BitCast(df, exponent));
}

// Sizes of one call's arrays.
struct Sizes {
  explicit Sizes(const AttentionArgs& args)
      : head_dim(args.kv.head_dim),
        head_panels(CeilDiv(head_dim, kPanel)),
        o_stride(head_panels * kPanel),
        q_stride(ProductStride(head_dim)),
        p_stride(ProductStride(kTile)) {}

  int64_t head_dim;
  int64_t head_panels;
  int64_t o_stride;
  int64_t q_stride;
  int64_t p_stride;
};

// A run of a unit's positions, and what came of it. O of a row is [head_panels][2 halves][even,
// odd] vectors.
struct Part {
  Part(const Unit& of, int64_t first, int64_t last, int64_t rows, const Sizes& sizes)
      : unit(of),
        begin(first),
        end(last),
        m(rows, -INFINITY),
        l(rows, 0.0f),
        o(rows * sizes.o_stride) {}

  const Unit& unit;
  int64_t begin;
  int64_t end;
  std::vector<float> m;  // [rows]: the largest score so far, in powers of 2; -inf: none is visible
  std::vector<float> l;  // [rows]
  std::vector<float> o;  // [rows, o_stride]
};

// What one thread needs for any part.
struct Scratch {
  Scratch(const Sizes& sizes, int64_t max_rows)
      : q(std::make_unique_for_overwrite<float[]>(max_rows * sizes.q_stride)),
        p(std::make_unique_for_overwrite<float[]>(max_rows * sizes.p_stride)),
        keys(std::make_unique_for_overwrite<bf16[]>(sizes.head_dim * kPanel)),
        values(std::make_unique<bf16[]>(kMaxRun * kPanel)) {}

  std::unique_ptr<float[]> q;      // [rows, q_stride]
  std::unique_ptr<float[]> p;      // [rows, p_stride]: scores of a tile, then P
  std::unique_ptr<bf16[]> keys;    // [head_dim, kPanel]
  std::unique_ptr<bf16[]> values;  // [kMaxRun, kPanel]: a panel that the head does not fill
};

class PartRunner {
 public:
  PartRunner(const AttentionArgs& args, const Sizes& sizes, Scratch& scratch, Part& part)
      : u_(args, part.unit),
        sizes_(sizes),
        s_(scratch),
        part_(part),
        blocks_(u_.rows),
        scale_(AttentionScale(args.kv.head_dim)) {}

  void Run() {
    for (int64_t r = 0; r < u_.rows; ++r) {
      const bf16* query = u_.Query(r);
      float* q = s_.q.get() + r * sizes_.q_stride;
      for (int64_t d = 0; d < sizes_.head_dim; ++d) q[d] = FloatFromBf16(query[d]);
    }
    for (int64_t tile = part_.begin; tile < part_.end; tile += kTile) {
      RunTile(tile, std::min(tile + kTile, part_.end));
    }
  }

 private:
  void RunTile(int64_t tile, int64_t end) {
    // Rows before this one see nothing here; a block's rows go together.
    int64_t first_block = 0;
    while (blocks_.First(first_block + 1) <= u_.FirstRow(tile)) ++first_block;
    for (int64_t begin = tile; begin < end; begin += kPanel) {
      u_.LoadKeys(begin, end, s_.keys.get());
      for (int64_t b = first_block; b < blocks_.count; ++b) {
        WithProductRows(blocks_.Rows(b), [&]<int kRows>() { Score<kRows>(b, begin - tile); });
      }
    }
    for (int64_t r = blocks_.First(first_block); r < u_.rows; ++r) UpdateSoftmax(tile, end, r);
    const int64_t run = u_.args.kv.block_size;
    for (int64_t begin = tile; begin < end; begin += run) {
      AddValues(first_block, begin, std::min(begin + run, end), s_.p.get() + (begin - tile));
    }
  }

  // Scores of a block's rows at kPanel positions.
  template <int kRows>
  HWY_INLINE void Score(int64_t block, int64_t position) {
    using Shape = ProductShape<kRows>;
    const int64_t first_row = blocks_.First(block);
    for (int half = 0; half < 2; half += Shape::kHalves) {
      ProductSums<kRows, Shape::kHalves> sums;
      sums.Clear();
      AddProducts<Shape::kParts>({.words = s_.keys.get() + half * kHalfPanel,
                                  .words_stride = kPanel,
                                  .x = s_.q.get() + first_row * sizes_.q_stride,
                                  .x_stride = sizes_.q_stride,
                                  .count = sizes_.head_dim},
                                 sums);
      for (int r = 0; r < kRows; ++r) {
        float* to = s_.p.get() + (first_row + r) * sizes_.p_stride + position + half * kHalfPanel;
        for (int h = 0; h < Shape::kHalves; ++h, to += kHalfPanel) {
          hn::StoreInterleaved2(sums.v[r][2 * h], sums.v[r][2 * h + 1], DF(), to);
        }
      }
    }
  }

  // Scores -> P, l and the scaling of O.
  void UpdateSoftmax(int64_t tile, int64_t end, int64_t r) {
    const DF df;
    const DI di;
    float* p = s_.p.get() + r * sizes_.p_stride;
    const int64_t visible = std::clamp<int64_t>(u_.End(r) - tile, 0, end - tile);
    const float m = std::max(part_.m[r], attention::Largest(p, visible) * scale_);
    if (m > part_.m[r]) {
      alignas(64) float factor[kLanes];
      hn::Store(Power(hn::Set(df, part_.m[r] - m)), df, factor);
      const float keep = std::isinf(part_.m[r]) ? 0.0f : factor[0];
      part_.l[r] *= keep;
      float* o = part_.o.data() + r * sizes_.o_stride;
      for (int64_t i = 0; i < sizes_.o_stride; i += kLanes) {
        hn::StoreU(hn::Mul(hn::LoadU(df, o + i), hn::Set(df, keep)), df, o + i);
      }
      part_.m[r] = m;
    }
    VF sum = hn::Zero(df);
    for (int64_t j = 0; j < kTile; j += kLanes) {
      const auto seen =
          hn::Lt(hn::Iota(di, static_cast<int32_t>(j)), hn::Set(di, static_cast<int32_t>(visible)));
      const VF exponent = FusedMulAdd(hn::LoadU(df, p + j), hn::Set(df, scale_), hn::Set(df, -m));
      const VF power = hn::IfThenElseZero(hn::RebindMask(df, seen), Power(exponent));
      sum = hn::Add(sum, power);
      hn::StoreU(power, df, p + j);
    }
    part_.l[r] += hn::GetLane(hn::SumOfLanes(df, sum));
  }

  // V of positions [begin, end) of one block of the pool, a panel of their elements; positions
  // from `end` on are never read.
  ProductInputs Values(int64_t begin, int64_t end, int64_t panel) {
    const int64_t elements = std::min<int64_t>(kPanel, sizes_.head_dim - panel * kPanel);
    const bf16* values = u_.Value(begin) + panel * kPanel;
    ProductInputs inputs{.words = values,
                         .words_stride = sizes_.head_dim,
                         .x = nullptr,
                         .x_stride = sizes_.p_stride,
                         .count = end - begin};
    if (elements == kPanel) return inputs;
    for (int64_t j = 0; j < end - begin; ++j) {
      std::copy_n(values + j * sizes_.head_dim, elements, s_.values.get() + j * kPanel);
    }
    inputs.words = s_.values.get();
    inputs.words_stride = kPanel;
    return inputs;
  }

  // O += P V for positions of one block of the pool; p is row 0's at the first of them.
  void AddValues(int64_t first_block, int64_t begin, int64_t end, const float* p) {
    for (int64_t panel = 0; panel < sizes_.head_panels; ++panel) {
      ProductInputs inputs = Values(begin, end, panel);
      for (int64_t b = first_block; b < blocks_.count; ++b) {
        inputs.x = p + blocks_.First(b) * sizes_.p_stride;
        float* o = part_.o.data() + blocks_.First(b) * sizes_.o_stride + panel * kPanel;
        WithProductRows(blocks_.Rows(b), [&]<int kRows>() { AddToRows<kRows>(inputs, o); });
      }
    }
  }

  template <int kRows>
  HWY_INLINE void AddToRows(ProductInputs inputs, float* o) {
    using Shape = ProductShape<kRows>;
    constexpr int kVectors = 2 * Shape::kHalves;
    const DF df;
    for (int half = 0; half < 2; half += Shape::kHalves) {
      ProductSums<kRows, Shape::kHalves> sums;
      HWY_UNROLL(16)
      for (int r = 0; r < kRows; ++r) {
        HWY_UNROLL(16)
        for (int i = 0; i < kVectors; ++i) {
          sums.v[r][i] = hn::LoadU(df, o + r * sizes_.o_stride + i * kLanes);
        }
      }
      AddProducts<Shape::kParts>(inputs, sums);
      HWY_UNROLL(16)
      for (int r = 0; r < kRows; ++r) {
        HWY_UNROLL(16)
        for (int i = 0; i < kVectors; ++i) {
          hn::StoreU(sums.v[r][i], df, o + r * sizes_.o_stride + i * kLanes);
        }
      }
      inputs.words += Shape::kHalves * kHalfPanel;
      o += kVectors * kLanes;
    }
  }

  const UnitRows u_;
  const Sizes& sizes_;
  Scratch& s_;
  Part& part_;
  const RowBlocks blocks_;
  const float scale_;
};

// y of one row from all parts of its unit.
void StoreRow(const UnitRows& u, const Sizes& sizes, std::span<const Part> parts, int64_t r) {
  const DF df;
  float m = -INFINITY;
  for (const Part& part : parts) m = std::max(m, part.m[r]);
  float l = 0.0f;
  std::vector<float> factors;
  for (const Part& part : parts) {
    factors.push_back(std::exp2(part.m[r] - m));
    l += part.l[r] * factors.back();
  }
  bf16* y = u.Output(r);
  for (int64_t first = 0; first < sizes.head_dim; first += kHalfPanel) {
    VF even = hn::Zero(df);
    VF odd = hn::Zero(df);
    for (size_t i = 0; i < parts.size(); ++i) {
      const float* o = parts[i].o.data() + r * sizes.o_stride + first;
      const VF factor = hn::Set(df, factors[i] / l);
      even = FusedMulAdd(hn::LoadU(df, o), factor, even);
      odd = FusedMulAdd(hn::LoadU(df, o + kLanes), factor, odd);
    }
    alignas(64) bf16 words[kHalfPanel];
    StoreBf16(JoinBf16(RoundToBf16(even), RoundToBf16(odd)), words);
    std::copy_n(words, std::min<int64_t>(kHalfPanel, sizes.head_dim - first), y + first);
  }
}

// A unit's parts stand together, and in the order of the units.
std::vector<Part> SplitIntoParts(const AttentionArgs& args, const std::vector<Unit>& units,
                                 const Sizes& sizes, int num_threads) {
  const auto count = static_cast<int64_t>(units.size());
  const int64_t wanted = num_threads == 1 ? 1 : CeilDiv(2 * num_threads, count);
  std::vector<Part> parts;
  for (const Unit& unit : units) {
    const int64_t rows = unit.tokens * (args.num_heads / args.kv.num_kv_heads);
    const int64_t positions = unit.first_position + unit.tokens;
    const int64_t cuts = std::clamp<int64_t>(positions / kLeastPart, 1, wanted);
    const int64_t length = CeilDiv(CeilDiv(positions, cuts), kTile) * kTile;
    for (int64_t begin = 0; begin < positions; begin += length) {
      parts.emplace_back(unit, begin, std::min(begin + length, positions), rows, sizes);
    }
  }
  return parts;
}

void Run(const AttentionArgs& args, Stream& stream) {
  VX_CHECK(args.sequences.mask.kind == MaskKind::kCausal, "a causal mask");
  CheckShapes(args);
  CheckSequences(args);
  VX_CHECK(args.kv.block_size <= kMaxRun && kTile % args.kv.block_size == 0,
           "blocks that fill a tile");
  const int64_t group = args.num_heads / args.kv.num_kv_heads;
  const int64_t max_tokens = std::max<int64_t>(1, kMaxRows / group);
  const std::vector<Unit> units = attention::SplitIntoUnits(args, max_tokens);
  if (units.empty()) return;
  const Sizes sizes(args);
  std::vector<Part> parts = SplitIntoParts(args, units, sizes, stream.pool->num_threads());

  const auto count = static_cast<int64_t>(parts.size());
  std::atomic<int64_t> next = 0;
  stream.pool->ParallelFor(std::min<int64_t>(stream.pool->num_threads(), count), [&](int64_t) {
    Scratch scratch(sizes, max_tokens * group);
    for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      PartRunner(args, sizes, scratch, parts[i]).Run();
    }
  });
  for (size_t begin = 0, end = 0; begin < parts.size(); begin = end) {
    while (end < parts.size() && &parts[end].unit == &parts[begin].unit) ++end;
    const UnitRows u(args, parts[begin].unit);
    for (int64_t r = 0; r < u.rows; ++r) {
      StoreRow(u, sizes, std::span(parts).subspan(begin, end - begin), r);
    }
  }
}

}  // namespace attention_variant
}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {

void AttentionVariantCpu(CpuTarget target, const AttentionArgs& args, Stream& stream) {
  VX_CPU_DISPATCH(target, attention_variant::Run, args, stream);
}

}  // namespace vexact
#endif  // HWY_ONCE
