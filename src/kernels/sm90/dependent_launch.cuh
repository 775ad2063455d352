// Programmatic dependent launch: a kernel that starts while the one before it in the stream drains,
// so that its constant data (weights) streams in meanwhile.
//
// Such a kernel reads what earlier kernels wrote, and writes anything, only after WaitForEarlier;
// every kernel launched with LaunchDependent calls it in each of its blocks. AllowLater lets the
// next one start as soon as there is room; a next one launched in the ordinary way still waits for
// the end.
#ifndef VEXACT_KERNELS_SM90_DEPENDENT_LAUNCH_CUH_
#define VEXACT_KERNELS_SM90_DEPENDENT_LAUNCH_CUH_

#include "kernels/sm90/launch.cuh"

namespace vexact::sm90 {

__device__ __forceinline__ void WaitForEarlier() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}
__device__ __forceinline__ void AllowLater() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

template <typename... Parameters, typename... Arguments>
void LaunchDependent(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                     const Stream& stream, Arguments... arguments) {
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = grid;
  config.blockDim = block;
  config.dynamicSmemBytes = shared_bytes;
  config.stream = stream.cuda;
  config.attrs = &attribute;
  config.numAttrs = 1;
  CheckCuda(cudaLaunchKernelEx(&config, kernel, static_cast<Parameters>(arguments)...));
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_DEPENDENT_LAUNCH_CUH_
