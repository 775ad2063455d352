// How the small operators are launched: dependent on the kernel before, with room for the one
// after from the start. What overlaps is the launches themselves (about 1.3 us a kernel in a graph)
// and the constant data that a later kernel reads ahead.
#ifndef VEXACT_KERNELS_SM90_OVERLAPPED_LAUNCH_CUH_
#define VEXACT_KERNELS_SM90_OVERLAPPED_LAUNCH_CUH_

#include "kernels/sm90/dependent_launch.cuh"

namespace vexact::sm90 {

// In every block of every kernel that LaunchOverlapped launches, before anything but reading what
// no kernel writes (weights). A block that left without waiting would let a later kernel believe
// that the earlier ones have finished.
__device__ __forceinline__ void BeginOverlapped() {
  AllowLater();
  WaitForEarlier();
}

// Nothing for an empty grid.
template <typename... Parameters, typename... Arguments>
void LaunchOverlapped(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes,
                      const Stream& stream, Arguments... arguments) {
  if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
  LaunchDependent(kernel, grid, block, shared_bytes, stream, arguments...);
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_OVERLAPPED_LAUNCH_CUH_
