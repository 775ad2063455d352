// Launching kernels: every launch is checked; a refused launch is a broken contract of ours (a
// shape that the kernel's caller should not have let through), not of the world.
#ifndef VEXACT_KERNELS_SM90_LAUNCH_CUH_
#define VEXACT_KERNELS_SM90_LAUNCH_CUH_

#include <cuda_runtime.h>

#include "tensor/cuda.h"
#include "tensor/stream.h"

namespace vexact::sm90 {

using vexact::CheckCuda;

template <typename... Parameters, typename... Arguments>
void Launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
            const Stream& stream, Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream.cuda;
  CheckCuda(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

// A kernel that needs more than 48 KB of shared memory is allowed it before its first launch.
template <typename... Parameters>
void AllowSharedBytes(void (*kernel)(Parameters...), size_t bytes) {
  CheckCuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(bytes)));
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_LAUNCH_CUH_
