// Tensor-core steps of Hopper that have the canonical bits: mma.sync.m16n8k16 is dot16 for each of
// its 16 x 8 outputs (docs/numerics.md). Never m16n8k8: it rounds twice.
#ifndef VEXACT_KERNELS_SM90_MMA_CUH_
#define VEXACT_KERNELS_SM90_MMA_CUH_

#include <cstdint>

namespace vexact::sm90 {

// Fragments of a warp, lane = 4 * g + c (g in 0..7, c in 0..3), two bf16 a word, lower column in
// the lower half:
//   a[0] A[g][2c, 2c+1]   a[1] A[g+8][2c, 2c+1]   a[2] A[g][2c+8, 2c+9]   a[3] A[g+8][2c+8, 2c+9]
//   b[0] B[2c, 2c+1][g]   b[1] B[2c+8, 2c+9][g]
//   d[0] D[g][2c]  d[1] D[g][2c+1]  d[2] D[g+8][2c]  d[3] D[g+8][2c+1]
// D = dot16(D, A row, B column) for A [16, 16] row-major and B [16, 8].
__device__ __forceinline__ void MmaStep(float (&d)[4], const uint32_t (&a)[4],
                                        const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four 8 x 8 matrices of bf16 from shared memory; lane i gives the address of row i % 8 of matrix
// i / 8 (16 bytes each). Lane 4 * g + c receives elements [g][2c, 2c+1] of each matrix, or, in the
// transposed form, elements [2c, 2c+1][g].
__device__ __forceinline__ void LoadMatrices(uint32_t (&r)[4], uint32_t shared_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address)
               : "memory");
}
__device__ __forceinline__ void LoadMatricesTransposed(uint32_t (&r)[4], uint32_t shared_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address)
               : "memory");
}

// Four 8 x 8 matrices to shared memory, as LoadMatrices reads them.
__device__ __forceinline__ void StoreMatrices(uint32_t shared_address, const uint32_t (&r)[4]) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1,%2,%3,%4};" ::"r"(shared_address),
      "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
      : "memory");
}

// An 8 x 8 matrix of 16-bit elements, two of a row in each lane's word, turned over its diagonal.
__device__ __forceinline__ uint32_t TransposeMatrix(uint32_t word) {
  uint32_t turned;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(turned) : "r"(word));
  return turned;
}

// An address in the shared window, as PTX instructions take it.
__device__ __forceinline__ uint32_t SharedAddress(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// The same, kept: the compiler would else find it anew at each use, from the block's place in its
// cluster.
__device__ __forceinline__ uint32_t HeldAddress(const void* pointer) {
  uint32_t address = SharedAddress(pointer);
  asm("" : "+r"(address));
  return address;
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_MMA_CUH_
