// A CTA for each row. A thread has 8 values of a head's first half and their rope partners of the
// second (two 16-byte words), head_dim / 16 threads a head: rope needs no other thread's values,
// and the first step of the norm's tree, over lanes half a head apart, is inside a thread.
//
// K and V go to the pool before the row is known to be finite; a faulty row's threads then write
// zeros over their own words. Nothing reads the pool before the kernel has ended.
#include "base/check.h"
#include "kernels/norm_rope_write/norm_rope_write.h"
#include "kernels/sm90/chunks.cuh"
#include "kernels/sm90/overlapped_launch.cuh"
#include "kernels/sm90/reduce.cuh"

namespace vexact {
namespace {

constexpr int kThreads = 256;  // all 32 heads of Qwen3-1.7B
constexpr int kChunk = sm90::kWideChunk;
using Chunk = sm90::Chunk<kChunk>;

// 8 values of each half of a head.
struct Halves {
  Chunk first;
  Chunk second;
};

__device__ __forceinline__ Halves LoadHalves(const bf16* first, int64_t half) {
  return {sm90::LoadChunk<kChunk>(first), sm90::LoadChunk<kChunk>(first + half)};
}
__device__ __forceinline__ void StoreHalves(bf16* first, int64_t half, const Halves& x) {
  sm90::StoreChunk(first, x.first);
  sm90::StoreChunk(first + half, x.second);
}

__device__ __forceinline__ float SumOfSquares(const Chunk& x) {
  float p = 0.0f;
#pragma unroll
  for (const float value : x.values) p = __fmaf_rn(value, value, p);
  return p;
}

__device__ __forceinline__ void Normalise(Chunk& x, const Chunk& weight, float r) {
#pragma unroll
  for (int i = 0; i < kChunk; ++i) {
    x.values[i] = sm90::RoundToBf16(
        __fmul_rn(weight.values[i], sm90::RoundToBf16(__fmul_rn(x.values[i], r))));
  }
}

// With a weight; all lanes of a warp call it.
template <int kHeadDim>
__device__ __forceinline__ void NormHead(Halves& x, const bf16* weight, float eps) {
  Halves weights = {};
  if (weight != nullptr) weights = LoadHalves(weight, kHeadDim / 2);
  const float pair = __fadd_rn(SumOfSquares(x.first), SumOfSquares(x.second));
  const float sum = sm90::HalvingTree<kHeadDim / 16>(pair);
  if (weight == nullptr) return;
  const float mean = __fdiv_rn(sum, static_cast<float>(kHeadDim));
  const float r = __frsqrt_rn(__fadd_rn(mean, eps));
  Normalise(x.first, weights.first, r);
  Normalise(x.second, weights.second, r);
}

// What bf16 rounds to the rotated value.
__device__ __forceinline__ float Rotate(float x, float rotated, float cos, float sin) {
  return __fadd_rn(sm90::RoundToBf16(__fmul_rn(x, cos)),
                   sm90::RoundToBf16(__fmul_rn(rotated, sin)));
}

// rotate_half: (first, second) -> (-second, first).
__device__ __forceinline__ void RotateHead(Halves& x, const Chunk& cos, const Chunk& sin) {
#pragma unroll
  for (int i = 0; i < kChunk; ++i) {
    const float a = x.first.values[i];
    const float b = x.second.values[i];
    x.first.values[i] = Rotate(a, -b, cos.values[i], sin.values[i]);
    x.second.values[i] = Rotate(b, a, cos.values[i], sin.values[i]);
  }
}

// As bf16, which turns values near the end of fp32 into infinities.
__device__ __forceinline__ bool HasNotFinite(const Chunk& x) {
  bool found = false;
#pragma unroll
  for (const float value : x.values) found |= !isfinite(sm90::RoundToBf16(value));
  return found;
}

template <int kHeadDim>
__global__ void __launch_bounds__(kThreads)
    NormRopeWriteKernel(__grid_constant__ const NormRopeWriteArgs args) {
  constexpr int kHalf = kHeadDim / 2;
  constexpr int kLanes = kHalf / kChunk;  // threads of a head
  sm90::BeginOverlapped();
  const int64_t t = blockIdx.x;
  const auto q_heads = static_cast<int>(args.num_heads);
  const auto kv_heads = static_cast<int>(args.kv.num_kv_heads);
  const int heads = q_heads + 2 * kv_heads;
  const int column = static_cast<int>(threadIdx.x) % kLanes * kChunk;
  const int64_t angle = args.positions[t] * int64_t{kHalf} + column;
  const Chunk cos = sm90::LoadChunk<kChunk>(args.table.cos + angle);
  const Chunk sin = sm90::LoadChunk<kChunk>(args.table.sin + angle);
  const int32_t place = args.slots[t];
  const auto block_size = static_cast<int>(args.kv.block_size);
  const int64_t in_head = place % block_size * int64_t{kHeadDim} + column;
  // Heads of K, then those of V, as Keys counts them.
  const auto pool_words = [&](int head) {
    return args.kv.Keys(place / block_size, head - q_heads) + in_head;
  };

  bool fault = false;
  constexpr int kHeadsAtOnce = kThreads / kLanes;
  const int first_head = static_cast<int>(threadIdx.x) / kLanes;
  for (int round = 0; round < heads; round += kHeadsAtOnce) {
    const bool exists = round + first_head < heads;  // all lanes of a warp take part in shuffles
    const int head = exists ? round + first_head : 0;
    bf16* const words = args.qkv[t] + head * kHeadDim + column;
    Halves x = {};
    if (exists) x = LoadHalves(words, kHalf);
    const bool is_v = head >= q_heads + kv_heads;
    const bf16* const weight = is_v ? nullptr : head < q_heads ? args.q_norm : args.k_norm;
    NormHead<kHeadDim>(x, weight == nullptr ? nullptr : weight + column, args.eps);
    if (!exists) continue;
    if (!is_v) {
      RotateHead(x, cos, sin);
      StoreHalves(words, kHalf, x);
    }
    if (head < q_heads || place < 0) continue;
    fault |= HasNotFinite(x.first) || HasNotFinite(x.second);
    StoreHalves(pool_words(head), kHalf, x);
  }

  if (__syncthreads_or(fault ? 1 : 0) == 0) return;
  if (threadIdx.x == 0) args.row_faults[t] = 1;
  for (int head = first_head; head < heads; head += kHeadsAtOnce) {
    if (head >= q_heads) StoreHalves(pool_words(head), kHalf, Halves{});
  }
}

template <int kHeadDim>
void Run(const NormRopeWriteArgs& args, const Stream& stream) {
  sm90::LaunchOverlapped(NormRopeWriteKernel<kHeadDim>, static_cast<unsigned>(args.qkv.rows),
                         kThreads, 0, stream, args);
}

}  // namespace

void NormRopeWriteSm90(const NormRopeWriteArgs& args, Stream& stream) {
  const PagedKv& kv = args.kv;
  CheckShapes(args);
  VX_CHECK(sm90::IsWide(args.qkv) && sm90::IsWide(kv.pool) && kv.block_stride % kChunk == 0 &&
               sm90::IsWide(args.table.cos) && sm90::IsWide(args.table.sin) &&
               sm90::IsWide(args.q_norm) && sm90::IsWide(args.k_norm),
           "16-byte words");
  switch (kv.head_dim) {
    case 16:
      return Run<16>(args, stream);
    case 32:
      return Run<32>(args, stream);
    case 64:
      return Run<64>(args, stream);
    case 128:
      return Run<128>(args, stream);
    default:
      VX_CHECK(false, "head_dim: 16, 32, 64 or 128");
  }
}

}  // namespace vexact
