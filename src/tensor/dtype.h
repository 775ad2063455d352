// Element types of tensors in files and in memory.
#ifndef VEXACT_TENSOR_DTYPE_H_
#define VEXACT_TENSOR_DTYPE_H_

#include <string_view>

namespace vexact {

enum class DType { kBf16, kF16, kF32, kQ8_0, kQ4_0, kQ4_1 };

// "bf16", "f16", "f32", "q8_0", "q4_0", "q4_1".
std::string_view DTypeName(DType dtype);

// Elements of one storage block and its bytes: {1, 2} for bf16, {32, 34} for q8_0, ...
struct DTypeLayout {
  int block_elements;
  int block_bytes;
};
DTypeLayout LayoutOf(DType dtype);

}  // namespace vexact

#endif  // VEXACT_TENSOR_DTYPE_H_
