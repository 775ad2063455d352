// CuTe's atoms for attention on any card from sm_80 on: rows in shared memory, operands from there
// (ldmatrix), products. A product is mma.sync m16n8k16 on one accumulator, 16 deep at a time and
// ascending: the chain of docs/numerics.md on a card whose tensor cores have the arithmetic of
// profile sm90.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_TILE_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_TILE_CUH_

#include <algorithm>
#include <cstdint>
#include <cute/arch/copy_sm75.hpp>
#include <cute/arch/copy_sm80.hpp>
#include <cute/arch/mma_sm80.hpp>
#include <cute/swizzle.hpp>

#include "kernels/attention/attention_parameters_sm90.cuh"
#include "kernels/sm90/mma.cuh"
#include "kernels/sm90/reduce.cuh"

namespace vexact::portable {

// Rows of bf16 in shared memory, in runs of up to 64 columns one after the other. The 16-byte
// pieces of a row are permuted so that 8 rows' pieces of one column lie in different banks
// (ldmatrix reads those at once).
template <int kRows, int kColumns>
struct SharedRows {
  static constexpr int kRun = std::min(kColumns, 64);
  static constexpr int kRunPieces = kRun / 8;  // of a row
  using Permutation = cute::Swizzle<kRun == 64 ? 3 : kRun == 32 ? 2 : 1, 3>;

  alignas(128) bf16 data[kRows * kColumns];

  // Bytes from the start to a piece; linear (xor) in the bits of row and piece.
  static __device__ __forceinline__ uint32_t Offset(int row, int piece) {
    const auto in_run = static_cast<uint32_t>(row * kRun + piece % kRunPieces * 8);
    return 2 * (Permutation::apply(in_run) + piece / kRunPieces * (kRows * kRun));
  }
  static constexpr uint32_t kRowBytes = 2 * kRun;
};

// Of 16 rows and 32 bytes of each in shared memory, four matrices of 8 x 8: which piece a lane
// gives for each of the operands of mma.sync m16n8k16.
struct LanePiece {
  int row;
  int piece;
};
__device__ __forceinline__ LanePiece LaneOfA() {  // 16 rows of A; also V's, read transposed
  return {sm90::Lane() % 16, sm90::Lane() / 16};
}
__device__ __forceinline__ LanePiece
LaneOfB() {  // columns 0-7, then 8-15 of B, which are rows here
  return {sm90::Lane() / 16 * 8 + sm90::Lane() % 8, sm90::Lane() / 8 % 2};
}

// 16 bytes of shared memory, given their address in the shared window (SharedAddress in mma.cuh).
__device__ __forceinline__ cute::uint128_t& AtShared(uint32_t address) {
  return *static_cast<cute::uint128_t*>(__cvta_shared_to_generic(address));
}

using Fragment = uint32_t[4];  // of A, or two of B
__device__ __forceinline__ void LoadFragment(Fragment& r, uint32_t piece) {
  cute::SM75_U32x4_LDSM_N::copy(AtShared(piece), r[0], r[1], r[2], r[3]);
}
__device__ __forceinline__ void LoadTransposed(Fragment& r, uint32_t piece) {
  cute::SM75_U16x8_LDSM_T::copy(AtShared(piece), r[0], r[1], r[2], r[3]);
}
// d[0] and d[1] (8 columns each) take one step.
__device__ __forceinline__ void Multiply(float (*d)[4], const Fragment& a, const Fragment& b) {
  using Step = cute::SM80_16x8x16_F32BF16BF16F32_TN;
#pragma unroll
  for (int n = 0; n < 2; ++n) {
    float(&c)[4] = d[n];
    Step::fma(c[0], c[1], c[2], c[3], a[0], a[1], a[2], a[3], b[2 * n], b[2 * n + 1], c[0], c[1],
              c[2], c[3]);
  }
}

// kSteps products whose B comes from shared memory, asked for kAhead steps before it is used; what
// `meanwhile` does comes between the first loads and the first product.
template <int kSteps, int kAhead, typename Load, typename Meanwhile, typename Use>
__device__ __forceinline__ void LoadAhead(Load load, Meanwhile meanwhile, Use use) {
  Fragment b[kAhead + 1];
#pragma unroll
  for (int step = 0; step < std::min(kAhead, kSteps); ++step) load(step, b[step]);
  meanwhile();
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    const int later = step + kAhead;
    if (later < kSteps) load(later, b[later % (kAhead + 1)]);
    use(step, b[step % (kAhead + 1)]);
  }
}

// A meeting of `threads` threads of the block; named barrier 0 is __syncthreads's.
__device__ __forceinline__ void MeetAt(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

// Arrives at an mbarrier (of threads that arrive once each) when this thread's copies so far have
// landed.
__device__ __forceinline__ void ArriveAfterCopies(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(barrier) : "memory");
}

}  // namespace vexact::portable

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_TILE_CUH_
