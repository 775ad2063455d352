#include "kernels/attention/attention_plan_sm90.h"

#include "base/check.h"
#include "kernels/sm90/launch.cuh"

namespace vexact {
namespace sm90 {
namespace {

constexpr int kPlanThreads = 1024;

struct PlanParameters {
  PagedSequences sequences;
  AttentionPlanView plan;
  int32_t group;  // query heads of a KV head
  int32_t num_kv_heads;
  int32_t segment;  // positions
  int32_t warps;    // of the attention kernel, all blocks
};

struct PlannedSequence {
  int32_t tokens;
  int32_t context;
  bool decode;       // few rows
  int32_t segments;  // of a decode sequence, the last perhaps short
};

__device__ PlannedSequence ReadSequence(const PlanParameters& p, int64_t s) {
  PlannedSequence r;
  r.tokens = p.sequences.query_start[s + 1] - p.sequences.query_start[s];
  r.context = p.sequences.context_len[s];
  r.decode = r.tokens > 0 && r.tokens * p.group <= kWarpRows;
  r.segments = r.decode ? (r.context - 1) / p.segment + 1 : 0;
  return r;
}

__device__ void EmitPrefill(const PlanParameters& p, int32_t s, int32_t rows) {
  const int32_t blocks = (rows + kPrefillRows - 1) / kPrefillRows;
  const int32_t first = atomicAdd(&p.plan.counters->prefill, blocks);
  for (int32_t i = 0; i < blocks; ++i) {  // the last rows see most: they come first
    const int32_t begin = (blocks - 1 - i) * kPrefillRows;
    p.plan.prefill[first + i] = {s, begin, min(rows, begin + kPrefillRows), kWhole};
  }
}

// Runs of at most `run` segments.
__device__ void EmitDecode(const PlanParameters& p, int32_t s, const PlannedSequence& r,
                           int32_t run, int32_t* slots_taken) {
  int32_t slot = kWhole;
  if (r.segments > run) {
    const int32_t wanted = r.segments * r.tokens;
    slot = atomicAdd(slots_taken, wanted);
    if (slot + wanted > kSplitSlots) slot = kWhole;
  }
  const int32_t length = slot == kWhole ? r.segments : run;
  const int32_t full = r.context / p.segment / length;
  const int32_t units = (r.segments + length - 1) / length;
  const int32_t first = atomicAdd(&p.plan.counters->decode_long, full);
  for (int32_t i = 0; i < full; ++i) {
    p.plan.decode_long[first + i] = {s, i * length, (i + 1) * length, slot};
  }
  if (units > full) {
    const AttentionUnit rest{s, full * length, r.segments, slot};
    const int32_t positions = r.context - rest.begin * p.segment;
    if (positions > run * p.segment / 2) {
      p.plan.decode_long[atomicAdd(&p.plan.counters->decode_long, 1)] = rest;
    } else {
      p.plan.decode_short[atomicAdd(&p.plan.counters->decode_short, 1)] = rest;
    }
  }
}

// One block. Sequences are split until each warp has about two units.
__global__ void __launch_bounds__(kPlanThreads) PlanKernel(PlanParameters p) {
  __shared__ int32_t all_segments;
  __shared__ int32_t slots_taken;
  if (threadIdx.x == 0) {
    all_segments = 0;
    slots_taken = 0;
    *p.plan.counters = {};
  }
  __syncthreads();
  int32_t own_segments = 0;
  for (int64_t s = threadIdx.x; s < p.sequences.count; s += kPlanThreads) {
    own_segments += ReadSequence(p, s).segments;
  }
  if (own_segments > 0) atomicAdd(&all_segments, own_segments);
  __syncthreads();
  const int32_t run =
      max(1, static_cast<int32_t>(int64_t{all_segments} * p.num_kv_heads / (2 * int64_t{p.warps})));
  for (int64_t s = threadIdx.x; s < p.sequences.count; s += kPlanThreads) {
    const PlannedSequence r = ReadSequence(p, s);
    const auto sequence = static_cast<int32_t>(s);
    if (r.decode) {
      EmitDecode(p, sequence, r, run, &slots_taken);
    } else if (r.tokens > 0) {
      EmitPrefill(p, sequence, r.tokens * p.group);
    }
  }
}

}  // namespace

int NumSms() {
  int device = 0;
  int count = 0;
  CheckCuda(cudaGetDevice(&device));
  CheckCuda(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

void PlanAttentionWithSegment(const PagedSequences& sequences, const AttentionPlan& plan,
                              int32_t segment, Stream& stream) {
  VX_CHECK(sequences.count <= plan.limits.max_sequences, "sequences within the plan's limits");
  size_t bytes = 0;
  const AttentionPlanView view = ViewPlan(plan.limits, plan.storage.data(), &bytes);
  VX_CHECK(bytes <= plan.storage.bytes(), "the plan's storage");
  const PlanParameters p{sequences,
                         view,
                         static_cast<int32_t>(plan.limits.num_heads / plan.limits.num_kv_heads),
                         static_cast<int32_t>(plan.limits.num_kv_heads),
                         segment,
                         NumSms() * kAttentionWarps};
  Launch(PlanKernel, 1, kPlanThreads, 0, stream, p);
}

}  // namespace sm90

size_t AttentionPlanBytesSm90(const AttentionLimits& limits) {
  size_t bytes = 0;
  sm90::ViewPlan(limits, nullptr, &bytes);
  return bytes;
}

void PlanAttentionSm90(const PagedSequences& sequences, const AttentionPlan& plan, Stream& stream) {
  sm90::PlanAttentionWithSegment(sequences, plan, kAttentionSegment, stream);
}

}  // namespace vexact
