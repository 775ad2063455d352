#include "kernels/attention/attention_plan_sm90.h"

#include "base/check.h"
#include "kernels/sm90/launch.cuh"
#include "kernels/sm90/reduce.cuh"

namespace vexact {
namespace sm90 {
namespace {

constexpr int kPlanThreads = 1024;
constexpr int kMaxBoundaries = 512;
// Decode work is counted in chunks of 16 positions of one KV head. A head that a block begins or
// ends costs it about as much as this many chunks (64 sequences of 1 to 1000: 55 us counting 4, 49
// counting 8).
constexpr int kWorkChunk = 16;
constexpr int kHeadWork = 8;
constexpr int kSegmentWork = kAttentionSegment / kWorkChunk;

struct PlanParameters {
  PagedSequences sequences;
  AttentionPlanView plan;
  int32_t group;  // query heads of a KV head
  int32_t num_kv_heads;
  int32_t runs;
  int32_t split_room;  // partial results
};

struct PlannedSequence {
  StepSequence sequence;
  bool decode;       // few rows
  int32_t segments;  // from the first one that a row sees
  int32_t work;      // of one KV head
};

// The first position that a row sees.
__device__ int32_t FirstSeen(const AttentionMask& mask, int32_t position, int32_t row) {
  switch (mask.kind) {
    case MaskKind::kSlidingWindow:
      return SlidingWindowMask(mask).Begin(position, row);
    case MaskKind::kDocument:
      return DocumentMask(mask).Begin(position, row);
    default:
      return 0;
  }
}

__device__ PlannedSequence ReadSequence(const PlanParameters& p, int64_t s) {
  const int32_t first_row = p.sequences.query_start[s];
  PlannedSequence r;
  r.sequence = {p.sequences.block_table_start[s], p.sequences.context_len[s], first_row,
                p.sequences.query_start[s + 1] - first_row};
  r.decode = r.sequence.tokens > 0 && r.sequence.tokens * p.group <= kDecodeRows;
  const int32_t position = r.sequence.context - r.sequence.tokens;
  const int32_t first = r.decode ? FirstSeen(p.sequences.mask, position, first_row) : 0;
  r.segments = (r.sequence.context - 1) / kAttentionSegment + 1 - first / kAttentionSegment;
  r.work = kHeadWork + (r.sequence.context - 1) / kWorkChunk + 1 -
           first / kAttentionTile * (kAttentionTile / kWorkChunk);
  return r;
}

__device__ void EmitPrefill(const PlanParameters& p, const StepSequence& s) {
  const int32_t rows = s.tokens * p.group;
  const int32_t blocks = (rows + kPrefillRows - 1) / kPrefillRows;
  const int32_t first = atomicAdd(&p.plan.counters->prefill, blocks);
  for (int32_t i = 0; i < blocks; ++i) {  // the last rows see most: they come first
    const int32_t begin = (blocks - 1 - i) * kPrefillRows;
    p.plan.prefill[first + i] = {s, begin, min(rows, begin + kPrefillRows)};
  }
}

// The sequences of one thread.
struct Share {
  int64_t work;       // of decode, all KV heads; in the table: of the threads before
  int32_t sequences;  // likewise
};

__device__ int64_t FirstOfShare(const PlanParameters& p, int thread) {
  const int64_t each = (p.sequences.count + kPlanThreads - 1) / kPlanThreads;
  return min(p.sequences.count, thread * each);
}

// The last thread whose share begins at or before `target`: the one that holds it.
__device__ int FindShare(const Share* shares, int64_t target) {
  int low = 0;
  for (int step = kPlanThreads / 2; step > 0; step /= 2) {
    if (shares[low + step].work <= target) low += step;
  }
  return low;
}

// The boundary nearest to `target` on the line of work, from the finished list of decode sequences;
// *rows_of_head: partial results of the head that it splits.
__device__ DecodeBoundary PlaceBoundary(const PlanParameters& p, const Share* shares,
                                        int64_t target, int32_t* rows_of_head) {
  const int share = FindShare(shares, target);
  int64_t rest = target - shares[share].work;
  DecodeBoundary b{};
  b.sequence = shares[share].sequences;
  b.slot = -1;
  *rows_of_head = 0;
  for (int64_t s = FirstOfShare(p, share); s < FirstOfShare(p, share + 1); ++s) {
    const PlannedSequence r = ReadSequence(p, s);
    if (!r.decode) continue;
    const int64_t work = int64_t{r.work} * p.num_kv_heads;
    if (rest >= work) {
      rest -= work;
      ++b.sequence;
      continue;
    }
    b.kv_head = static_cast<int32_t>(rest / r.work);
    const auto into = static_cast<int32_t>(rest % r.work);
    b.segment = max(0, into - kHeadWork + kSegmentWork / 2) / kSegmentWork;
    *rows_of_head = r.segments * r.sequence.tokens * p.group;
    if (b.segment >= r.segments) {
      b.segment = 0;
      b.kv_head = (b.kv_head + 1) % p.num_kv_heads;
      if (b.kv_head == 0) ++b.sequence;
    }
    break;
  }
  b.at = p.plan.decode[b.sequence];
  return b;
}

// Several boundaries may split one head: the first takes the room, and all are given its place. A
// head for which no room is left stays whole.
__device__ int32_t TakeSlot(const PlanParameters& p, int32_t rows, int32_t* slots_taken) {
  const int32_t slot = atomicAdd(slots_taken, rows);
  return slot <= p.split_room - rows ? slot : -1;
}

// One block.
__global__ void __launch_bounds__(kPlanThreads) PlanKernel(PlanParameters p) {
  __shared__ Share shares[kPlanThreads];
  __shared__ DecodeBoundary boundaries[kMaxBoundaries];
  __shared__ int32_t slots_taken;
  const auto thread = static_cast<int32_t>(threadIdx.x);
  if (thread == 0) {
    slots_taken = 0;
    *p.plan.counters = {};
  }
  __syncthreads();
  const int64_t begin = FirstOfShare(p, thread);
  const int64_t end = FirstOfShare(p, thread + 1);
  Share own{};
  for (int64_t s = begin; s < end; ++s) {
    const PlannedSequence r = ReadSequence(p, s);
    if (r.decode) {
      own.work += int64_t{r.work} * p.num_kv_heads;
      ++own.sequences;
    } else if (r.sequence.tokens > 0) {
      EmitPrefill(p, r.sequence);
    }
  }
  const auto work = static_cast<int64_t>(RunningSumOfCta<kPlanThreads>(own.work));
  const auto sequences = static_cast<int32_t>(RunningSumOfCta<kPlanThreads>(own.sequences));
  shares[thread] = {work - own.work, sequences - own.sequences};
  int32_t index = sequences - own.sequences;
  for (int64_t s = begin; s < end; ++s) {
    const PlannedSequence r = ReadSequence(p, s);
    if (r.decode) p.plan.decode[index++] = r.sequence;
  }
  __shared__ Share all;
  if (thread == kPlanThreads - 1) all = {work, sequences};
  __syncthreads();

  if (thread == 0 && all.work > 0) p.plan.counters->runs = p.runs;
  DecodeBoundary own_boundary{};
  own_boundary.sequence = all.sequences;
  int32_t rows = 0;
  if (thread < p.runs && all.work > 0) {
    own_boundary = PlaceBoundary(p, shares, all.work * thread / p.runs, &rows);
  }
  if (thread < kMaxBoundaries) boundaries[thread] = own_boundary;
  __syncthreads();
  int32_t first = thread;
  if (own_boundary.segment > 0) {
    const auto splits_same = [&](const DecodeBoundary& other) {
      return other.segment > 0 && other.sequence == own_boundary.sequence &&
             other.kv_head == own_boundary.kv_head;
    };
    while (first > 0 && splits_same(boundaries[first - 1])) --first;
    if (first == thread) boundaries[thread].slot = TakeSlot(p, rows, &slots_taken);
  }
  __syncthreads();
  if (own_boundary.segment > 0) {
    own_boundary.slot = boundaries[first].slot;
    if (own_boundary.slot < 0) own_boundary.segment = 0;
  }
  if (thread <= p.runs) p.plan.boundaries[thread] = own_boundary;
  __threadfence();  // attention reads the plan before it waits for the kernels just ahead of it
}

}  // namespace

int NumSms() {
  int device = 0;
  int count = 0;
  CheckCuda(cudaGetDevice(&device));
  CheckCuda(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, device));
  return count;
}

}  // namespace sm90

