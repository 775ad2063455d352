#include <limits>

#include "kernels/moe/moe.h"
#include "kernels/sm90/chunks.cuh"
#include "kernels/sm90/order.cuh"
#include "kernels/sm90/overlapped_launch.cuh"
#include "kernels/sm90/reduce.cuh"
#include "numerics/constants.h"

namespace vexact {
namespace {

constexpr int kThreads = 128;

// t_e = ex2(fma(score_e, log2 e, -M)) of every expert to powers, and the keys of their order. Every
// warp finds M for itself.
__device__ __forceinline__ void ScanScores(const float* scores, int num_experts, uint32_t* keys,
                                           float* powers) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int e = threadIdx.x % sm90::kWarp; e < num_experts; e += sm90::kWarp) {
    largest = fmaxf(largest, scores[e]);  // ignores a NaN
  }
  const float m = CeilOfProduct(sm90::ReduceWarp(largest, sm90::MaxOfFloats), kLog2E);
  for (int e = threadIdx.x; e < num_experts; e += kThreads) {
    keys[e] = sm90::OrderKey(scores[e]);
    powers[e] = sm90::Ex2(__fmaf_rn(scores[e], kLog2E, -m));
  }
}

// Writes those experts to `chosen` that fewer than top_k come before, by ascending id. Comparing
// every pair is 16K comparisons for 128 experts, 128 a thread.
__device__ __forceinline__ void Choose(const uint32_t* keys, int num_experts, int top_k,
                                       int32_t* chosen) {
  __shared__ int warp_counts[kThreads / sm90::kWarp];
  const int warp = threadIdx.x / sm90::kWarp;
  int begin = 0;  // chosen among the experts of earlier rounds
  for (int round = 0; round < num_experts; round += kThreads) {
    const int e = round + static_cast<int>(threadIdx.x);
    int before = 0;
    if (e < num_experts) {
      const uint32_t key = keys[e];
      for (int other = 0; other < num_experts; ++other) {
        before += keys[other] > key || (keys[other] == key && other < e) ? 1 : 0;
      }
    }
    const bool is_chosen = e < num_experts && before < top_k;
    const unsigned lanes = __ballot_sync(sm90::kAllLanes, is_chosen);
    __syncthreads();  // the counts of the round before have been read
    if (threadIdx.x % sm90::kWarp == 0) warp_counts[warp] = __popc(lanes);
    __syncthreads();
    int place = begin + __popc(lanes & ((1u << (threadIdx.x % sm90::kWarp)) - 1));
    for (int w = 0; w < kThreads / sm90::kWarp; ++w) {
      if (w < warp) place += warp_counts[w];
      begin += warp_counts[w];
    }
    if (is_chosen) chosen[place] = e;
  }
}

// The same in every warp: tree128 of each 128 experts, blocks left to right.
__device__ __forceinline__ float SumOverAll(const float* powers, int num_experts) {
  float sum = 0.0f;
  for (int begin = 0; begin < num_experts; begin += 128) {
    float p[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int e = begin + i * sm90::kWarp + static_cast<int>(threadIdx.x % sm90::kWarp);
      p[i] = e < num_experts ? powers[e] : 0.0f;
    }
    sum = __fadd_rn(sum, sm90::Tree128OfWarp(p));
  }
  return sum;
}

// A CTA for each token. Shared: a key and a power for each expert, an id for each chosen.
__global__ void __launch_bounds__(kThreads) RouteKernel(MoeRouteArgs args) {
  sm90::BeginOverlapped();
  extern __shared__ uint32_t keys[];
  const auto num_experts = static_cast<int>(args.scores.cols);
  const auto top_k = static_cast<int>(args.ids.cols);
  auto* const powers = reinterpret_cast<float*>(keys + num_experts);
  auto* const chosen = reinterpret_cast<int32_t*>(powers + num_experts);
  ScanScores(args.scores[blockIdx.x], num_experts, keys, powers);
  __syncthreads();
  Choose(keys, num_experts, top_k, chosen);
  __syncthreads();
  float sum = 0.0f;
  if (args.norm_topk_prob) {
    for (int j = 0; j < top_k; ++j) sum = __fadd_rn(sum, powers[chosen[j]]);
  } else {
    sum = SumOverAll(powers, num_experts);
  }
  for (int j = threadIdx.x; j < top_k; j += kThreads) {
    args.ids[blockIdx.x][j] = chosen[j];
    args.weights[blockIdx.x][j] = __fdiv_rn(powers[chosen[j]], sum);
  }
}

template <int kWidth>
__global__ void CombineKernel(MoeCombineArgs args) {
  sm90::BeginOverlapped();
  const int64_t top_k = args.weights.cols;
  sm90::ForEachChunk(args.y.rows, args.y.cols / kWidth, [&](int64_t t, int64_t chunk) {
    sm90::Chunk<kWidth> y = {};
    for (int64_t j = 0; j < top_k; ++j) {
      const float weight = args.weights[t][j];
      const auto d = sm90::LoadChunk<kWidth>(args.expert_rows[t * top_k + j] + chunk * kWidth);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) {
        y.values[i] = __fmaf_rn(weight, d.values[i], y.values[i]);
      }
    }
    sm90::StoreChunk(args.y[t] + chunk * kWidth, y);
  });
}

template <int kWidth>
void RunCombine(const MoeCombineArgs& args, const Stream& stream) {
  const auto [grid, threads] = sm90::GridOfChunks(args.y.rows, args.y.cols / kWidth);
  sm90::LaunchOverlapped(CombineKernel<kWidth>, grid, threads, 0, stream, args);
}

}  // namespace

void MoeRouteSm90(const MoeRouteArgs& args, Stream& stream) {
  CheckShapes(args);
  const int64_t shared_words = 2 * args.scores.cols + args.ids.cols;
  sm90::LaunchOverlapped(RouteKernel, static_cast<unsigned>(args.scores.rows), kThreads,
                         static_cast<size_t>(shared_words) * sizeof(uint32_t), stream, args);
}

void MoeCombineSm90(const MoeCombineArgs& args, Stream& stream) {
  CheckShapes(args);
  const bool wide =
      args.y.cols % sm90::kWideChunk == 0 && sm90::IsWide(args.expert_rows) && sm90::IsWide(args.y);
  wide ? RunCombine<sm90::kWideChunk>(args, stream) : RunCombine<1>(args, stream);
}

}  // namespace vexact
