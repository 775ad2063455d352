#include "tensor/dtype.h"

#include "base/check.h"

namespace vexact {

std::string_view DTypeName(DType dtype) {
  switch (dtype) {
    case DType::kBf16:
      return "bf16";
    case DType::kF16:
      return "f16";
    case DType::kF32:
      return "f32";
    case DType::kQ8_0:
      return "q8_0";
    case DType::kQ4_0:
      return "q4_0";
    case DType::kQ4_1:
      return "q4_1";
  }
  VX_CHECK(false, "a DType outside the enumeration");
  return "";
}

DTypeLayout LayoutOf(DType dtype) {
  switch (dtype) {
    case DType::kBf16:
    case DType::kF16:
      return {1, 2};
    case DType::kF32:
      return {1, 4};
    case DType::kQ8_0:
      return {32, 34};
    case DType::kQ4_0:
      return {32, 18};
    case DType::kQ4_1:
      return {32, 20};
  }
  VX_CHECK(false, "a DType outside the enumeration");
  return {0, 0};
}

}  // namespace vexact
