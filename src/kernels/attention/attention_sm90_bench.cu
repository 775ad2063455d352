// Stands alone on a GPU machine: `check` compares words with a plain device kernel and between
// schedules; `time` measures prefill and decode.
//
//   scripts/build cuda vexact_gpu_benches
//   build/cuda/attention_sm90_bench [check | time]
//
// budget: checks and measurements share the data that they run on.
#include <cudaTypedefs.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "kernels/attention/attention_decode_ring_sm90.cuh"
#include "kernels/attention/attention_kernel_sm90.cuh"
#include "kernels/attention/attention_prefill_wgmma_sm90.cuh"
#include "numerics/dot16.h"
#include "numerics/ex2.h"
#include "numerics/tree128.h"
#include "numerics/words.h"

namespace vexact {
namespace {

using sm90::CheckCuda;
using sm90::Launch;

constexpr double kBytesPerSecond = 4.8e12;
constexpr double kFlopPerSecond = 790e12;

struct Shape {
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
};
struct Sequence {
  int64_t context;
  int64_t tokens;
};

Buffer DeviceBuffer(size_t bytes) {
  void* data = nullptr;
  CheckCuda(cudaMalloc(&data, std::max<size_t>(bytes, 256)));
  CheckCuda(cudaMemset(data, 0, std::max<size_t>(bytes, 256)));
  return Buffer(static_cast<std::byte*>(data), bytes, data, [](void* p) { cudaFree(p); });
}

Buffer Upload(const std::vector<int32_t>& values) {
  Buffer buffer = DeviceBuffer(values.size() * 4);
  CheckCuda(cudaMemcpy(buffer.data(), values.data(), values.size() * 4, cudaMemcpyHostToDevice));
  return buffer;
}

__device__ bf16 RandomValue(uint64_t i, uint32_t seed, float size) {
  uint32_t x = static_cast<uint32_t>(i) * 2654435761u ^ static_cast<uint32_t>(i >> 32) ^ seed;
  x = (x ^ (x >> 16)) * 0x85ebca6bu;
  x = (x ^ (x >> 13)) * 0xc2b2ae35u;
  x ^= x >> 16;
  const float sum = static_cast<float>(x & 0xffffu) + static_cast<float>(x >> 16);
  return Bf16FromFloat((sum / 65536.0f - 1.0f) * size);
}

__global__ void FillWords(bf16* to, int64_t count, bf16 word) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += step) {
    to[i] = word;
  }
}
__global__ void FillRandom(bf16* to, int64_t count, uint32_t seed, float size) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = blockIdx.x * int64_t{blockDim.x} + threadIdx.x; i < count; i += step) {
    to[i] = RandomValue(i, seed, size);
  }
}
// One block a (sequence, position): a value depends on its place in the sequence, whatever the
// blocks' size.
__global__ void FillSequences(PagedKv kv, PagedSequences sequences, uint32_t seed, int32_t same) {
  const auto s = static_cast<int64_t>(blockIdx.y);
  const int64_t key = same != 0 ? 0 : s;
  for (int64_t p = blockIdx.x; p < sequences.context_len[s]; p += gridDim.x) {
    const int64_t block =
        sequences.block_tables[sequences.block_table_start[s] + p / kv.block_size];
    const int64_t columns = kv.num_kv_heads * kv.head_dim;
    for (int64_t e = threadIdx.x; e < columns; e += blockDim.x) {
      const int64_t head = e / kv.head_dim;
      const int64_t at = p % kv.block_size * kv.head_dim + e % kv.head_dim;
      const uint64_t index = ((key << 24) + p) * columns + e;
      kv.Keys(block, head)[at] = RandomValue(index, seed, 1.5f);
      kv.Values(block, head)[at] = RandomValue(index, seed + 1, 1.5f);
    }
  }
}

