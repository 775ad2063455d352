// Asynchronous copies from global to shared memory: by threads, 16 bytes each (cp.async), and by
// the copy engine, boxes of a tensor, which complete on a barrier (cp.async.bulk.tensor).
#ifndef VEXACT_KERNELS_SM90_ASYNC_COPY_CUH_
#define VEXACT_KERNELS_SM90_ASYNC_COPY_CUH_

#include <cuda.h>

#include <cstdint>

namespace vexact::sm90 {

// Copies the first `valid_bytes` (0 to 16) and writes zeros for the rest; what is not copied is not
// read. Both addresses are multiples of 16. Past the L1 cache.
__device__ __forceinline__ void CopyAsync16(uint32_t shared, const void* global,
                                            uint32_t valid_bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared),
               "l"(__cvta_generic_to_global(global)), "r"(valid_bytes)
               : "memory");
}
// This thread's copies since the last commit are one group.
__device__ __forceinline__ void CommitCopies() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Returns when at most kPending of this thread's latest groups are still under way.
template <int kPending>
__device__ __forceinline__ void WaitCopies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// The box of a tensor map (tensor_map.cuh) that begins at (0, x1, x2, x3). All its bytes, also
// those outside of the tensor, count at `barrier` (ArriveExpectBytes).
__device__ __forceinline__ void CopyBox(uint32_t shared, const CUtensorMap* map, int32_t x1,
                                        int32_t x2, int32_t x3, uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%2, %3, %4, %5}], [%6];" ::"r"(shared),
      "l"(map), "r"(0), "r"(x1), "r"(x2), "r"(x3), "r"(barrier)
      : "memory");
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_ASYNC_COPY_CUH_
