// Programmatic dependent launch: a kernel that starts while the one before it in the stream drains,
// so that its constant data (weights) streams in meanwhile.
//
// Such a kernel reads what earlier kernels wrote, and writes anything, only after WaitForEarlier;
// every kernel launched with LaunchDependent calls it in each of its blocks.
//
// Why that is enough. WaitForEarlier returns when the kernel before has ended in all its blocks and
// what it wrote is visible. That kernel ended after its own WaitForEarlier had returned, or was
// launched in the ordinary way and began after the end of all before it: so everything earlier in
// the stream has ended too, and nobody is left who reads what we overwrite or writes what we read.
// A kernel that ended without waiting would break the chain for all after it.
//
// AllowLater may come anywhere, and comes first: it only lets the next kernel's blocks start where
// there is room once all of ours have started, and those wait for our end before they touch what we
// do. (If it were called last, launches would overlap less and no reader would be safer.) What may
// run ahead of any wait is reading what no kernel of a step writes: weights. A next kernel that was
// launched in the ordinary way, cuBLASLt's for one, still starts after our end.
#ifndef VEXACT_KERNELS_SM90_DEPENDENT_LAUNCH_CUH_
#define VEXACT_KERNELS_SM90_DEPENDENT_LAUNCH_CUH_

#include "kernels/sm90/launch.cuh"

namespace vexact::sm90 {

// Cards before Hopper have no such launches: there all earlier kernels have ended.
__device__ __forceinline__ void WaitForEarlier() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void AllowLater() {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
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
