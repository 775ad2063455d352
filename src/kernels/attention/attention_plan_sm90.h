// What a step's attention plan holds on the device: the work of prefill and of decode, made by the
// plan kernel and read by every layer's attention kernels, and the room in which blocks leave
// partial results to each other. How the work is cut changes no bit.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_PLAN_SM90_H_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_PLAN_SM90_H_

#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention.h"
#include "numerics/host_device.h"

namespace vexact::sm90 {

// Row r of a sequence and a KV head is its token r / group, head r % group of the KV head's group.
inline constexpr int kDecodeRows = 16;     // most rows of a decode sequence
inline constexpr int kPrefillRows = 128;   // rows of a prefill block
inline constexpr int kSplitSlots = 4096;   // (segment, token) pairs, of all heads, whose partial
                                           // results fit
inline constexpr int kAttentionWarps = 8;  // of a block: those that compute
inline constexpr int kMaxRunsPerSm = 2;    // of decode work

// A sequence of the step.
struct alignas(16) StepSequence {
  int32_t first_block;  // in block_tables
  int32_t context;
  int32_t first_row;  // of q and y
  int32_t tokens;

  VX_HOST_DEVICE int32_t Position(int32_t token) const { return context - tokens + token; }
};

// Rows [begin, end) of a sequence, done once for each KV head.
struct alignas(16) PrefillUnit {
  StepSequence sequence;
  int32_t begin;
  int32_t end;
};

// Decode work is one line: the segments of each KV head of each decode sequence in turn. It is cut
// into one run or a few for each SM; this is where a run begins and the one before it ends.
struct alignas(16) DecodeBoundary {
  StepSequence at;
  int32_t sequence;  // index among the decode sequences; their number at the line's end
  int32_t kv_head;
  int32_t segment;
  // With segment > 0 the head is split: the partial result of its (segment, row) lies at
  // slot + segment * rows + row.
  int32_t slot;
};

struct AttentionCounters {
  int32_t prefill;  // units
  int32_t runs;     // of decode work; 0 without any
  // Of the layer that is running, if there is prefill; its last block sets them back to 0. Tickets
  // are for prefill units of all KV heads, then for decode's runs.
  int32_t taken;
  int32_t blocks_finished;
};

struct AttentionPlanView {
  AttentionCounters* counters;
  PrefillUnit* prefill;
  // Those with few rows, and two more than there can be, so that reading ahead needs no test.
  StepSequence* decode;
  DecodeBoundary* boundaries;  // [runs + 1]
  int32_t* arrived;            // [kSplitSlots * heads]: segments of a split head that are done; at
                               // its slot. 0 between layers.
  float* partial_o;            // [kSplitSlots * heads, head_dim]
  float* partial_ml;           // [kSplitSlots * heads, 2]: M, l
};

// Of the current device.
int NumSms();

inline int64_t MaxPrefillUnits(const AttentionLimits& limits) {
  const int64_t group = limits.num_heads / limits.num_kv_heads;
  return limits.max_tokens * group / kPrefillRows + limits.max_sequences;
}

// The parts of a plan's storage, one after the other at multiples of 256 bytes; `bytes` is where
// the last one ends. With data null only the size is meant.
inline AttentionPlanView ViewPlan(const AttentionLimits& limits, std::byte* data, size_t* bytes) {
  size_t used = 0;
  const auto take = [&]<typename T>(int64_t count, T*& part) {
    part = reinterpret_cast<T*>(reinterpret_cast<uintptr_t>(data) + used);
    used += (static_cast<size_t>(count) * sizeof(T) + 255) / 256 * 256;
  };
  AttentionPlanView view{};
  take(1, view.counters);
  take(MaxPrefillUnits(limits), view.prefill);
  take(limits.max_sequences + 2, view.decode);
  take(kMaxRunsPerSm * NumSms() + 1, view.boundaries);
  take(kSplitSlots * limits.num_heads, view.arrived);
  take(kSplitSlots * limits.num_heads * limits.head_dim, view.partial_o);
  take(kSplitSlots * limits.num_heads * 2, view.partial_ml);
  *bytes = used;
  return view;
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_PLAN_SM90_H_
