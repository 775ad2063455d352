// What a step's attention plan holds on the device: lists of units of work, made by the plan kernel
// and read by every layer's attention kernel, and the room in which units leave partial results to
// each other. Which units there are changes no bit.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_PLAN_SM90_H_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_PLAN_SM90_H_

#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention.h"
#include "numerics/host_device.h"

namespace vexact::sm90 {

// A query row of a unit is one query head of one token: row r of a sequence and a KV head is its
// token r / group, head r % group of the KV head's group.
inline constexpr int kWarpRows = 16;       // rows of one warp, and most rows of a decode unit
inline constexpr int kPrefillRows = 128;   // rows of a block of 8 warps
inline constexpr int kSplitSlots = 4096;   // (segment, token) pairs whose partial results fit
inline constexpr int kAttentionWarps = 8;  // of a block

// A record is done once for each KV head.
struct AttentionUnit {
  int32_t sequence;
  // Decode: segments [begin, end) of all its rows. Prefill: rows [begin, end), all segments.
  int32_t begin;
  int32_t end;
  // Decode: where the sequence's partial results start, the one of (segment, token) at
  // slot + segment * tokens + token; kWhole: the unit is the whole sequence and writes y itself.
  int32_t slot;
};
inline constexpr int32_t kWhole = -1;

struct AttentionCounters {
  int32_t prefill;       // records
  int32_t decode_long;   // records, taken before the short ones
  int32_t decode_short;  // records
  // Of the layer that is running; its last block sets them back to 0.
  int32_t prefill_taken;
  int32_t decode_taken;
  int32_t blocks_finished;
};

struct AttentionPlanView {
  AttentionCounters* counters;
  AttentionUnit* prefill;
  AttentionUnit* decode_long;
  AttentionUnit* decode_short;
  int32_t* arrived;   // [kSplitSlots, KV heads]: units of (sequence, KV head) that are done; at its
                      // first slot. 0 between layers.
  float* partial_o;   // [kSplitSlots, heads, head_dim]
  float* partial_ml;  // [kSplitSlots, heads, 2]: M, l
};

inline int64_t MaxPrefillRecords(const AttentionLimits& limits) {
  const int64_t group = limits.num_heads / limits.num_kv_heads;
  return limits.max_tokens * group / kPrefillRows + limits.max_sequences;
}
inline int64_t MaxDecodeRecords(const AttentionLimits& limits) {
  return kSplitSlots + limits.max_sequences;
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
  take(MaxPrefillRecords(limits), view.prefill);
  take(MaxDecodeRecords(limits), view.decode_long);
  take(MaxDecodeRecords(limits), view.decode_short);
  take(kSplitSlots * limits.num_kv_heads, view.arrived);
  take(kSplitSlots * limits.num_heads * limits.head_dim, view.partial_o);
  take(kSplitSlots * limits.num_heads * 2, view.partial_ml);
  *bytes = used;
  return view;
}

// Of the current device.
int NumSms();

// PlanAttentionSm90 for another length of a segment (the measurements that chose the constant).
void PlanAttentionWithSegment(const PagedSequences& sequences, const AttentionPlan& plan,
                              int32_t segment, Stream& stream);

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_PLAN_SM90_H_