size_t AttentionPlanBytesSm90(const AttentionLimits& limits) {
  size_t bytes = 0;
  sm90::ViewPlan(limits, nullptr, &bytes);
  return bytes;
}

void PlanAttentionSm90(const PagedSequences& sequences, const AttentionPlan& plan, Stream& stream) {
  VX_CHECK(sequences.count <= plan.limits.max_sequences, "sequences within the plan's limits");
  const int runs = plan.runs_per_sm * sm90::NumSms();
  VX_CHECK(plan.runs_per_sm <= sm90::kMaxRunsPerSm && runs < sm90::kMaxBoundaries,
           "as many runs as can be planned");
  size_t bytes = 0;
  const sm90::AttentionPlanView view = sm90::ViewPlan(plan.limits, plan.storage.data(), &bytes);
  VX_CHECK(bytes <= plan.storage.bytes(), "the plan's storage");
  const sm90::PlanParameters p{
      sequences,
      view,
      static_cast<int32_t>(plan.limits.num_heads / plan.limits.num_kv_heads),
      static_cast<int32_t>(plan.limits.num_kv_heads),
      runs,
      static_cast<int32_t>(sm90::kSplitSlots * plan.limits.num_heads)};
  // In the ordinary way: behind all that was queued before, ahead of all that comes after.
  // Attention's early reads rely on it (attention.h).
  sm90::Launch(sm90::PlanKernel, 1, sm90::kPlanThreads, 0, stream, p);
}

}  // namespace vexact