// numerics.md as it reads: one block of 128 threads for one query row and head.
__global__ void PlainAttention(AttentionArgs args, int32_t segment, float scale) {
  __shared__ float scores[kAttentionTile];
  __shared__ float tree[kAttentionTile];
  __shared__ bf16 rounded[kAttentionTile];
  __shared__ float largest;
  const int64_t row = blockIdx.x;
  const int64_t head = blockIdx.y;
  const PagedSequences& sequences = args.sequences;
  int64_t s = 0;
  while (sequences.query_start[s + 1] <= row) ++s;
  const int64_t visible = sequences.context_len[s] - (sequences.query_start[s + 1] - row) + 1;
  const int64_t head_dim = args.kv.head_dim;
  const int64_t kv_head = head / (args.num_heads / args.kv.num_kv_heads);
  const int32_t* blocks = sequences.block_tables + sequences.block_table_start[s];
  const auto offset = [&](int64_t p) { return p % args.kv.block_size * head_dim; };
  const int t = static_cast<int>(threadIdx.x);
  float fold_m = 0, fold_l = 0, fold_o = 0;  // o of column t
  for (int64_t start = 0; start < visible; start += segment) {
    float m = -INFINITY, l = 0, o = 0;
    for (int64_t tile = start; tile < min(visible, start + segment); tile += kAttentionTile) {
      const auto count = static_cast<int>(min(int64_t{kAttentionTile}, visible - tile));
      if (t < count) {
        const bf16* key = args.kv.Keys(blocks[(tile + t) / args.kv.block_size], kv_head);
        scores[t] = Chain(args.q[row] + head * head_dim, key + offset(tile + t), head_dim);
      }
      __syncthreads();
      if (t == 0) {
        largest = -INFINITY;
        for (int j = 0; j < count; ++j) {
          if (scores[j] > largest) largest = scores[j];
        }
      }
      __syncthreads();
      const float mn = fmaxf(m, ceilf(__fmul_rn(largest, scale)));
      const float rescale = tile == start ? 0.0f : Ex2(__fsub_rn(m, mn));
      tree[t] = t < count ? Ex2(__fmaf_rn(scores[t], scale, -mn)) : 0.0f;
      rounded[t] = Bf16FromFloat(tree[t]);
      __syncthreads();
      if (t == 0) Tree128(tree);
      bf16 column[kAttentionTile] = {};
      if (t < head_dim) {
        for (int j = 0; j < count; ++j) {
          const bf16* value = args.kv.Values(blocks[(tile + j) / args.kv.block_size], kv_head);
          column[j] = value[offset(tile + j) + t];
        }
        o = Chain(tile == start ? 0.0f : __fmul_rn(o, rescale), rounded, column, kAttentionTile);
      }
      __syncthreads();
      l = __fadd_rn(tile == start ? 0.0f : __fmul_rn(l, rescale), tree[0]);
      m = mn;
      __syncthreads();
    }
    if (start == 0) {
      fold_m = m, fold_l = l, fold_o = o;
      continue;
    }
    const float mn = fmaxf(fold_m, m);
    const float a = Ex2(__fsub_rn(fold_m, mn));
    const float b = Ex2(__fsub_rn(m, mn));
    fold_l = __fmaf_rn(l, b, __fmul_rn(fold_l, a));
    fold_o = __fmaf_rn(o, b, __fmul_rn(fold_o, a));
    fold_m = mn;
  }
  if (t < head_dim) {
    args.y[row][head * head_dim + t] = Bf16FromFloat(__fmul_rn(fold_o, __frcp_rn(fold_l)));
  }
}

template <int kHeadDim, int kStages, int kBlocksPerSm, bool kTensorMap>
__global__ void __launch_bounds__((sm90::kAttentionWarps + 1) * 32, kBlocksPerSm)
    RingKernel(const __grid_constant__ sm90::AttentionParameters p,
               const __grid_constant__ CUtensorMap map,
               const __grid_constant__ sm90::RingOptions options) {
  extern __shared__ __align__(1024) unsigned char shared[];
  sm90::RunRing<kHeadDim, kStages, kTensorMap>(
      p, &map, options, reinterpret_cast<sm90::RingShared<kHeadDim, kStages>*>(shared));
}

// A layer's pool as RingChunk reads it: {64 columns, rows of a block, runs of columns, blocks}.
CUtensorMap MapOfPool(const PagedKv& kv, uint32_t runs_of_box) {
  static PFN_cuTensorMapEncodeTiled_v12000 encode = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult found;
    CheckCuda(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000,
                                               cudaEnableDefault, &found));
    return reinterpret_cast<PFN_cuTensorMapEncodeTiled_v12000>(function);
  }();
  const auto runs = static_cast<uint64_t>(kv.head_dim / 64);
  const uint64_t dims[] = {64, static_cast<uint64_t>(2 * kv.num_kv_heads * kv.block_size), runs,
                           static_cast<uint64_t>(kv.num_blocks)};
  const uint64_t strides[] = {static_cast<uint64_t>(kv.head_dim * 2), 128,
                              static_cast<uint64_t>(kv.block_stride * 2)};
  const uint32_t box[] = {64, sm90::kChunk, runs_of_box, 1};
  const uint32_t steps[] = {1, 1, 1, 1};
  CUtensorMap map;
  const CUresult result =
      encode(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, kv.pool, dims, strides, box, steps,
             CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  VX_CHECK(result == CUDA_SUCCESS, "a tensor map of the pool");
  return map;
}

// kResident: blocks that an SM has room for; kBlocksPerSm: blocks of one launch.
template <int kHeadDim, int kStages, int kResident, bool kTensorMap, int kBlocksPerSm = kResident>
void LaunchRing(const AttentionArgs& args, const sm90::RingOptions& options, Stream& stream) {
  const auto kernel = RingKernel<kHeadDim, kStages, kResident, kTensorMap>;
  constexpr size_t kBytes = sizeof(sm90::RingShared<kHeadDim, kStages>);
  sm90::AllowSharedBytes(kernel, kBytes);
  sm90::LaunchDependent(kernel, static_cast<unsigned>(sm90::NumSms() * kBlocksPerSm),
                        (sm90::kAttentionWarps + 1) * 32, kBytes, stream,
                        sm90::ParametersOf<kHeadDim>(args), MapOfPool(args.kv, kHeadDim / 64),
                        options);
}
template <int kHeadDim>
void LaunchBoth(const AttentionArgs& args, const sm90::RingOptions&, Stream& stream) {
  sm90::LaunchAttention<kHeadDim>(args, stream);
}
template <int kHeadDim>
void LaunchDecode(const AttentionArgs& args, const sm90::RingOptions&, Stream& stream) {
  const auto kernel = sm90::DecodeKernel<kHeadDim>;
  constexpr size_t kBytes = sizeof(sm90::DecodeShared<kHeadDim>);
  sm90::AllowSharedBytes(kernel, kBytes);
  sm90::LaunchDependent(kernel, static_cast<unsigned>(sm90::NumSms() * sm90::kDecodeBlocksPerSm),
                        sm90::kAttentionWarps * 32, kBytes, stream,
                        sm90::ParametersOf<kHeadDim>(args));
}
template <int kHeadDim>
void LaunchPrefill(const AttentionArgs& args, Stream& stream) {
  const auto kernel = sm90::PrefillKernel<kHeadDim>;
  constexpr size_t kBytes = sizeof(sm90::PrefillShared<kHeadDim>);
  sm90::AllowSharedBytes(kernel, kBytes);
  sm90::LaunchDependent(kernel, static_cast<unsigned>(sm90::NumSms()), sm90::kAttentionWarps * 32,
                        kBytes, stream, sm90::ParametersOf<kHeadDim>(args));
}

