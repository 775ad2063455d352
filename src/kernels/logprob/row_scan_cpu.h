// The passes over a row of logits that the CPU's logprob and sampling operators are made of.
#ifndef VEXACT_KERNELS_LOGPROB_ROW_SCAN_CPU_H_
#define VEXACT_KERNELS_LOGPROB_ROW_SCAN_CPU_H_

#include <cstdint>

#include "kernels/logprob/logprob.h"
#include "kernels/simd/cpu_target.h"

namespace vexact {

// SumLogits of one row: z[vocab], block_max and block_sums [blocks].
struct RowSums {
  LogitSums* sums;
  float* block_max;
  uint64_t* block_sums;
};
void SumRow(CpuTarget target, const float* z, int64_t vocab, bool has_dropped, RowSums out);

// y[i] = rn(z[i] * factor), and the largest of each block; a dropped z stays dropped. Returns the
// lowest id whose y is NaN, +inf or at least kLogitLimit in magnitude, or -1. y may be z.
int32_t ScaleRow(CpuTarget target, const float* z, int64_t vocab, float factor, float* y,
                 float* block_max);

// terms[i] = SoftmaxTerm(y[i], exponent), exponent that of a value not below any y[i]; or their
// sum.
void ComputeTerms(CpuTarget target, const float* y, int64_t count, int32_t exponent,
                  uint64_t* terms);
uint64_t SumTerms(CpuTarget target, const float* y, int64_t count, int32_t exponent);

// How many y[i] > value.
int64_t CountAbove(CpuTarget target, const float* y, int64_t count, float value);

// Appends the i + first_id with y[i] >= least, ascending, to ids, and their y to values. Returns
// how many; both arrays have room for `count` more and a vector's overhang (kSelectOverhang).
inline constexpr int64_t kSelectOverhang = 16;
struct SelectedIds {
  int32_t* ids;
  float* values;
};
int64_t SelectAtLeast(CpuTarget target, const float* y, int64_t count, float least,
                      int32_t first_id, SelectedIds out);

// y[i] = dropped where y[i] < least.
void DropBelow(CpuTarget target, float* y, int64_t count, float least);

}  // namespace vexact

#endif  // VEXACT_KERNELS_LOGPROB_ROW_SCAN_CPU_H_
