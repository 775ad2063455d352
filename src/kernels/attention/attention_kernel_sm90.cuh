// The attention kernel: blocks of a producer warp and 8 consumer warps, one an SM, that take the
// step's prefill and decode work. Lengths are read on the device only, so a recorded launch serves
// every step, or every step without prefill: a kernel that has decode's code alone is faster
// (docs/performance.md).
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_KERNEL_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_KERNEL_SM90_CUH_

#include <algorithm>
#include <cstdint>

#include "kernels/attention/attention_decode_sm90.cuh"
#include "kernels/attention/attention_prefill_narrow_sm90.cuh"
#include "kernels/attention/attention_prefill_sm90.cuh"
#include "kernels/sm90/dependent_launch.cuh"
#include "kernels/sm90/tensor_map.cuh"

namespace vexact::sm90 {

// Prefill of narrower heads has a kernel of its own, ahead of this one.
template <int kHeadDim>
inline constexpr bool kHasWidePrefill = kHeadDim >= 64;

template <int kHeadDim, bool kPrefill>
struct AttentionShared {
  using Ring = KvRing<kHeadDim, kHeadDim == 128 ? 6 : 12>;  // 192 KB and less

  Ring ring;
  DecodeShared<kHeadDim> decode;
};
template <int kHeadDim>
struct AttentionShared<kHeadDim, true> {
  using Ring = KvRing<kHeadDim, kHeadDim == 128 ? 4 : 8>;  // 128 KB