__global__ void __launch_bounds__(sm90::kPrefillThreads, 1)
    WgmmaKernel(const __grid_constant__ sm90::AttentionParameters p,
                const __grid_constant__ CUtensorMap map, uint32_t leading, uint32_t stride) {
  extern __shared__ __align__(1024) unsigned char shared[];
  sm90::RunWgmmaPrefill(p, &map, leading, stride,
                        reinterpret_cast<sm90::WgmmaPrefillShared*>(shared));
}
template <uint32_t kLeading, uint32_t kStride>
void LaunchWgmma(const AttentionArgs& args, Stream& stream) {
  constexpr size_t kBytes = sizeof(sm90::WgmmaPrefillShared);
  sm90::AllowSharedBytes(WgmmaKernel, kBytes);
  sm90::LaunchDependent(WgmmaKernel, static_cast<unsigned>(sm90::NumSms()), sm90::kPrefillThreads,
                        kBytes, stream, sm90::ParametersOf<128>(args), MapOfPool(args.kv, 1),
                        kLeading, kStride);
}
struct PrefillVariant {
  const char* name;
  void (*launch)(const AttentionArgs&, Stream&);
};
// Which of a descriptor's two distances is which, for values: the check decides.
constexpr PrefillVariant kPrefillVariants[] = {
    {"mma.sync", LaunchPrefill<128>},
    {"wgmma, runs leading", LaunchWgmma<sm90::WgmmaPrefillShared::kHalfBytes, 1024>},
    {"wgmma, runs striding", LaunchWgmma<1024, sm90::WgmmaPrefillShared::kHalfBytes>},
};

struct Variant {
  const char* name;
  int blocks_per_sm;
  bool early;
  bool copies_alone;
  void (*launch)(const AttentionArgs&, const sm90::RingOptions&, Stream&);
};
// "ring 2 x 3": two blocks an SM, three stages of 32 KB each.
template <int kHeadDim>
const std::vector<Variant>& Variants() {
  static const std::vector<Variant> variants = {
      {"both kernels", 2, false, false, LaunchBoth<kHeadDim>},
      {"decode kernel", 2, false, false, LaunchDecode<kHeadDim>},
      {"ring 2 x 3, boxes", 2, false, false, LaunchRing<kHeadDim, 3, 2, true>},
      {"ring 2 x 3, boxes, early", 2, true, false, LaunchRing<kHeadDim, 3, 2, true>},
      {"ring 2 x 3, boxes, copies", 2, true, true, LaunchRing<kHeadDim, 3, 2, true>},
      {"ring 1 x 3, boxes, early", 1, true, false, LaunchRing<kHeadDim, 3, 2, true, 1>},
      {"ring 1 x 3, boxes, copies", 1, true, true, LaunchRing<kHeadDim, 3, 2, true, 1>},
      {"ring 1 x 6, boxes", 1, false, false, LaunchRing<kHeadDim, 6, 1, true>},
      {"ring 1 x 6, boxes, early", 1, true, false, LaunchRing<kHeadDim, 6, 1, true>},
      {"ring 1 x 6, boxes, copies", 1, true, true, LaunchRing<kHeadDim, 6, 1, true>},
      {"ring 2 x 3, pieces", 2, false, false, LaunchRing<kHeadDim, 3, 2, false>},
      {"ring 2 x 3, pieces, early", 2, true, false, LaunchRing<kHeadDim, 3, 2, false>},
      {"ring 2 x 3, pieces, copies", 2, true, true, LaunchRing<kHeadDim, 3, 2, false>},
      {"ring 1 x 3, pieces, early", 1, true, false, LaunchRing<kHeadDim, 3, 2, false, 1>},
      {"ring 1 x 6, pieces, early", 1, true, false, LaunchRing<kHeadDim, 6, 1, false>},
      {"ring 1 x 6, pieces, copies", 1, true, true, LaunchRing<kHeadDim, 6, 1, false>},
  };
  return variants;
}

