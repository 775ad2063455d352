// The units of attention's work as producer and consumers both read them from the plan.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_WORK_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_WORK_SM90_CUH_

#include <cstdint>

#include "kernels/attention/attention_parameters_sm90.cuh"

namespace vexact::sm90 {

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

// A unit for one KV head.
struct PrefillWork {
  PrefillUnit rows;
  int32_t kv_head;
  int32_t first_tile;  // that any row sees
  int32_t tile_end;
};
template <typename Mask>
__device__ __forceinline__ PrefillWork WorkOf(const AttentionParameters& p, const PrefillUnit& unit,
                                              int32_t kv_head) {
  return {unit, kv_head, FirstTileOfRow<Mask>(p, unit.sequence, unit.begin),
          TileEndOfRow<Mask>(p, unit.sequence, unit.end - 1)};
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

// Walks the tiles of a run. Of a head those before the first one that a row sees are none of it.
template <typename Mask>
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
  __device__ __forceinline__ const StepSequence& sequence() const { return current_; }
  __device__ __forceinline__ const StepSequence& next_sequence() const { return next_; }
  __device__ __forceinline__ int32_t kv_head() const { return kv_head_; }
  __device__ __forceinline__ int32_t tile() const { return tile_; }
  __device__ __forceinline__ int32_t tile_end() const { return tile_end_; }  // of this head
  __device__ __forceinline__ int32_t first_tile() const {
    return Mask::kFromStart ? 0 : first_tile_;
  }
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
  // Segments are counted from the head's first one.
  __device__ __forceinline__ void BeginHead(int32_t segment) {
    if constexpr (!Mask::kFromStart) {
      // Behind the last run's last head there is none to read.
      const bool is_there = !IsLastHead() || end_segment_ > 0;
      const Mask mask(p_.sequences.mask);
      const int32_t position = current_.context - current_.tokens;
      first_tile_ = is_there ? mask.Begin(position, current_.first_row) / kAttentionTile : 0;
    }
    tile_ = TileOfSegment(segment);
    tile_end_ = IsLastHead() ? TileOfSegment(end_segment_)
                             : (current_.context + kAttentionTile - 1) / kAttentionTile;
  }
  __device__ __forceinline__ int32_t TileOfSegment(int32_t segment) const {
    if constexpr (Mask::kFromStart) return segment * kSegmentTiles;
    return max(first_tile_, (first_tile_ / kSegmentTiles + segment) * kSegmentTiles);
  }

  const AttentionParameters& p_;
  int32_t end_sequence_;
  int32_t end_kv_head_;
  int32_t end_segment_;
  int32_t index_;
  int32_t kv_head_;
  StepSequence current_;
  StepSequence next_;
  int32_t first_tile_ = 0;
  int32_t tile_ = 0;
  int32_t tile_end_ = 0;
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_WORK_SM90_CUH_
