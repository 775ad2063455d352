// mbarrier: what asynchronous copies into shared memory complete on, and what hands a stage back to
// the warp that fills it. A barrier is 8 bytes of shared memory, named here by its address in the
// shared window (SharedAddress in mma.cuh).
//
// A phase ends when `arrivals` threads have arrived and all expected bytes have landed. Waiting
// for parity p returns once the phase of parity p has ended; the first phase has parity 0, so a
// wait for parity 1 on a fresh barrier returns at once.
#ifndef VEXACT_KERNELS_SM90_BARRIER_CUH_
#define VEXACT_KERNELS_SM90_BARRIER_CUH_

#include <cstdint>

namespace vexact::sm90 {

// By one thread; then FenceBarrierInit by the same thread and __syncthreads by all.
__device__ __forceinline__ void InitBarrier(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
// Makes initialised barriers visible to the copy engine and to the other blocks of a cluster.
__device__ __forceinline__ void FenceBarrierInit() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ __forceinline__ void Arrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// One arrival, and the phase also waits for `bytes` more of asynchronous copies.
__device__ __forceinline__ void ArriveExpectBytes(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

// Hopper suspends the thread for a while at each try; cards before it only test.
__device__ __forceinline__ void WaitBarrier(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n"
      ".reg .pred done;\n"
      "retry:\n"
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
#else
      "mbarrier.test_wait.parity.shared::cta.b64 done, [%0], %1;\n"
#endif
      "@!done bra retry;\n"
      "}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// A place in a ring of stages that barriers guard, and the parity of its round.
template <int kStages>
struct RingPlace {
  int stage = 0;
  uint32_t round = 0;

  __device__ __forceinline__ void Advance() {
    if (++stage < kStages) return;
    stage = 0;
    round ^= 1;
  }
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_BARRIER_CUH_