// Sequences in shuffled blocks of a pool, one pool a layer.
class Problem {
 public:
  Problem(const Shape& shape, std::vector<Sequence> sequences, int64_t block_size, int64_t layers,
          bool same, cudaStream_t cuda)
      : shape_(shape), sequences_(std::move(sequences)), layers_(layers) {
    stream_.cuda = cuda;
    std::vector<int32_t> query_start = {0}, contexts, table_start, tables;
    for (const Sequence& s : sequences_) {
      query_start.push_back(query_start.back() + static_cast<int32_t>(s.tokens));
      contexts.push_back(static_cast<int32_t>(s.context));
      table_start.push_back(static_cast<int32_t>(tables.size()));
      for (int64_t p = 0; p < s.context; p += block_size) {
        tables.push_back(static_cast<int32_t>(tables.size()));
      }
    }
    const auto blocks = static_cast<int64_t>(tables.size());
    std::mt19937 random(7);
    std::shuffle(tables.begin(), tables.end(), random);
    rows_ = query_start.back();
    layer_elements_ = blocks * 2 * shape.kv_heads * block_size * shape.head_dim;
    pool_ = DeviceBuffer(static_cast<size_t>(layers * layer_elements_) * 2);
    q_ = DeviceBuffer(Elements() * 2);
    y_ = DeviceBuffer(Elements() * 2);
    query_start_ = Upload(query_start);
    contexts_ = Upload(contexts);
    table_start_ = Upload(table_start);
    tables_ = Upload(tables);
    plan_.limits = {rows_, static_cast<int64_t>(sequences_.size()), shape.heads, shape.kv_heads,
                    shape.head_dim};
    plan_.storage = DeviceBuffer(AttentionPlanBytesSm90(plan_.limits));
    kv_ = {pool_.as<bf16>(), blocks,         block_size,
           shape.kv_heads,   shape.head_dim, 2 * shape.kv_heads * block_size * shape.head_dim};
    Launch(FillWords, 2048, 256, 0, stream_, pool_.as<bf16>(), layers * layer_elements_,
           bf16{0x7fff});
    for (int64_t layer = 0; layer < layers; ++layer) {
      const AttentionArgs args = Args(layer);
      Launch(FillSequences, dim3(256, static_cast<unsigned>(sequences_.size())), 128, 0, stream_,
             args.kv, args.sequences, static_cast<uint32_t>(17 * layer + 3), same ? 1 : 0);
    }
    Launch(FillRandom, 2048, 256, 0, stream_, q_.as<bf16>(), static_cast<int64_t>(Elements()), 5u,
           2.0f);
  }

  AttentionArgs Args(int64_t layer) const {
    const int64_t columns = shape_.heads * shape_.head_dim;
    AttentionArgs args{Rows<const bf16>(q_.as<bf16>(), rows_, columns),
                       Rows<bf16>(y_.as<bf16>(), rows_, columns),
                       shape_.heads,
                       kv_,
                       {static_cast<int64_t>(sequences_.size()), query_start_.as<int32_t>(),
                        contexts_.as<int32_t>(), table_start_.as<int32_t>(), tables_.as<int32_t>()},
                       &plan_};
    args.kv.pool += layer * layer_elements_;
    return args;
  }

  void Plan() { PlanAttentionSm90(Args(0).sequences, plan_, stream_); }
  template <int kHeadDim>
  std::vector<uint16_t> Answer() {
    Launch(FillWords, 1024, 256, 0, stream_, y_.as<bf16>(), static_cast<int64_t>(Elements()),
           bf16{0x7fff});
    Plan();
    sm90::LaunchAttention<kHeadDim>(Args(0), stream_);
    return Words();
  }
  template <int kHeadDim>
  std::vector<uint16_t> VariantAnswer(const Variant& variant) {
    Launch(FillWords, 1024, 256, 0, stream_, y_.as<bf16>(), static_cast<int64_t>(Elements()),
           bf16{0x7fff});
    sm90::PlanAttention(Args(0).sequences, plan_, variant.blocks_per_sm, stream_);
    LaunchPrefill<kHeadDim>(Args(0), stream_);
    variant.launch(Args(0), {variant.early, nullptr, variant.copies_alone}, stream_);
    return Words();
  }
  std::vector<uint16_t> PrefillAnswer(const PrefillVariant& variant) {
    Launch(FillWords, 1024, 256, 0, stream_, y_.as<bf16>(), static_cast<int64_t>(Elements()),
           bf16{0x7fff});
    Plan();
    variant.launch(Args(0), stream_);
    LaunchDecode<128>(Args(0), {}, stream_);
    return Words();
  }
  double PrefillMicroseconds(const PrefillVariant& variant) {
    Plan();
    return Median([&](int64_t layer) { variant.launch(Args(layer), stream_); }) /
           static_cast<double>(layers_);
  }
  // Layer after layer, as Microseconds has left them: the last one's words.
  std::vector<uint16_t> LastWords() { return Words(); }
  std::vector<uint16_t> PlainAnswer(int32_t segment) {
    Launch(PlainAttention, dim3(static_cast<unsigned>(rows_), static_cast<unsigned>(shape_.heads)),
           128, 0, stream_, Args(0), segment, AttentionScale(shape_.head_dim));
    return Words();
  }

  // Row `from` of q becomes all rows.
  void SetQueries(const bf16* row) {
    const size_t bytes = static_cast<size_t>(shape_.heads * shape_.head_dim) * 2;
    for (int64_t r = 0; r < rows_; ++r) {
      CheckCuda(cudaMemcpyAsync(q_.data() + r * bytes, row, bytes, cudaMemcpyDeviceToDevice,
                                stream_.cuda));
    }
  }
  const bf16* Query(int64_t row) const {
    return q_.as<bf16>() + row * shape_.heads * shape_.head_dim;
  }

