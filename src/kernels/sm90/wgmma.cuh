// wgmma: tensor-core steps of a warpgroup (4 warps), asynchronous, with B (and perhaps A) read from
// shared memory. Each step is dot16 for each of its outputs (docs/numerics.md), as mma.sync is.
//
// Fence before the first step, commit after the last, wait before the accumulators are used.
// Accumulators: warp w of the group holds rows 16 w to 16 w + 15, d[j] is the fragment of columns
// 8 j to 8 j + 7 as in mma.cuh.
#ifndef VEXACT_KERNELS_SM90_WGMMA_CUH_
#define VEXACT_KERNELS_SM90_WGMMA_CUH_

#include <cstdint>

namespace vexact::sm90 {

__device__ __forceinline__ void WgmmaFence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void WgmmaCommit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Returns when at most kPending of the latest groups are still under way.
template <int kPending = 0>
__device__ __forceinline__ void WgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Keeps what is done with these registers on its side of the asynchronous steps.
template <int kRows, int kColumns>
__device__ __forceinline__ void HoldRegisters(float (&d)[kRows][kColumns]) {
#pragma unroll
  for (auto& row : d) {
#pragma unroll
    for (float& x : row) asm volatile("" : "+f"(x)::"memory");
  }
}
template <int kRows, int kColumns>
__device__ __forceinline__ void HoldRegisters(uint32_t (&d)[kRows][kColumns]) {
#pragma unroll
  for (auto& row : d) {
#pragma unroll
    for (uint32_t& x : row) asm volatile("" : "+r"(x)::"memory");
  }
}

// What this thread wrote to shared memory is there for wgmma and the copy engine.
__device__ __forceinline__ void FenceAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// By all warps of a warpgroup: its share of the block's registers, for each thread.
template <int kRegisters>
__device__ __forceinline__ void TakeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void GiveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// An operand in shared memory as copies with the 128-byte swizzle leave it: rows of 64 elements,
// 128 bytes apart; `stride_bytes` lie between two groups of 8 rows. For an operand whose rows are
// the K side (values), `leading_bytes` lie between columns 0-63 and 64-127; of one whose columns
// are the K side (queries, keys) they are not read.
__device__ __forceinline__ uint64_t WgmmaOperand(uint32_t shared, uint32_t leading_bytes,
                                                 uint32_t stride_bytes) {
  return uint64_t{(shared & 0x3ffff) >> 4} | uint64_t{leading_bytes >> 4} << 16 |
         uint64_t{stride_bytes >> 4} << 32 | uint64_t{1} << 62;
}

// Operands whose parts steps read one after the other: an addition a step, where the whole
// description for each took 15 instructions between two steps.
class WgmmaOperands {
 public:
  __device__ __forceinline__ WgmmaOperands(uint32_t shared, uint32_t leading_bytes,
                                           uint32_t stride_bytes)
      : first_(WgmmaOperand(shared, leading_bytes, stride_bytes)) {}
  // The operand that begins `bytes` further on, in shared memory too.
  __device__ __forceinline__ uint64_t At(uint32_t bytes) const {
    const auto low = static_cast<uint32_t>(first_) + (bytes >> 4);
    return first_ >> 32 << 32 | low;
  }

 private:
  uint64_t first_;
};

#define VX_FRAGMENT(j) "+f"(d[j][0]), "+f"(d[j][1]), "+f"(d[j][2]), "+f"(d[j][3])

// D = A B (+ D): 64 rows, 128 columns, 16 deep; the columns of A and B in memory are the K side.
__device__ __forceinline__ void WgmmaStep(float (&d)[16][4], uint64_t a, uint64_t b,
                                          bool accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, %64, %65, p, 1, 1, 0, 0;\n"
      "}"
      : VX_FRAGMENT(0), VX_FRAGMENT(1), VX_FRAGMENT(2), VX_FRAGMENT(3), VX_FRAGMENT(4),
        VX_FRAGMENT(5), VX_FRAGMENT(6), VX_FRAGMENT(7), VX_FRAGMENT(8), VX_FRAGMENT(9),
        VX_FRAGMENT(10), VX_FRAGMENT(11), VX_FRAGMENT(12), VX_FRAGMENT(13), VX_FRAGMENT(14),
        VX_FRAGMENT(15)
      : "l"(a), "l"(b), "r"(accumulate ? 1 : 0));
}

