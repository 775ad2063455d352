// Rows of bf16 in chunks of 8 columns (16 bytes), the widest access of a thread; in chunks of 1
// where a pointer, a stride or the number of columns does not allow that. The bits are the same.
#ifndef VEXACT_KERNELS_SM90_CHUNKS_CUH_
#define VEXACT_KERNELS_SM90_CHUNKS_CUH_

#include <cstdint>

#include "kernels/sm90/arithmetic.cuh"
#include "kernels/sm90/overlapped_launch.cuh"
#include "numerics/bf16.h"
#include "tensor/rows.h"

namespace vexact::sm90 {

inline constexpr int kWideChunk = 8;  // columns
inline constexpr int kMaxChunkThreads = 256;
inline constexpr int64_t kMaxGridRows = 65535;

// Whether every row of x, or the array, can be read in 16-byte words.
template <typename T>
__host__ __device__ bool IsWide(const T* data) {
  return reinterpret_cast<uintptr_t>(data) % 16 == 0;
}
template <typename T>
__host__ __device__ bool IsWide(const Rows<T>& x) {
  return IsWide(x.data) && x.stride * static_cast<int64_t>(sizeof(T)) % 16 == 0;
}

// Columns [column, column + kWidth) of a row, as fp32.
template <int kWidth>
struct Chunk {
  float values[kWidth];
};

template <int kWidth>
__device__ __forceinline__ Chunk<kWidth> LoadChunk(const bf16* from) {
  Chunk<kWidth> chunk;
  if constexpr (kWidth == 1) {
    chunk.values[0] = FloatFromBf16(*from);
  } else {
    static_assert(kWidth == kWideChunk);
    const uint4 words = *reinterpret_cast<const uint4*>(from);
    chunk = {LowBf16(words.x), HighBf16(words.x), LowBf16(words.y), HighBf16(words.y),
             LowBf16(words.z), HighBf16(words.z), LowBf16(words.w), HighBf16(words.w)};
  }
  return chunk;
}

// Rounds to bf16.
template <int kWidth>
__device__ __forceinline__ void StoreChunk(bf16* to, const Chunk<kWidth>& chunk) {
  if constexpr (kWidth == 1) {
    *to = Bf16FromFloat(chunk.values[0]);
  } else {
    const float* v = chunk.values;
    *reinterpret_cast<uint4*>(to) = {PackBf16(v[0], v[1]), PackBf16(v[2], v[3]),
                                     PackBf16(v[4], v[5]), PackBf16(v[6], v[7])};
  }
}

// float(bf16(x)).
__device__ __forceinline__ float RoundToBf16(float x) { return LowBf16(PackBf16(x, 0.0f)); }

// The grid of kernels that give each chunk of each row a thread (ForEachChunk).
struct ChunkGrid {
  dim3 grid;
  int threads;
};
inline ChunkGrid GridOfChunks(int64_t rows, int64_t chunks) {
  const int64_t threads = chunks >= kMaxChunkThreads ? kMaxChunkThreads : (chunks + 31) / 32 * 32;
  if (rows == 0 || chunks == 0) return {dim3(0), 32};
  return {dim3(static_cast<unsigned>((chunks + threads - 1) / threads),
               static_cast<unsigned>(rows < kMaxGridRows ? rows : kMaxGridRows)),
          static_cast<int>(threads)};
}

// Calls visit(row, chunk) for the thread's chunk in each of its rows.
template <typename Visit>
__device__ __forceinline__ void ForEachChunk(int64_t rows, int64_t chunks, Visit visit) {
  const int64_t chunk = blockIdx.x * int64_t{blockDim.x} + threadIdx.x;
  if (chunk >= chunks) return;
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y) visit(row, chunk);
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_CHUNKS_CUH_
