// Tensor maps: what the copy engine reads a box of a tensor by (cp.async.bulk.tensor).
#ifndef VEXACT_KERNELS_SM90_TENSOR_MAP_CUH_
#define VEXACT_KERNELS_SM90_TENSOR_MAP_CUH_

#include <cudaTypedefs.h>

#include <array>
#include <cstdint>

#include "base/check.h"
#include "kernels/sm90/launch.cuh"
#include "numerics/bf16.h"

namespace vexact::sm90 {

// A tensor of bf16 in four dimensions, the innermost first. Rows of a box are 32, 64 or 128 bytes;
// in shared memory their 16-byte pieces are permuted (the swizzle of that many bytes).
struct TensorBoxes {
  bf16* data;                            // aligned to 16 bytes
  std::array<uint64_t, 4> dims;          // elements
  std::array<uint64_t, 3> stride_bytes;  // of dims 1 to 3: multiples of 16
  std::array<uint32_t, 4> box;           // elements
};

inline CUtensorMap MakeTensorMap(const TensorBoxes& boxes) {
  static const auto encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    CheckCuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                               cudaEnableDefault, &found));
    VX_CHECK(found == cudaDriverEntryPointSuccess, "a driver with tensor maps");
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
  }();
  const uint32_t row_bytes = boxes.box[0] * sizeof(bf16);
  VX_CHECK(row_bytes == 32 || row_bytes == 64 || row_bytes == 128, "rows of 32, 64 or 128 bytes");
  const CUtensorMapSwizzle swizzle = row_bytes == 128  ? CU_TENSOR_MAP_SWIZZLE_128B
                                     : row_bytes == 64 ? CU_TENSOR_MAP_SWIZZLE_64B
                                                       : CU_TENSOR_MAP_SWIZZLE_32B;
  const std::array<uint32_t, 4> steps = {1, 1, 1, 1};
  CUtensorMap map;
  const CUresult result = encode(
      &map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, boxes.data, boxes.dims.data(),
      boxes.stride_bytes.data(), boxes.box.data(), steps.data(), CU_TENSOR_MAP_INTERLEAVE_NONE,
      swizzle, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  VX_CHECK(result == CUDA_SUCCESS, "a tensor that a map can describe");
  return map;
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_TENSOR_MAP_CUH_
