#include "kernels/linear/linear_proof_sm90.h"

#include "kernels/sm90/dependent_launch.cuh"
#include "kernels/sm90/launch.cuh"
#include "numerics/words.h"

namespace vexact {
namespace {

constexpr unsigned kThreads = 256;
constexpr unsigned kMaxBlocks = 132 * 16;

__device__ __forceinline__ uint64_t Nanoseconds() {
  uint64_t time = 0;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(time));
  return time;
}

unsigned BlocksFor(int64_t elements) {
  const int64_t blocks = (elements + kThreads - 1) / kThreads;
  return static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks);
}

__global__ void FillKernel(Rows<bf16> matrix, uint32_t first_row, bool cancels) {
  const int64_t elements = matrix.rows * matrix.cols;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < elements;
       i += int64_t{gridDim.x} * kThreads) {
    const int64_t row = i / matrix.cols;
    const int64_t column = i % matrix.cols;
    matrix[row][column] =
        ProofElement(first_row + static_cast<uint32_t>(row), column, matrix.cols, cancels);
  }
}

__global__ void FillBiasKernel(bf16* bias, int64_t count) {
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < count;
       i += int64_t{gridDim.x} * kThreads) {
    bias[i] = ProofBias(static_cast<uint32_t>(i));
  }
}

template <typename T>
__global__ void CountDifferencesKernel(Rows<const T> a, Rows<const T> b,
                                       unsigned long long* differences) {
  unsigned count = 0;
  const int64_t elements = a.rows * a.cols;
  for (int64_t i = blockIdx.x * int64_t{kThreads} + threadIdx.x; i < elements;
       i += int64_t{gridDim.x} * kThreads) {
    const int64_t row = i / a.cols;
    const int64_t column = i % a.cols;
    if (CanonicalWord(a[row][column]) != CanonicalWord(b[row][column])) ++count;
  }
  if (count > 0) atomicAdd(differences, count);
}

__global__ void NeighbourKernel(uint64_t nanoseconds) {
  sm90::AllowLater();
  sm90::WaitForEarlier();
  const uint64_t start = Nanoseconds();
  while (Nanoseconds() - start < nanoseconds) {
  }
}

template <typename T>
void LaunchCount(Rows<const T> a, Rows<const T> b, unsigned long long* differences,
                 const Stream& stream) {
  VX_CHECK(a.rows == b.rows && a.cols == b.cols, "equal shapes");
  sm90::Launch(CountDifferencesKernel<T>, BlocksFor(a.rows * a.cols), kThreads, 0, stream, a, b,
               differences);
}

}  // namespace

void FillProofInputs(Rows<bf16> x, Stream& stream) {
  sm90::Launch(FillKernel, BlocksFor(x.rows * x.cols), kThreads, 0, stream, x, 0u, false);
}

void FillProofWeights(Rows<bf16> w, Stream& stream) {
  sm90::Launch(FillKernel, BlocksFor(w.rows * w.cols), kThreads, 0, stream, w, kProofWeightRow,
               true);
}

void FillProofBias(bf16* bias, int64_t count, Stream& stream) {
  sm90::Launch(FillBiasKernel, BlocksFor(count), kThreads, 0, stream, bias, count);
}

void LaunchNeighbour(uint64_t nanoseconds, Stream& stream) {
  sm90::LaunchDependent(NeighbourKernel, 1, 1, 0, stream, nanoseconds);
}

void CountDifferences(Rows<const bf16> a, Rows<const bf16> b, unsigned long long* differences,
                      Stream& stream) {
  LaunchCount(a, b, differences, stream);
}
void CountDifferences(Rows<const float> a, Rows<const float> b, unsigned long long* differences,
                      Stream& stream) {
  LaunchCount(a, b, differences, stream);
}

}  // namespace vexact
