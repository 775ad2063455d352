// Linear layers: y[t, o] = bf16(sum_i x[t, i] * weight[o, i] + bias[o]).
//
// Arithmetic: docs/numerics.md, linear. One accumulator over `in` in steps of 16 (dot16), so every
// schedule of every backend gives the same bits.
// Invariance: y[t, o] depends on x[t], weight[o] and bias[o] alone.
#ifndef VEXACT_KERNELS_LINEAR_LINEAR_H_
#define VEXACT_KERNELS_LINEAR_LINEAR_H_

#include "kernels/simd/cpu_target.h"
#include "numerics/bf16.h"
#include "tensor/buffer.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

// A weight in the layout of the backend that packed it (Backend::PackLinear); only that backend
// reads `storage`.
struct LinearWeight {
  int64_t out_features = 0;
  int64_t in_features = 0;
  Buffer storage;
  // [out, in] in the backend's memory, where `storage` holds the rows as they are; else no data.
  Rows<const bf16> rows = {};
};

// A kind of linear layer that a model has (Backend::PrepareLinear).
struct LinearProblem {
  int64_t out_features = 0;
  int64_t in_features = 0;
  bool has_bias = false;
  bool fp32_output = false;

  friend bool operator==(const LinearProblem&, const LinearProblem&) = default;
};

struct LinearArgs {
  Rows<const bf16> x;          // [tokens, in]
  const LinearWeight* weight;  // [out, in]
  const bf16* bias = nullptr;  // [out], or none
  Rows<bf16> y = {};           // [tokens, out]; exactly one of y and y_fp32 has data
  Rows<float> y_fp32 = {};     // [tokens, out]: logits and router scores
};

// What every backend requires; ends the program where shapes do not fit.
void CheckShapes(const LinearArgs& args);

// `rows` is [out, in], row-major.
Result<LinearWeight> PackLinearReference(Rows<const bf16> rows);
void LinearReference(const LinearArgs& args, Stream& stream);

Result<LinearWeight> PackLinearCpu(CpuTarget target, Rows<const bf16> rows);
void LinearCpu(CpuTarget target, const LinearArgs& args, Stream& stream);
// In an order that depends on the number of rows (variant mode), on weights of PackLinearCpu.
void LinearVariantCpu(CpuTarget target, const LinearArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_LINEAR_LINEAR_H_
