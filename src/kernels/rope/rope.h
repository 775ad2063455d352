// Rotary position embedding (Su et al., 2021) in the rotate_half order, applied to q and k: a step
// of norm_rope_write.
//
// Arithmetic: docs/numerics.md, rope. Invariance: a head depends on its own values and position.
#ifndef VEXACT_KERNELS_ROPE_ROPE_H_
#define VEXACT_KERNELS_ROPE_ROPE_H_

#include <cstdint>
#include <vector>

#include "checkpoint/model_config.h"
#include "kernels/simd/cpu_target.h"
#include "numerics/bf16.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

// Cosines and sines of positions [0, max_positions), in the backend's memory.
struct RopeView {
  int64_t max_positions = 0;
  int64_t half = 0;           // rotary_dim / 2
  const bf16* cos = nullptr;  // [max_positions, half]
  const bf16* sin = nullptr;  // [max_positions, half]
};

// The same, built on the host, in double, once for a model; every backend reads these words.
struct RopeTable {
  int64_t max_positions = 0;
  int64_t half = 0;
  std::vector<bf16> cos;
  std::vector<bf16> sin;

  RopeView view() const { return {max_positions, half, cos.data(), sin.data()}; }
};
RopeTable BuildRopeTable(const RopeConfig& config, int64_t max_positions);

struct RopeArgs {
  Rows<bf16> x;              // [tokens, heads * head_dim], rotated in place
  int64_t head_dim;          // == 2 * table.half
  const int32_t* positions;  // [tokens], each in [0, table.max_positions)
  RopeView table;
};

void RopeReference(const RopeArgs& args, Stream& stream);
void RopeCpu(CpuTarget target, const RopeArgs& args, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_ROPE_ROPE_H_
