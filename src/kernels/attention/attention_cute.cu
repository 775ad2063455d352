// fa-invariant-cute and fa-variant-cute: one block of 256 threads a multiprocessor takes the step's
// prefill units by tickets, then its halves take runs of decode work. CI compiles this file for
// sm_80, sm_90 and sm_100 (target vexact_portable_attention).
#include <cstdint>

#include "base/check.h"
#include "kernels/attention/attention_cute_decode.cuh"
#include "kernels/attention/attention_cute_prefill.cuh"
#include "kernels/sm90/dependent_launch.cuh"

namespace vexact {
namespace portable {
namespace {

template <int kHeadDim, bool kCanonical>
struct BlockShared {
  using Decode = DecodeGroup<kHeadDim, kCanonical>;
  using Prefill = PrefillBlock<kHeadDim, kCanonical>;

  union {  // the block meets in between
    typename Prefill::Shared prefill;
    typename Decode::Shared decode[kDecodeGroups];
  };
  typename Prefill::Ring::Barriers barriers;
  int32_t tickets[kDecodeGroups];
};

// By one thread of a block or a group, which then meets.
__device__ __forceinline__ int32_t TakeTicket(const sm90::AttentionParameters& p) {
  return atomicAdd(&p.plan.counters->taken, 1);
}

// The block's prefill units; the first ticket that is none.
template <int kHeadDim, bool kCanonical>
__device__ __forceinline__ int32_t RunPrefill(const sm90::AttentionParameters& p, int32_t units,
                                              BlockShared<kHeadDim, kCanonical>* shared) {
  using Block = PrefillBlock<kHeadDim, kCanonical>;
  Block prefill(p, &shared->prefill, &shared->barriers);
  if (threadIdx.x == 0) Block::Ring::Init(&shared->barriers);
  sm90::WaitForEarlier();
  for (;;) {
    __syncthreads();  // the last ticket is no longer read
    if (threadIdx.x == 0) shared->tickets[0] = TakeTicket(p);
    __syncthreads();
    const int32_t ticket = shared->tickets[0];
    if (ticket >= units) return ticket;
    const auto heads = static_cast<int32_t>(p.kv.num_kv_heads);
    prefill.RunUnit(sm90::WorkOf<CausalMask>(p, sm90::LoadPlanned(p.plan.prefill + ticket / heads),
                                             ticket % heads));
  }
}

// Without prefill a group takes the run of its index; else group 0 the run of the block's last
// ticket, and then both by tickets.
template <int kHeadDim, bool kCanonical>
__device__ __forceinline__ void RunDecode(const sm90::AttentionParameters& p, int32_t units,
                                          int32_t ticket,
                                          BlockShared<kHeadDim, kCanonical>* shared) {
  using Group = DecodeGroup<kHeadDim, kCanonical>;
  const int index = static_cast<int>(threadIdx.x) / kTeamThreads;
  const int32_t runs = __ldcg(&p.plan.counters->runs);
  Group group(p, &shared->decode[index], index);
  const auto next_ticket = [&] {
    group.Meet();  // the last run's shared memory, and its ticket, are no longer read
    if (Group::Thread() == 0) shared->tickets[index] = TakeTicket(p);
    group.Meet();
    return shared->tickets[index];
  };
  int32_t run = static_cast<int32_t>(blockIdx.x) * kDecodeGroups + index;
  if (units > 0) run = (index == 0 ? ticket : next_ticket()) - units;
  while (run < runs) {
    group.Run(sm90::ReadRun(p, run));
    run = units > 0 ? next_ticket() - units : runs;
  }
}

template <int kHeadDim, bool kCanonical>
__global__ void __launch_bounds__(kBlockThreads, 1)
    CuteAttentionKernel(const __grid_constant__ sm90::AttentionParameters p) {
  extern __shared__ __align__(128) unsigned char bytes[];
  auto* shared = reinterpret_cast<BlockShared<kHeadDim, kCanonical>*>(bytes);
  sm90::AllowLater();
  const int32_t units = __ldcg(&p.plan.counters->prefill) * static_cast<int32_t>(p.kv.num_kv_heads);
  int32_t ticket = 0;
  if (units > 0) {
    ticket = RunPrefill<kHeadDim, kCanonical>(p, units, shared);
    __syncthreads();
  }
  RunDecode<kHeadDim, kCanonical>(p, units, ticket, shared);
  sm90::WaitForEarlier();  // groups that had no work
  if (units == 0) return;
  __syncthreads();
  if (threadIdx.x == 0) sm90::FinishTickets(p.plan.counters);
}

template <int kHeadDim, bool kCanonical>
void LaunchKernel(const AttentionArgs& args, Stream& stream) {
  const sm90::AttentionParameters p = sm90::ParametersOf(args, kHeadDim);
  VX_CHECK(args.plan->runs_per_sm == kDecodeGroups, "a plan with a run for each half of a block");
  constexpr size_t kBytes = sizeof(BlockShared<kHeadDim, kCanonical>);
  const auto kernel = CuteAttentionKernel<kHeadDim, kCanonical>;
  sm90::AllowSharedBytes(kernel, kBytes);
  sm90::LaunchDependent(kernel, static_cast<unsigned>(sm90::NumSms()), kBlockThreads, kBytes,
                        stream, p);
}

template <bool kCanonical>
void Launch(const AttentionArgs& args, Stream& stream) {
  if (args.sequences.count == 0) return;
  VX_CHECK(args.sequences.mask.kind == MaskKind::kCausal, "a causal mask");
  switch (args.kv.head_dim) {
    case 16:
      return LaunchKernel<16, kCanonical>(args, stream);
    case 32:
      return LaunchKernel<32, kCanonical>(args, stream);
    case 64:
      return LaunchKernel<64, kCanonical>(args, stream);
    case 128:
      return LaunchKernel<128, kCanonical>(args, stream);
    default:
      VX_CHECK(false, "head_dim 16, 32, 64 or 128");
  }
}

}  // namespace
}  // namespace portable

void AttentionCute(Mode mode, const AttentionArgs& args, Stream& stream) {
  CheckShapes(args);
  if (mode == Mode::kInvariant) {
    portable::Launch<true>(args, stream);
  } else {
    portable::Launch<false>(args, stream);
  }
}

}  // namespace vexact
