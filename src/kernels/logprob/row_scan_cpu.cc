#include "kernels/logprob/row_scan_cpu.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/logprob/candidates_cpu.h"
#include "kernels/logprob/logprob_value.h"
#include "kernels/simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/logprob/row_scan_cpu.cc"
// clang-format off
#include <hwy/foreach_target.h>
#include <hwy/highway.h>
#include "kernels/logprob/softmax_terms-inl.h"
// clang-format on

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {

// The block of up to kVocabBlock values at z, made whole with dropped ones.
struct alignas(64) PaddedBlock {
  float values[kVocabBlock];

  const float* Load(const float* z, int64_t count) {
    if (count >= kVocabBlock) return z;
    std::fill(std::copy(z, z + count, values), values + kVocabBlock, kDropped);
    return values;
  }
};

// Lanes without a fault: |z| < kLogitLimit, or the mark of a dropped id (NaN: there is none).
HWY_INLINE hn::Mask<DF> Usable(VF z, VF mark) {
  return hn::Or(hn::Lt(hn::Abs(z), hn::Set(DF(), kLogitLimit)), hn::Eq(z, mark));
}
HWY_INLINE VF DroppedMark(bool has_dropped) {
  return hn::Set(DF(), has_dropped ? kDropped : std::numeric_limits<float>::quiet_NaN());
}

// Of usable lanes. (Some of Highway's targets start the maximum at -FLT_MAX, above -inf.)
HWY_INLINE float LargestLane(VF lanes) {
  const float largest = hn::GetLane(hn::MaxOfLanes(DF(), lanes));
  return largest > -kLogitLimit ? largest : kDropped;
}

int32_t FirstFault(const float* z, int64_t count, bool has_dropped, int64_t first_id) {
  for (int64_t i = 0; i < count; ++i) {
    const bool dropped = has_dropped && z[i] == kDropped;
    if (!dropped && !(std::fabs(z[i]) < kLogitLimit)) return static_cast<int32_t>(first_id + i);
  }
  return -1;
}

// The sums of a block of kVocabBlock values with the exponent of their maximum.
HWY_INLINE uint64_t SumBlock(const float* z, int32_t exponent) {
  const DF df;
  const VF minus_exponent = hn::Set(df, -static_cast<float>(exponent));
  VU64 sums = hn::Zero(DU64());
  for (int64_t i = 0; i < kVocabBlock; i += kLanes) {
    AddTerms(hn::LoadU(df, z + i), minus_exponent, sums);
  }
  return hn::GetLane(hn::SumOfLanes(DU64(), sums));
}

void FinishRow(const float* z, int64_t vocab, const RowSums& out) {
  LogitSums& sums = *out.sums;
  const int64_t blocks = NumVocabBlocks(vocab);
  sums.max = *std::max_element(out.block_max, out.block_max + blocks);
  if (sums.max == kDropped) return;
  sums.argmax = ArgMax({z, out.block_max, vocab}, sums.max);
  sums.exponent = SoftmaxExponent(sums.max);
  for (int64_t b = 0; b < blocks; ++b) {
    if (out.block_max[b] == kDropped) continue;
    sums.sum += BlockShare(out.block_sums[b], sums.exponent - SoftmaxExponent(out.block_max[b]));
  }
}

void SumRowOf(const float* z, int64_t vocab, bool has_dropped, const RowSums& out) {
  const DF df;
  const VF mark = DroppedMark(has_dropped);
  PaddedBlock padded;
  *out.sums = LogitSums{};
  for (int64_t b = 0; b < NumVocabBlocks(vocab); ++b) {
    const int64_t count = std::min(kVocabBlock, vocab - b * kVocabBlock);
    const float* block = padded.Load(z + b * kVocabBlock, count);
    VF largest = hn::Set(df, kDropped);
    auto usable = hn::FirstN(df, kLanes);
    for (int64_t i = 0; i < kVocabBlock; i += kLanes) {
      const VF v = hn::LoadU(df, block + i);
      largest = hn::Max(v, largest);
      usable = hn::And(usable, Usable(v, mark));
    }
    if (!hn::AllTrue(df, usable)) {
      const int32_t fault = FirstFault(block, count, has_dropped, b * kVocabBlock);
      if (fault >= 0) {
        *out.sums = LogitSums{};
        out.sums->fault_id = fault;
        out.sums->fault_value = z[fault];
        return;
      }
    }
    out.block_max[b] = LargestLane(largest);
    out.block_sums[b] = 0;
    if (out.block_max[b] == kDropped) continue;
    out.block_sums[b] = SumBlock(block, SoftmaxExponent(out.block_max[b]));
  }
  FinishRow(z, vocab, out);
}

int32_t ScaleRowOf(const float* z, int64_t vocab, float factor, float* y, float* block_max) {
  const DF df;
  const VF mark = DroppedMark(true);
  const VF factors = hn::Set(df, factor);
  PaddedBlock padded;
  alignas(64) float scaled[kVocabBlock];
  for (int64_t b = 0; b < NumVocabBlocks(vocab); ++b) {
    const int64_t count = std::min(kVocabBlock, vocab - b * kVocabBlock);
    const float* block = padded.Load(z + b * kVocabBlock, count);
    float* to = count < kVocabBlock ? scaled : y + b * kVocabBlock;
    VF largest = hn::Set(df, kDropped);
    auto usable = hn::FirstN(df, kLanes);
    for (int64_t i = 0; i < kVocabBlock; i += kLanes) {
      const VF from = hn::LoadU(df, block + i);
      // A factor of 0 would make a NaN of a dropped one.
      const VF v = hn::IfThenElse(hn::Eq(from, mark), mark, hn::Mul(from, factors));
      hn::StoreU(v, df, to + i);
      largest = hn::Max(v, largest);
      usable = hn::And(usable, Usable(v, mark));
    }
    block_max[b] = LargestLane(largest);
    if (count < kVocabBlock) std::copy(scaled, scaled + count, y + b * kVocabBlock);
    if (hn::AllTrue(df, usable)) continue;
    return FirstFault(to, count, true, b * kVocabBlock);
  }
  return -1;
}

void ComputeTermsOf(const float* y, int64_t count, int32_t exponent, uint64_t* terms) {
  const DF df;
  const VF minus_exponent = hn::Set(df, -static_cast<float>(exponent));
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    StoreTerms(hn::LoadU(df, y + i), minus_exponent, terms + i);
  }
  for (; i < count; ++i) terms[i] = SoftmaxTerm(y[i], exponent);
}

