// The units of attention's work as producer and consumers both read them from the plan.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_WORK_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_WORK_SM90_CUH_

#include <cstdint>

#include "kernels/attention/attention_parameters_sm90.cuh"

namespace vexact::sm90 {

// Rows of a sequence and a KV head.
struct PrefillWork {
  PrefillUnit rows;
  UnitSequence s;
  int32_t kv_head;
  int32_t tiles;
};
__device__ __forceinline__ PrefillWork ReadPrefillWork(const AttentionParameters& p,
                                                       int32_t ticket) {
  const auto heads = static_cast<int32_t>(p.kv.num_kv_heads);
  PrefillWork work;
  work.rows = p.plan.prefill[ticket / heads];
  work.s = ReadUnitSequence(p, work.rows.sequence);
  work.kv_head = ticket % heads;
  work.tiles = work.s.Position((work.rows.end - 1) / p.group) / kAttentionTile + 1;
  return work;
}

// Past the L1 cache, where a plan of an earlier step may still lie.
template <typename T>
__device__ __forceinline__ T LoadPlanned(const T* planned) {
  static_assert(sizeof(T) % 16 == 0);
  T value;
#pragma unroll
  for (size_t i = 0; i < sizeof(T) / 16; ++i) {
    reinterpret_cast<int4*>(&value)[i] = __ldcg(reinterpret_cast<const int4*>(planned) + i);
  }
  return value;
}

// By one thread of each block, once it takes no more: the last one sets the tickets back.
__device__ __forceinline__ void FinishTickets(AttentionCounters* counters) {
  __threadfence();
  if (atomicAdd(&counters->blocks_finished, 1) != static_cast<int32_t>(gridDim.x) - 1) return;
  counters->taken = 0;
  counters->blocks_finished = 0;
}

struct DecodeRun {
  DecodeBoundary begin;
  DecodeBoundary end;
};
__device__ __forceinline__ DecodeRun ReadRun(const AttentionParameters& p, int32_t run) {
  return {LoadPlanned(p.plan.boundaries + run), LoadPlanned(p.plan.boundaries + run + 1)};
}

// Walks the tiles of a run.
class DecodeCursor {
 public:
  __device__ DecodeCursor(const AttentionParameters& p, const DecodeRun& run)
      : p_(p),
        end_sequence_(run.end.sequence),
        end_kv_head_(run.end.kv_head),
        end_segment_(run.end.segment),
        index_(run.begin.sequence),
        kv_head_(run.begin.kv_head),
        current_(run.begin.at) {
    next_ = LoadPlanned(p_.plan.decode + index_ + 1);
    BeginHead(run.begin.segment);
  }

  __device__ __forceinline__ bool done() const { return tile_ == tile_end_; }
  __device__ __forceinline__ const DecodeSequence& sequence() const { return current_; }
  __device__ __forceinline__ const DecodeSequence& next_sequence() const { return next_; }
  __device__ __forceinline__ int32_t kv_head() const { return kv_head_; }
  __device__ __forceinline__ int32_t tile() const { return tile_; }
  __device__ __forceinline__ int32_t tile_end() const { return tile_end_; }  // of this head
  __device__ __forceinline__ bool IsLastHead() const {
    return index_ == end_sequence_ && kv_head_ == end_kv_head_;
  }

  // Whether the run holds work of the head after this one.
  __device__ __forceinline__ bool HasNextHead() const {
    if (IsLastHead()) return false;
    const bool wraps = kv_head_ + 1 == static_cast<int32_t>(p_.kv.num_kv_heads);
    return end_segment_ > 0 || index_ + (wraps ? 1 : 0) != end_sequence_ ||
           (wraps ? 0 : kv_head_ + 1) != end_kv_head_;
  }

  // Requires: not done.
  __device__ __forceinline__ void Advance() {
    if (++tile_ < tile_end_ || IsLastHead()) return;
    if (++kv_head_ == static_cast<int32_t>(p_.kv.num_kv_heads)) {
      kv_head_ = 0;
      ++index_;
      current_ = next_;
      next_ = LoadPlanned(p_.plan.decode + index_ + 1);
    }
    BeginHead(0);
  }

 private:
  __device__ __forceinline__ void BeginHead(int32_t segment) {
    tile_ = segment * kSegmentTiles;
    tile_end_ = IsLastHead() ? end_segment_ * kSegmentTiles
                             : (current_.context + kAttentionTile - 1) / kAttentionTile;
  }

  const AttentionParameters& p_;
  int32_t end_sequence_;
  int32_t end_kv_head_;
  int32_t end_segment_;
  int32_t index_;
  int32_t kv_head_;
  DecodeSequence current_;
  DecodeSequence next_;
  int32_t tile_ = 0;
  int32_t tile_end_ = 0;
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_WORK_SM90_CUH_