  // Microseconds of one layer, the median of recorded runs over all layers.
  template <int kHeadDim>
  double Microseconds() {
    Plan();
    return Median([&](int64_t layer) { sm90::LaunchAttention<kHeadDim>(Args(layer), stream_); }) /
           static_cast<double>(layers_);
  }
  double VariantMicroseconds(const Variant& variant) {
    sm90::PlanAttention(Args(0).sequences, plan_, variant.blocks_per_sm, stream_);
    return Median([&](int64_t layer) {
             variant.launch(Args(layer), {variant.early, nullptr, variant.copies_alone}, stream_);
           }) /
           static_cast<double>(layers_);
  }
  // When blocks did what in a layer (NoteTime), by the clock of the layer's first wait.
  void PrintTimes(const Variant& variant) {
    const size_t count = static_cast<size_t>(sm90::NumSms() * variant.blocks_per_sm) * 8;
    Buffer buffer = DeviceBuffer(2 * count * 8);
    sm90::PlanAttention(Args(0).sequences, plan_, variant.blocks_per_sm, stream_);
    for (int64_t layer = 0; layer < std::min<int64_t>(layers_, 8); ++layer) {
      uint64_t* times = buffer.as<uint64_t>() + (layer % 2) * count;
      variant.launch(Args(layer), {variant.early, times, variant.copies_alone}, stream_);
    }
    std::vector<uint64_t> times(2 * count);
    CheckCuda(cudaStreamSynchronize(stream_.cuda));
    CheckCuda(cudaMemcpy(times.data(), buffer.data(), times.size() * 8, cudaMemcpyDeviceToHost));
    const auto sorted = [&](size_t buffer_index, size_t what) {
      std::vector<uint64_t> v;
      for (size_t i = what; i < count; i += 8) {
        if (times[buffer_index * count + i] != 0) v.push_back(times[buffer_index * count + i]);
      }
      std::sort(v.begin(), v.end());
      return v;
    };
    const char* names[] = {"start",      "waited",       "all copies issued",
                           "first tile", "split stored", "end"};
    const auto before = sorted(0, 1);
    const auto after = sorted(1, 1);
    if (before.empty() || after.empty()) return;
    std::printf("    times, ns after the wait (first, median, last):");
    for (size_t what = 0; what < 6; ++what) {
      const auto v = sorted(1, what);
      if (v.empty()) continue;
      const auto since = [&](uint64_t t) { return static_cast<long long>(t - after[0]); };
      std::printf(" %s %lld %lld %lld;", names[what], since(v.front()), since(v[v.size() / 2]),
                  since(v.back()));
    }
    std::printf(" layer before waited at %lld\n", static_cast<long long>(before[0] - after[0]));
  }
  double PlanMicroseconds() {
    return Median([&](int64_t) { Plan(); }) / static_cast<double>(layers_);
  }

  size_t Elements() const { return static_cast<size_t>(rows_ * shape_.heads * shape_.head_dim); }
  double KvBytes() const {
    double tokens = 0;
    for (const Sequence& s : sequences_) tokens += static_cast<double>(s.context);
    return tokens * static_cast<double>(shape_.kv_heads * shape_.head_dim * 4);
  }
  double Flop() const {
    double pairs = 0;
    for (const Sequence& s : sequences_) {
      const auto context = static_cast<double>(s.context);
      const auto tokens = static_cast<double>(s.tokens);
      pairs += tokens * (context - tokens) + tokens * (tokens + 1) / 2;
    }
    return pairs * static_cast<double>(shape_.heads * shape_.head_dim * 4);
  }

 private:
  std::vector<uint16_t> Words() {
    std::vector<uint16_t> words(Elements());
    const cudaError_t failure = cudaStreamSynchronize(stream_.cuda);
    VX_CHECK(failure == cudaSuccess, cudaGetErrorString(failure));
    CheckCuda(cudaMemcpy(words.data(), y_.data(), words.size() * 2, cudaMemcpyDeviceToHost));
    for (uint16_t& w : words) w = CanonicalWord(bf16{w});
    return words;
  }

  double Median(const std::function<void(int64_t)>& run) {
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    CheckCuda(cudaStreamSynchronize(stream_.cuda));
    CheckCuda(cudaStreamBeginCapture(stream_.cuda, cudaStreamCaptureModeThreadLocal));
    for (int64_t layer = 0; layer < layers_; ++layer) run(layer);
    CheckCuda(cudaStreamEndCapture(stream_.cuda, &graph));
    CheckCuda(cudaGraphInstantiate(&exec, graph, 0));
    cudaEvent_t begin = nullptr;
    cudaEvent_t end = nullptr;
    CheckCuda(cudaEventCreate(&begin));
    CheckCuda(cudaEventCreate(&end));
    std::vector<float> times;
    for (int i = 0; i < 12; ++i) {
      CheckCuda(cudaEventRecord(begin, stream_.cuda));
      CheckCuda(cudaGraphLaunch(exec, stream_.cuda));
      CheckCuda(cudaEventRecord(end, stream_.cuda));
      CheckCuda(cudaEventSynchronize(end));
      float milliseconds = 0;
      CheckCuda(cudaEventElapsedTime(&milliseconds, begin, end));
      if (i > 1) times.push_back(milliseconds);
    }
    std::sort(times.begin(), times.end());
    CheckCuda(cudaEventDestroy(begin));
    CheckCuda(cudaEventDestroy(end));
    CheckCuda(cudaGraphExecDestroy(exec));
    CheckCuda(cudaGraphDestroy(graph));
    return 1e3 * times[times.size() / 2];
  }