  Ring ring;
  PrefillBarriers barriers;
  // What the consumers keep beside it; they meet before decode work that follows on prefill.
  union {
    DecodeShared<kHeadDim> decode;
    PrefillShared<kHeadDim> prefill;
  };
};

template <int kHeadDim, bool kPrefill, typename Mask>
__device__ __forceinline__ void Consume(const AttentionParameters& p, const BlockWork& work,
                                        AttentionShared<kHeadDim, kPrefill>* shared) {
  using Ring = typename AttentionShared<kHeadDim, kPrefill>::Ring;
  RingReader<Ring> reader(&shared->ring);
  auto run = static_cast<int32_t>(blockIdx.x);
  if constexpr (kPrefill) {
    if (work.prefill_units > 0) {
      PrefillConsumer<Ring, Mask> prefill(p, &shared->prefill, &shared->barriers, &reader);
      Ticket ticket = shared->ring.template FirstTicket<Mask>(p, work);
      for (; ticket.number < work.prefill_units; ticket = reader.NextTicket()) {
        prefill.RunUnit(ticket.work);
      }
      MeetConsumers();
      run = ticket.number - work.prefill_units;
    }
  }
  while (run < work.runs) {
    DecodeConsumer<Ring, Mask>(p, shared->ring.RunAt(p, run), &shared->decode, &reader).Run();
    run = work.runs;
    if constexpr (kPrefill) {
      if (work.prefill_units > 0) run = reader.NextTicket().number - work.prefill_units;
    }
  }
}

// Without kPrefill: for steps that have decode work alone.
template <int kHeadDim, bool kPrefill, typename Mask>
__global__ void __launch_bounds__(kAttentionThreads, 1)
    AttentionKernel(const __grid_constant__ AttentionParameters p) {
  extern __shared__ __align__(1024) unsigned char bytes[];
  auto* shared = reinterpret_cast<AttentionShared<kHeadDim, kPrefill>*>(bytes);
  AllowLater();
  if (threadIdx.x == 0) {
    shared->ring.Init();
    if constexpr (kPrefill) shared->barriers.Init();
  }
  if (WarpIndex() == 1) shared->ring.LoadOwnRun(p);
  if (kPrefill && WarpIndex() == 2) shared->ring.LoadOwnUnit(p);
  BlockWork work{0, __ldcg(&p.plan.counters->runs)};
  if constexpr (kPrefill) {
    work.prefill_units =
        __ldcg(&p.plan.counters->prefill) * static_cast<int32_t>(p.kv.num_kv_heads);
  }
  __syncthreads();
  if (threadIdx.x < kConsumers) {
    TakeRegisters<232>();
    WaitForEarlier();
    Consume<kHeadDim, kPrefill, Mask>(p, work, shared);
  } else {
    GiveRegisters<40>();
    using Ring = typename AttentionShared<kHeadDim, kPrefill>::Ring;
    const int warp = WarpIndex() - kAttentionWarps;
    if (warp == 0) {
      RingProducer<Ring, Mask>(p, &shared->ring).template Run<kPrefill>(work);
    } else if constexpr (kPrefill) {
      if (work.prefill_units == 0 || warp > 2) return;
      const Ticket first = shared->ring.template FirstTicket<Mask>(p, work);
      QueryCopier<Ring> copier(p, warp - 1, &shared->ring, shared->prefill.q[warp - 1],
                               &shared->barriers);
      WaitForEarlier();
      copier.Run(work, first);
    }
  }
}

template <int kHeadDim, typename Mask>
__global__ void __launch_bounds__(kAttentionWarps * 32, 1)
    NarrowPrefillKernel(const __grid_constant__ AttentionParameters p) {
  extern __shared__ __align__(128) unsigned char shared[];
  WaitForEarlier();
  AllowLater();
  NarrowPrefillBlock<kHeadDim, Mask>(p, reinterpret_cast<NarrowPrefillShared<kHeadDim>*>(shared))
      .Run();
  __syncthreads();
  if (threadIdx.x == 0) FinishTickets(p.plan.counters);
}

// The pool as boxes of 16 positions of one head, `runs` runs of columns each.
template <int kHeadDim>
CUtensorMap MapOfPool(const PagedKv& kv, int runs) {
  using Chunk = KvChunk<kHeadDim>;
  return MakeTensorMap(
      {.data = kv.pool,
       .dims = {Chunk::kRunColumns, static_cast<uint64_t>(2 * kv.num_kv_heads * kv.block_size),
                Chunk::kRuns, static_cast<uint64_t>(kv.num_blocks)},
       .stride_bytes = {kHeadDim * sizeof(bf16), Chunk::kRunColumns * sizeof(bf16),
                        static_cast<uint64_t>(kv.block_stride) * sizeof(bf16)},
       .box = {Chunk::kRunColumns, kChunk, static_cast<uint32_t>(runs), 1}});
}

template <int kHeadDim, bool kPrefill, typename Mask>
void LaunchAttentionKernel(const AttentionParameters& p, Stream& stream) {
  constexpr size_t kBytes = sizeof(AttentionShared<kHeadDim, kPrefill>);
  const auto kernel = AttentionKernel<kHeadDim, kPrefill, Mask>;
  AllowSharedBytes(kernel, kBytes);
  LaunchDependent(kernel, static_cast<unsigned>(NumSms()), kAttentionThreads, kBytes, stream, p);
}

template <int kHeadDim, typename Mask>
void LaunchAttention(const AttentionArgs& args, Stream& stream) {
  AttentionParameters p = ParametersOf(args, kHeadDim);
  p.chunks = MapOfPool<kHeadDim>(args.kv, KvChunk<kHeadDim>::kRuns);
  p.chunk_runs = MapOfPool<kHeadDim>(args.kv, 1);
  const bool prefill = args.sequences.max_rows * p.group > kDecodeRows;
  if constexpr (kHasWidePrefill<kHeadDim>) {
    if (prefill) return LaunchAttentionKernel<kHeadDim, true, Mask>(p, stream);
  } else if (prefill) {
    constexpr size_t kBytes = sizeof(NarrowPrefillShared<kHeadDim>);
    const auto kernel = NarrowPrefillKernel<kHeadDim, Mask>;
    AllowSharedBytes(kernel, kBytes);
    LaunchDependent(kernel, static_cast<unsigned>(NumSms()), kAttentionWarps * 32, kBytes, stream,
                    p);
  }
  LaunchAttentionKernel<kHeadDim, false, Mask>(p, stream);
}

template <typename Mask>
void LaunchUnderMask(const AttentionArgs& args, Stream& stream) {
  switch (args.kv.head_dim) {
    case 16:
      return LaunchAttention<16, Mask>(args, stream);
    case 32:
      return LaunchAttention<32, Mask>(args, stream);
    case 64:
      return LaunchAttention<64, Mask>(args, stream);
    case 128:
      return LaunchAttention<128, Mask>(args, stream);
    default:
      VX_CHECK(false, "head_dim 16, 32, 64 or 128");
  }
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_KERNEL_SM90_CUH_
