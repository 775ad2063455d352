// Conversion of file words to bf16 (docs/numerics.md, weights), scalar, one IEEE operation at a
// time; it runs once, at load.
#ifndef VEXACT_CHECKPOINT_BF16_TENSOR_H_
#define VEXACT_CHECKPOINT_BF16_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "numerics/bf16.h"
#include "tensor/dtype.h"

namespace vexact {

// A weight in memory, row-major. Copies share the storage: a mapped file or an owned buffer.
struct Bf16Tensor {
  const bf16* data = nullptr;  // [shape], aligned for bf16 only
  std::vector<int64_t> shape;  // outermost first
  std::shared_ptr<const void> storage;
  bool is_mapped = false;  // data lies in the file's mapping: no memory of its own
};

// The fp32 with exactly the value of the IEEE binary16 `bits`.
float FloatFromF16(uint16_t bits);

// dst[i] = bf16(value i of src). f16, f32: one rounding. q8_0: bf16(rn(d*q)); q4_0:
// bf16(rn(d*(q-8))); q4_1: bf16(rn(rn(d*q)+m)), with d and m fp16 made fp32.
// Requires: src holds exactly dst.size() elements of `dtype`, whole blocks; little-endian, any
// alignment.
void ConvertToBf16(DType dtype, std::span<const std::byte> src, std::span<bf16> dst);

// Reorders the rows of every head from llama.cpp's rotary pairs (2i, 2i+1) to rotate_half's
// (i, i + head_dim/2): dst row h*D + i + j*D/2 = src row h*D + 2i + j.
// Requires: src and dst are [heads * head_dim, cols], distinct; head_dim is even.
void UnpermuteRotaryRows(std::span<const bf16> src, int64_t head_dim, int64_t cols,
                         std::span<bf16> dst);

}  // namespace vexact

#endif  // VEXACT_CHECKPOINT_BF16_TENSOR_H_