  Shape shape_;
  std::vector<Sequence> sequences_;
  int64_t layers_;
  int64_t rows_ = 0;
  int64_t layer_elements_ = 0;
  Buffer pool_, q_, y_, query_start_, contexts_, table_start_, tables_;
  AttentionPlan plan_;
  PagedKv kv_;
  Stream stream_;
};

int64_t CountDiffering(const std::vector<uint16_t>& a, const std::vector<uint16_t>& b) {
  int64_t count = 0;
  for (size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

// Lengths at the edges of chunks, tiles and segments; decode rows, short and long chunks, and
// sequences without rows, in one call.
std::vector<Sequence> EdgeSequences() {
  std::vector<Sequence> sequences;
  int i = 0;
  for (const int64_t context :
       {1,   2,   15,  16,  17,  31,  33,  63,  65,  127, 128, 129,  144,
        255, 256, 257, 383, 384, 385, 511, 512, 513, 640, 769, 1024, 1100}) {
    sequences.push_back({context, 1});
    const int64_t several[] = {2, 5, 16, 40, 0, 129};
    sequences.push_back({context, std::min(context, several[i++ % 6])});
  }
  return sequences;
}

template <int kHeadDim>
int64_t CheckAgainstPlain(int64_t group, int64_t block_size, cudaStream_t cuda) {
  const int64_t kv_heads = 2;
  Problem problem({kv_heads * group, kv_heads, kHeadDim}, EdgeSequences(), block_size, 1, false,
                  cuda);
  const auto fast = problem.template Answer<kHeadDim>();
  const auto again = problem.template Answer<kHeadDim>();  // counters were set back
  const auto plain = problem.PlainAnswer(kAttentionSegment);
  const int64_t differing = CountDiffering(fast, plain) + CountDiffering(fast, again);
  std::printf("plain: head_dim %3d group %2d blocks of %d: %zu words, %lld differ (%lld again)\n",
              kHeadDim, static_cast<int>(group), static_cast<int>(block_size), fast.size(),
              static_cast<long long>(CountDiffering(fast, plain)),
              static_cast<long long>(CountDiffering(fast, again)));
  return differing;
}

// The last rows of a prefill, again as decode rows: alone (cut into segments), and many at once
// (whole sequences a warp).
int64_t CheckSchedules(const Shape& shape, int64_t context, cudaStream_t cuda) {
  Problem prefill(shape, {{context, context}}, 16, 1, true, cuda);
  const auto wanted = prefill.Answer<128>();
  const auto columns = static_cast<size_t>(shape.heads * shape.head_dim);
  int64_t differing = 0;
  int64_t words = 0;
  for (const int64_t copies : {1, 3, 2000}) {
    if (copies * context > 1100000) continue;
    Problem decode(shape, std::vector<Sequence>(copies, {context, 1}), 64, 1, true, cuda);
    decode.SetQueries(prefill.Query(context - 1));
    const auto y = decode.Answer<128>();
    const uint16_t* last = wanted.data() + wanted.size() - columns;
    for (size_t i = 0; i < y.size(); ++i) differing += y[i] != last[i % columns];
    words += static_cast<int64_t>(y.size());
  }
  std::printf("schedules: heads %d/%d context %lld: %lld words, %lld differ\n",
              static_cast<int>(shape.heads), static_cast<int>(shape.kv_heads),
              static_cast<long long>(context), static_cast<long long>(words),
              static_cast<long long>(differing));
  return differing;
}

bool IsWanted(const Variant& variant, const std::string& part) {
  const std::string name = variant.name;
  return name.find(part) != std::string::npos || name.find("kernel") != std::string::npos;
}

// Every variant of the decode kernel on CheckAgainstPlain's lengths.
template <int kHeadDim>
int64_t CheckVariants(int64_t group, int64_t block_size, const std::string& part,
                      cudaStream_t cuda) {
  Problem problem({2 * group, 2, kHeadDim}, EdgeSequences(), block_size, 1, false, cuda);
  const auto plain = problem.PlainAnswer(kAttentionSegment);
  int64_t all = 0;
  for (const Variant& variant : Variants<kHeadDim>()) {
    if (!IsWanted(variant, part) || variant.copies_alone) continue;
    int64_t differing = CountDiffering(problem.VariantAnswer<kHeadDim>(variant), plain);
    differing += CountDiffering(problem.VariantAnswer<kHeadDim>(variant), plain);
    std::printf("variant: head_dim %d group %d blocks of %d: %-26s %lld words differ\n", kHeadDim,
                static_cast<int>(group), static_cast<int>(block_size), variant.name,
                static_cast<long long>(differing));
    std::fflush(stdout);
    all += differing;
  }
  return all;
}
int64_t CheckAllVariants(const std::string& part, cudaStream_t cuda) {
  return CheckVariants<128>(2, 16, part, cuda) + CheckVariants<128>(8, 32, part, cuda) +
         CheckVariants<128>(1, 64, part, cuda) + CheckVariants<64>(3, 16, part, cuda);
}

int64_t CheckAll(cudaStream_t cuda) {
  int64_t differing = 0;
  for (const int64_t group : {1, 2, 3, 4, 8, 16}) {
    for (const int64_t block_size : {16, 32, 64}) {
      differing += CheckAgainstPlain<64>(group, block_size, cuda);
      differing += CheckAgainstPlain<128>(group, block_size, cuda);
    }
  }
  for (const int64_t block_size : {16, 64}) {
    differing += CheckAgainstPlain<16>(3, block_size, cuda);
    differing += CheckAgainstPlain<32>(7, block_size, cuda);
  }
  for (const int64_t context : {500, 1000, 3000, 8192}) {
    differing += CheckSchedules({16, 8, 128}, context, cuda);
    differing += CheckSchedules({32, 4, 128}, context, cuda);
  }
  std::printf("check: %lld differing words in all\n", static_cast<long long>(differing));
  return differing;
}

void Report(const std::string& name, const Problem& problem, double us) {
  const double bytes_floor = problem.KvBytes() / kBytesPerSecond * 1e6;
  const double flop_floor = problem.Flop() / kFlopPerSecond * 1e6;
  const double floor = std::max(bytes_floor, flop_floor);
  std::printf("%-52s floor %9.2f us | %9.2f us %3.0f %% | %.0f GB/s %.0f TFLOP/s\n", name.c_str(),
              floor, us, 100 * floor / us, problem.KvBytes() / us * 1e-3,
              problem.Flop() / us * 1e-6);
  std::fflush(stdout);
}

void TimeProblem(const std::string& name, const Shape& shape, std::vector<Sequence> sequences,
                 int64_t layers, cudaStream_t cuda) {
  Problem problem(shape, std::move(sequences), 16, layers, false, cuda);
  const double us =
      shape.head_dim == 128 ? problem.Microseconds<128>() : problem.Microseconds<64>();
  Report(name + ", heads " + std::to_string(shape.heads) + "/" + std::to_string(shape.kv_heads) +
             " of " + std::to_string(shape.head_dim),
         problem, us);
}

void TimeAll(cudaStream_t cuda) {
  const Shape shapes[] = {{16, 8, 128}, {32, 4, 128}, {9, 3, 64}};
  for (const Shape& shape : shapes) {
    for (const int64_t tokens : {512, 2048, 8192, 32768}) {
      TimeProblem("prefill of " + std::to_string(tokens), shape, {{tokens, tokens}},
                  tokens > 8192 ? 1 : 4, cuda);
    }
    TimeProblem("prefill of 2048 after 6144", shape, {{8192, 2048}}, 4, cuda);
    for (const int64_t count : {1, 8, 32, 64, 200, 512}) {
      std::vector<Sequence> sequences;
      std::mt19937 random(3);
      for (int64_t s = 0; s < count; ++s)
        sequences.push_back({500 + static_cast<int64_t>(random() % 501), 1});
      // Together beyond the L2 cache.
      TimeProblem("decode of " + std::to_string(count) + " x 500..1000", shape, sequences,
                  count >= 64 ? 4 : 64 * 4 / count, cuda);
    }
    TimeProblem("decode of 8 x 500", shape, std::vector<Sequence>(8, {500, 1}), 32, cuda);
    std::vector<Sequence> uniform;
    std::mt19937 random(4);
    for (int s = 0; s < 64; ++s) uniform.push_back({1 + static_cast<int64_t>(random() % 1000), 1});
    TimeProblem("decode of 64 x 1..1000", shape, uniform, 6, cuda);
    TimeProblem("decode of 1 x 3000", shape, {{3000, 1}}, 32, cuda);
    TimeProblem("decode of 1 x 32768", shape, {{32768, 1}}, 4, cuda);
    std::vector<Sequence> mixed = uniform;
    mixed.push_back({1024, 1024});
    TimeProblem("64 x 1..1000 and a prefill of 1024", shape, mixed, 6, cuda);
  }
  Problem plan({16, 8, 128}, std::vector<Sequence>(512, {600, 1}), 16, 1, false, cuda);
  std::printf("plan of 512 sequences: %.2f us\n", plan.PlanMicroseconds());
}

std::vector<Sequence> UniformSequences(int64_t count, int64_t least, int64_t most, unsigned seed) {
  std::vector<Sequence> sequences;
  std::mt19937 random(seed);
  for (int64_t s = 0; s < count; ++s) {
    sequences.push_back({least + static_cast<int64_t>(random() % (most - least + 1)), 1});
  }
  return sequences;
}

// Returns words that differ from today's kernels, after layers that ran one behind the other.
int64_t TimeDecodeVariants(const char* name, const Shape& shape, std::vector<Sequence> sequences,
                           int64_t layers, const std::string& part, cudaStream_t cuda) {
  Problem problem(shape, std::move(sequences), 16, layers, false, cuda);
  std::printf("%s, heads %d/%d of %d: floor %.2f us at 4.8 TB/s\n", name,
              static_cast<int>(shape.heads), static_cast<int>(shape.kv_heads),
              static_cast<int>(shape.head_dim), problem.KvBytes() / kBytesPerSecond * 1e6);
  std::vector<uint16_t> wanted;
  int64_t all = 0;
  for (const Variant& variant : Variants<128>()) {
    if (!IsWanted(variant, part)) continue;
    const double us = problem.VariantMicroseconds(variant);
    const auto words = problem.LastWords();
    if (wanted.empty()) wanted = words;
    const int64_t differing = variant.copies_alone ? 0 : CountDiffering(words, wanted);
    all += differing;
    std::printf("  %-26s %9.2f us %6.0f GB/s %3.0f %% of 4.8 TB/s, %lld words differ\n",
                variant.name, us, problem.KvBytes() / us * 1e-3,
                problem.KvBytes() / us / kBytesPerSecond * 1e8, static_cast<long long>(differing));
    problem.PrintTimes(variant);
    std::fflush(stdout);
  }
  return all;
}
int64_t TimeDecode(const std::string& part, cudaStream_t cuda) {
  const Shape small{16, 8, 128};
  const Shape wide{32, 4, 128};
  int64_t differing = 0;
  const std::vector<Sequence> eight(8, {500, 1});
  differing += TimeDecodeVariants("8 x 500", small, eight, 28, part, cuda);
  differing +=
      TimeDecodeVariants("8 x 500..1000", small, UniformSequences(8, 500, 1000, 3), 28, part, cuda);
  differing += TimeDecodeVariants("32 x 500..1000", small, UniformSequences(32, 500, 1000, 3), 12,
                                  part, cuda);
  differing +=
      TimeDecodeVariants("64 x 1..1000", small, UniformSequences(64, 1, 1000, 4), 12, part, cuda);
  differing += TimeDecodeVariants("200 x 500..1000", small, UniformSequences(200, 500, 1000, 3), 4,
                                  part, cuda);
  differing += TimeDecodeVariants("512 x 500..1000", small, UniformSequences(512, 500, 1000, 3), 4,
                                  part, cuda);
  differing += TimeDecodeVariants("1 x 3000", small, {{3000, 1}}, 28, part, cuda);
  differing += TimeDecodeVariants("1 x 32768", small, {{32768, 1}}, 6, part, cuda);
  differing +=
      TimeDecodeVariants("64 x 1..1000", wide, UniformSequences(64, 1, 1000, 4), 12, part, cuda);
  return differing;
}

int64_t CheckPrefill(cudaStream_t cuda) {
  int64_t all = 0;
  for (const int64_t group : {1, 2, 3, 8, 16}) {
    for (const int64_t block_size : {16, 64}) {
      Problem problem({2 * group, 2, 128}, EdgeSequences(), block_size, 1, false, cuda);
      const auto plain = problem.PlainAnswer(kAttentionSegment);
      for (const PrefillVariant& variant : kPrefillVariants) {
        int64_t differing = CountDiffering(problem.PrefillAnswer(variant), plain);
        differing += CountDiffering(problem.PrefillAnswer(variant), plain);
        std::printf("prefill: group %2d blocks of %d: %-22s %lld words differ\n",
                    static_cast<int>(group), static_cast<int>(block_size), variant.name,
                    static_cast<long long>(differing));
        std::fflush(stdout);
        all += differing;
      }
    }
  }
  return all;
}
int64_t TimePrefill(cudaStream_t cuda) {
  int64_t all = 0;
  for (const Shape& shape : {Shape{16, 8, 128}, Shape{32, 4, 128}}) {
    for (const Sequence& sequence : {Sequence{512, 512}, Sequence{2048, 2048}, Sequence{8192, 8192},
                                     Sequence{8192, 2048}, Sequence{32768, 32768}}) {
      if (shape.heads == 32 && sequence.tokens == 32768) continue;
      Problem problem(shape, {sequence}, 16, sequence.tokens > 8192 ? 1 : 4, false, cuda);
      std::vector<uint16_t> wanted;
      for (const PrefillVariant& variant : kPrefillVariants) {
        const auto words = problem.PrefillAnswer(variant);
        if (wanted.empty()) wanted = words;
        const int64_t differing = CountDiffering(words, wanted);
        all += differing;
        const double us = problem.PrefillMicroseconds(variant);
        std::printf(
            "prefill of %5d to %5d, heads %d/%d: %-22s %9.2f us %4.0f TFLOP/s, %lld words "
            "differ\n",
            static_cast<int>(sequence.tokens), static_cast<int>(sequence.context),
            static_cast<int>(shape.heads), static_cast<int>(shape.kv_heads), variant.name, us,
            problem.Flop() / us * 1e-6, static_cast<long long>(differing));
        std::fflush(stdout);
      }
    }
  }
  return all;
}

}  // namespace
}  // namespace vexact

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "all";
  const std::string part = argc > 2 ? argv[2] : "";
  cudaStream_t stream = nullptr;
  vexact::sm90::CheckCuda(cudaStreamCreate(&stream));
  int64_t differing = 0;
  if (what == "decode") {
    differing = vexact::CheckAllVariants(part, stream) + vexact::TimeDecode(part, stream);
  } else if (what == "prefill") {
    differing = vexact::CheckPrefill(stream) + vexact::TimePrefill(stream);
  } else {
    if (what != "time") differing = vexact::CheckAll(stream);
    if (what != "check") vexact::TimeAll(stream);
  }
  return differing == 0 ? 0 : 1;
}