uint64_t SumTermsOf(const float* y, int64_t count, int32_t exponent) {
  const DF df;
  const VF minus_exponent = hn::Set(df, -static_cast<float>(exponent));
  VU64 sums = hn::Zero(DU64());
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    AddTerms(hn::LoadU(df, y + i), minus_exponent, sums);
  }
  uint64_t sum = hn::GetLane(hn::SumOfLanes(DU64(), sums));
  for (; i < count; ++i) sum += SoftmaxTerm(y[i], exponent);
  return sum;
}

int64_t CountAboveOf(const float* y, int64_t count, float value) {
  const DF df;
  const VF values = hn::Set(df, value);
  int64_t above = 0;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    above += static_cast<int64_t>(hn::CountTrue(df, hn::Gt(hn::LoadU(df, y + i), values)));
  }
  for (; i < count; ++i) above += y[i] > value ? 1 : 0;
  return above;
}

int64_t SelectAtLeastOf(const float* y, int64_t count, float least, int32_t first_id,
                        const SelectedIds& out) {
  const DF df;
  const DI di;
  const VF leasts = hn::Set(df, least);
  int64_t selected = 0;
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const VF v = hn::LoadU(df, y + i);
    const auto mask = hn::Ge(v, leasts);
    if (hn::AllFalse(df, mask)) continue;
    const VI ids = hn::Iota(di, static_cast<int32_t>(first_id + i));
    hn::CompressStore(ids, hn::RebindMask(di, mask), di, out.ids + selected);
    selected += static_cast<int64_t>(hn::CompressStore(v, mask, df, out.values + selected));
  }
  for (; i < count; ++i) {
    out.ids[selected] = static_cast<int32_t>(first_id + i);
    out.values[selected] = y[i];
    selected += y[i] >= least ? 1 : 0;
  }
  return selected;
}

void DropBelowOf(float* y, int64_t count, float least) {
  const DF df;
  const VF leasts = hn::Set(df, least);
  const VF dropped = hn::Set(df, kDropped);
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    const VF v = hn::LoadU(df, y + i);
    hn::StoreU(hn::IfThenElse(hn::Lt(v, leasts), dropped, v), df, y + i);
  }
  for (; i < count; ++i) {
    if (y[i] < least) y[i] = kDropped;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace vexact {

void SumRow(CpuTarget target, const float* z, int64_t vocab, bool has_dropped, RowSums out) {
  VX_CPU_DISPATCH(target, SumRowOf, z, vocab, has_dropped, out);
}

int32_t ScaleRow(CpuTarget target, const float* z, int64_t vocab, float factor, float* y,
                 float* block_max) {
  VX_CPU_DISPATCH(target, ScaleRowOf, z, vocab, factor, y, block_max);
}

void ComputeTerms(CpuTarget target, const float* y, int64_t count, int32_t exponent,
                  uint64_t* terms) {
  VX_CPU_DISPATCH(target, ComputeTermsOf, y, count, exponent, terms);
}

uint64_t SumTerms(CpuTarget target, const float* y, int64_t count, int32_t exponent) {
  VX_CPU_DISPATCH(target, SumTermsOf, y, count, exponent);
}

int64_t CountAbove(CpuTarget target, const float* y, int64_t count, float value) {
  VX_CPU_DISPATCH(target, CountAboveOf, y, count, value);
}

int64_t SelectAtLeast(CpuTarget target, const float* y, int64_t count, float least,
                      int32_t first_id, SelectedIds out) {
  VX_CPU_DISPATCH(target, SelectAtLeastOf, y, count, least, first_id, out);
}

void DropBelow(CpuTarget target, float* y, int64_t count, float least) {
  VX_CPU_DISPATCH(target, DropBelowOf, y, count, least);
}

}  // namespace vexact
#endif