// D = A B + D, 8 to 128 columns.
__device__ __forceinline__ void WgmmaStep(float (&d)[1][4], uint64_t a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {%0, %1, %2, %3}, %4, %5, 1, 1, 1, 0, 0;"
      : VX_FRAGMENT(0)
      : "l"(a), "l"(b));
}
__device__ __forceinline__ void WgmmaStep(float (&d)[2][4], uint64_t a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7}, "
      "%8, %9, 1, 1, 1, 0, 0;"
      : VX_FRAGMENT(0), VX_FRAGMENT(1)
      : "l"(a), "l"(b));
}

__device__ __forceinline__ void WgmmaStep(float (&d)[3][4], uint64_t a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n24k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11"
      "}, %12, %13, 1, 1, 1, 0, 0;"
      : VX_FRAGMENT(0), VX_FRAGMENT(1), VX_FRAGMENT(2)
      : "l"(a), "l"(b));
}
__device__ __forceinline__ void WgmmaStep(float (&d)[4][4], uint64_t a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
      "}, %16, %17, 1, 1, 1, 0, 0;"
      : VX_FRAGMENT(0), VX_FRAGMENT(1), VX_FRAGMENT(2), VX_FRAGMENT(3)
      : "l"(a), "l"(b));
}
__device__ __forceinline__ void WgmmaStep(float (&d)[6][4], uint64_t a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n48k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23"
      "}, %24, %25, 1, 1, 1, 0, 0;"
      : VX_FRAGMENT(0), VX_FRAGMENT(1), VX_FRAGMENT(2), VX_FRAGMENT(3), VX_FRAGMENT(4),
        VX_FRAGMENT(5)
      : "l"(a), "l"(b));
}
__device__ __forceinline__ void WgmmaStep(float (&d)[8][4], uint64_t a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, %32, %33, 1, 1, 1, 0, 0;"
      : VX_FRAGMENT(0), VX_FRAGMENT(1), VX_FRAGMENT(2), VX_FRAGMENT(3), VX_FRAGMENT(4),
        VX_FRAGMENT(5), VX_FRAGMENT(6), VX_FRAGMENT(7)
      : "l"(a), "l"(b));
}
__device__ __forceinline__ void WgmmaStep(float (&d)[12][4], uint64_t a, uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n96k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
      "}, %48, %49, 1, 1, 1, 0, 0;"
      : VX_FRAGMENT(0), VX_FRAGMENT(1), VX_FRAGMENT(2), VX_FRAGMENT(3), VX_FRAGMENT(4),
        VX_FRAGMENT(5), VX_FRAGMENT(6), VX_FRAGMENT(7), VX_FRAGMENT(8), VX_FRAGMENT(9),
        VX_FRAGMENT(10), VX_FRAGMENT(11)
      : "l"(a), "l"(b));
}
__device__ __forceinline__ void WgmmaStep(float (&d)[16][4], uint64_t a, uint64_t b) {
  WgmmaStep(d, a, b, true);
}

// D = A B (+ D) with A in registers, a fragment as in mma.cuh; the rows of B in memory are the K
// side. 128 or 64 columns.
__device__ __forceinline__ void WgmmaStep(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b,
                                          bool accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, {%64, %65, %66, %67}, %68, p, 1, 1, 1;\n"
      "}"
      : VX_FRAGMENT(0), VX_FRAGMENT(1), VX_FRAGMENT(2), VX_FRAGMENT(3), VX_FRAGMENT(4),
        VX_FRAGMENT(5), VX_FRAGMENT(6), VX_FRAGMENT(7), VX_FRAGMENT(8), VX_FRAGMENT(9),
        VX_FRAGMENT(10), VX_FRAGMENT(11), VX_FRAGMENT(12), VX_FRAGMENT(13), VX_FRAGMENT(14),
        VX_FRAGMENT(15)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate ? 1 : 0));
}
__device__ __forceinline__ void WgmmaStep(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b,
                                          bool accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %37, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
      "}, {%32, %33, %34, %35}, %36, p, 1, 1, 1;\n"
      "}"
      : VX_FRAGMENT(0), VX_FRAGMENT(1), VX_FRAGMENT(2), VX_FRAGMENT(3), VX_FRAGMENT(4),
        VX_FRAGMENT(5), VX_FRAGMENT(6), VX_FRAGMENT(7)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate ? 1 : 0));
}

#undef VX_FRAGMENT

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_WGMMA_CUH_
