// Sequences with few query rows: each warp on its own streams the keys and values of units (one KV
// head, a run of segments) through a ring of 16-position chunks, across units, without a barrier
// between warps.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_SM90_CUH_

#include <algorithm>
#include <cstdint>

#include "kernels/attention/attention_parameters_sm90.cuh"

namespace vexact::sm90 {

template <int kHeadDim>
struct DecodeShared {
  // 20 KB a warp in flight: 8 warps hold 160 KB, and 64 KB of folds, of an SM's 227 KB.
  static constexpr int kStages = std::min(16, 20480 / KvChunk<kHeadDim>::kBytes);
  static constexpr int kTickets = 16;  // units that the ring can reach into, and one more
  static_assert(kStages / 2 + 2 <= kTickets);

  alignas(16) unsigned char ring[kStages][KvChunk<kHeadDim>::kBytes];
  float fold[kHeadDim / 8][32][4];  // of a unit that is a whole sequence, as fragments
  int32_t tickets[kTickets];        // unit n of this warp at n % kTickets; -1: there is none
};

// Deals units to warps: the first by place, so that neighbours go to different SMs, later ones by
// arrival; all by arrival where prefill units keep blocks busy for different times.
class DecodeTickets {
 public:
  __device__ explicit DecodeTickets(const AttentionParameters& p)
      : counters_(p.plan.counters),
        long_records_(counters_->decode_long),
        units_((long_records_ + counters_->decode_short) *
               static_cast<int32_t>(p.kv.num_kv_heads)) {
    if (units_ == 0) return;
    if (counters_->prefill == 0) {
      placed_ = static_cast<int32_t>(gridDim.x) * kAttentionWarps;
      next_ = static_cast<int32_t>(threadIdx.x / 32 * gridDim.x + blockIdx.x);
    } else {
      next_ = Take();
    }
  }

  // -1: no more.
  __device__ int32_t Next() {
    const int32_t ticket = __shfl_sync(~0u, next_, 0);
    if (ticket >= units_) return -1;
    next_ = Take();  // needed a unit later: its latency hides
    return ticket;
  }

  __device__ AttentionUnit Unit(const AttentionParameters& p, int32_t ticket,
                                int32_t* kv_head) const {
    const auto heads = static_cast<int32_t>(p.kv.num_kv_heads);
    const int32_t record = ticket / heads;
    *kv_head = ticket % heads;
    return record < long_records_ ? p.plan.decode_long[record]
                                  : p.plan.decode_short[record - long_records_];
  }

 private:
  __device__ int32_t Take() {  // lane 0's counts
    return threadIdx.x % 32 == 0 ? placed_ + atomicAdd(&counters_->decode_taken, 1) : 0;
  }

  AttentionCounters* counters_;
  int32_t long_records_;
  int32_t units_;
  int32_t placed_ = 0;
  int32_t next_ = 0;
};

// Fills the ring: chunk after chunk of each unit's tiles, K's and then V's.
template <int kHeadDim, int kSegmentTiles>
class DecodeProducer {
 public:
  using Shared = DecodeShared<kHeadDim>;

  __device__ DecodeProducer(const AttentionParameters& p, Shared* shared)
      : p_(p), shared_(shared), tickets_(p) {}

  // One chunk, or none when all are under way: one group of copies either way.
  __device__ __forceinline__ void Produce() {
    if (!done_ && tile_ == tile_end_) NextUnit();
    if (!done_) {
      CopyChunk();
      Advance();
    }
    CommitCopies();
    stage_ = stage_ + 1 == Shared::kStages ? 0 : stage_ + 1;
  }

  __device__ const DecodeTickets& tickets() const { return tickets_; }

 private:
  __device__ __forceinline__ void NextUnit() {
    const int32_t ticket = tickets_.Next();
    shared_->tickets[units_++ % Shared::kTickets] = ticket;
    if (ticket < 0) {
      done_ = true;
      return;
    }
    const AttentionUnit unit = tickets_.Unit(p_, ticket, &kv_head_);
    const UnitSequence s = ReadUnitSequence(p_, unit.sequence);
    blocks_ = s.blocks;
    context_ = s.context;
    tile_ = unit.begin * kSegmentTiles;
    const int32_t tiles = (context_ + kAttentionTile - 1) / kAttentionTile;
    tile_end_ =
        unit.end >= (tiles + kSegmentTiles - 1) / kSegmentTiles ? tiles : unit.end * kSegmentTiles;
    part_ = 0;
    chunk_ = 0;
    ReadTileBlocks();
  }

  // Lane i % 8 holds the block of the tile's chunk i.
  __device__ __forceinline__ void ReadTileBlocks() {
    const int32_t position =
        tile_ * kAttentionTile + static_cast<int32_t>(threadIdx.x % 8) * kChunk;
    tile_block_ = position < context_ ? blocks_[position >> p_.block_shift] : 0;
  }

  __device__ __forceinline__ void CopyChunk() {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int32_t position = tile_ * kAttentionTile + chunk_ * kChunk;
    const int32_t block = __shfl_sync(~0u, tile_block_, chunk_);
    const bf16* from = p_.kv.pool + KvOffset<kHeadDim>(p_, block, part_, kv_head_, position);
    const uint32_t to = SharedAddress(shared_->ring[stage_]);
    constexpr int kPieces = KvChunk<kHeadDim>::kPieces;
#pragma unroll
    for (int i = 0; i < kPieces * kChunk / 32; ++i) {
      const int row = (i * 32 + lane) / kPieces;
      const int piece = (i * 32 + lane) % kPieces;
      CopyAsync16(to + KvChunk<kHeadDim>::Offset(row, piece), from + row * kHeadDim + piece * 8,
                  position + row < context_ ? 16 : 0);
    }
  }

  __device__ __forceinline__ void Advance() {
    const int32_t left = context_ - tile_ * kAttentionTile;
    if (++chunk_ < min(kTileChunks, (left + kChunk - 1) / kChunk)) return;
    chunk_ = 0;
    part_ ^= 1;
    if (part_ == 0 && ++tile_ < tile_end_) ReadTileBlocks();
  }

  const AttentionParameters& p_;
  Shared* shared_;
  DecodeTickets tickets_;
  const int32_t* blocks_ = nullptr;
  int32_t context_ = 0;
  int32_t kv_head_ = 0;
  int32_t tile_ = 0;  // the next chunk to copy
  int32_t tile_end_ = 0;
  int32_t part_ = 0;
  int32_t chunk_ = 0;
  int32_t tile_block_ = 0;
  int32_t stage_ = 0;
  int32_t units_ = 0;
  bool done_ = false;
};

template <int kHeadDim, int kSegmentTiles>
class DecodeWarp {
 public:
  using Shared = DecodeShared<kHeadDim>;

  __device__ DecodeWarp(const AttentionParameters& p, Shared* shared)
      : p_(p), shared_(shared), producer_(p, shared) {}

  __device__ __forceinline__ void Run() {
    for (int i = 0; i < Shared::kStages - 1; ++i) producer_.Produce();
    for (int32_t n = 0;; ++n) {
      __syncwarp();
      const int32_t ticket = shared_->tickets[n % Shared::kTickets];
      if (ticket < 0) break;
      RunUnit(ticket);
    }
    WaitCopies<0>();
  }

 private:
  __device__ __forceinline__ void RunUnit(int32_t ticket) {
    unit_ = producer_.tickets().Unit(p_, ticket, &kv_head_);
    s_ = ReadUnitSequence(p_, unit_.sequence);
    rows_ = s_.tokens * p_.group;
    uint32_t q[kHeadDim / 16][4];
    LoadQueries<kHeadDim>(p_, s_, kv_head_, 0, rows_, q);
    RowSum fold[2] = {{-INFINITY, 0.0f}, {-INFINITY, 0.0f}};
    for (int32_t segment = unit_.begin; segment < unit_.end; ++segment) {
      state_.Clear();
      const int32_t first = segment * kSegmentTiles;
      const int32_t tiles = (s_.context + kAttentionTile - 1) / kAttentionTile;
      const int32_t end = kSegmentTiles < tiles - first ? first + kSegmentTiles : tiles;
      for (int32_t tile = first; tile < end; ++tile) RunTile(tile, q);
      if (unit_.slot == kWhole) {
        FoldSegment(segment, fold);
      } else {
        StorePartial(segment);
      }
    }
    if (unit_.slot == kWhole) {
      StoreAnswers<kHeadDim>(p_, s_, kv_head_, 0, rows_, state_.o, fold);
    } else {
      FoldIfLast();
    }
  }

  __device__ __forceinline__ int32_t PositionOfRow(int half) const {
    const int32_t r = static_cast<int32_t>(threadIdx.x % 32 / 4) + 8 * half;
    return s_.Position(min(r, rows_ - 1) / p_.group);
  }

  __device__ __forceinline__ void RunTile(int32_t tile, const uint32_t (&q)[kHeadDim / 16][4]) {
    const int32_t start = tile * kAttentionTile;
    const int32_t chunks = min(kTileChunks, (s_.context - start + kChunk - 1) / kChunk);
    float s[16][4];
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      if (i < chunks) {
        ScoreChunk<kHeadDim>(s[2 * i], s[2 * i + 1], q, Acquire());
        Release();
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) s[2 * i][e] = s[2 * i + 1][e] = 0.0f;
      }
    }
    uint32_t probabilities[kTileChunks][4];
    state_.Softmax(s, PositionOfRow(0) + 1 - start, PositionOfRow(1) + 1 - start, p_.scale,
                   probabilities);
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      if (i < chunks) {
        const uint32_t values = Acquire();
        if (start + (i + 1) * kChunk > s_.Position(0) + 1) ZeroUnseen();
        ValueChunk<kHeadDim>(state_.o, probabilities[i], values);
        Release();
      }
    }
  }

  // The ring's next chunk, landed.
  __device__ __forceinline__ uint32_t Acquire() {
    WaitCopies<Shared::kStages - 2>();
    __syncwarp();
    return SharedAddress(shared_->ring[stage_]);
  }
  // Gives it back, to be filled again.
  __device__ __forceinline__ void Release() {
    stage_ = stage_ + 1 == Shared::kStages ? 0 : stage_ + 1;
    __syncwarp();
    producer_.Produce();
  }

  // Of several tokens not all see this chunk's last positions.
  __device__ __forceinline__ void ZeroUnseen() {
    if (s_.tokens == 1) return;
    constexpr int kBytes = KvChunk<kHeadDim>::kBytes;
    for (int i = static_cast<int>(threadIdx.x % 32) * 16; i < kBytes; i += 512) {
      ZeroNotFinite(shared_->ring[stage_] + i);
    }
    __syncwarp();
  }

  // The fold so far waits in shared memory; after the unit's last segment it is in state_.o.
  __device__ __forceinline__ void FoldSegment(int32_t segment, RowSum (&fold)[2]) {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int32_t start = segment * kSegmentTiles * kAttentionTile;
    const FoldScales row0 = FoldRow(state_.sum[0], PositionOfRow(0) >= start, &fold[0]);
    const FoldScales row1 = FoldRow(state_.sum[1], PositionOfRow(1) >= start, &fold[1]);
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      auto* parked = reinterpret_cast<float4*>(shared_->fold[j][lane]);
      if (segment > 0) {
        const float4 before = *parked;
        state_.o[j][0] = FoldValue(before.x, state_.o[j][0], row0);
        state_.o[j][1] = FoldValue(before.y, state_.o[j][1], row0);
        state_.o[j][2] = FoldValue(before.z, state_.o[j][2], row1);
        state_.o[j][3] = FoldValue(before.w, state_.o[j][3], row1);
      }
      if (segment + 1 < unit_.end) {
        *parked = {state_.o[j][0], state_.o[j][1], state_.o[j][2], state_.o[j][3]};
      }
    }
  }

  // Where the partial result of packed row r of a segment lies, counted in query heads.
  __device__ __forceinline__ int64_t PartialIndex(int32_t segment, int32_t r) const {
    const int64_t slot = unit_.slot + segment * s_.tokens + r / p_.group;
    return slot * p_.num_heads + kv_head_ * p_.group + r % p_.group;
  }

  __device__ __forceinline__ void StorePartial(int32_t segment) {
    const int lane = static_cast<int>(threadIdx.x % 32);
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int32_t r = lane / 4 + 8 * half;
      if (r >= rows_) continue;
      const int64_t index = PartialIndex(segment, r);
      float* o = p_.plan.partial_o + index * kHeadDim + lane % 4 * 2;
#pragma unroll
      for (int j = 0; j < kHeadDim / 8; ++j) {
        *reinterpret_cast<float2*>(o + 8 * j) = {state_.o[j][2 * half], state_.o[j][2 * half + 1]};
      }
      if (lane % 4 == 0) {
        *reinterpret_cast<float2*>(p_.plan.partial_ml + index * 2) = {state_.sum[half].m,
                                                                      state_.sum[half].l};
      }
    }
  }

  // The last of a sequence's units to arrive folds all segments, in their order.
  __device__ __forceinline__ void FoldIfLast() {
    const int lane = static_cast<int>(threadIdx.x % 32);
    const int32_t segments =
        (s_.context + kSegmentTiles * kAttentionTile - 1) / (kSegmentTiles * kAttentionTile);
    __threadfence();
    __syncwarp();
    int32_t arrived = 0;
    if (lane == 0) {
      const int32_t own = unit_.end - unit_.begin;
      int32_t* count = p_.plan.arrived + unit_.slot * p_.kv.num_kv_heads + kv_head_;
      arrived = atomicAdd(count, own) + own;
      if (arrived == segments) *count = 0;
    }
    if (__shfl_sync(~0u, arrived, 0) != segments) return;
    __threadfence();
    for (int32_t r = 0; r < rows_; ++r) FoldPartials(r);
  }

  __device__ __forceinline__ void FoldPartials(int32_t r) {
    constexpr int kPerLane = kHeadDim < 32 ? 1 : kHeadDim / 32;
    constexpr int kAhead = 8;  // segments read at a time
    const int lane = static_cast<int>(threadIdx.x % 32);
    if (lane >= kHeadDim) return;
    const int32_t segments = s_.Position(r / p_.group) / (kSegmentTiles * kAttentionTile) + 1;
    RowSum fold{-INFINITY, 0.0f};
    float o[kPerLane] = {};
    for (int32_t first = 0; first < segments; first += kAhead) {
      float next[kAhead][kPerLane];
      float2 ml[kAhead];
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        const int64_t index = PartialIndex(min(first + a, segments - 1), r);
        ml[a] = __ldcg(reinterpret_cast<const float2*>(p_.plan.partial_ml + index * 2));
#pragma unroll
        for (int i = 0; i < kPerLane; ++i) {
          next[a][i] = __ldcg(p_.plan.partial_o + index * kHeadDim + lane + 32 * i);
        }
      }
#pragma unroll
      for (int a = 0; a < kAhead; ++a) {
        if (first + a >= segments) break;
        const FoldScales scales = FoldRow({ml[a].x, ml[a].y}, true, &fold);
#pragma unroll
        for (int i = 0; i < kPerLane; ++i) o[i] = FoldValue(o[i], next[a][i], scales);
      }
    }
    const float reciprocal = __frcp_rn(fold.l);
    bf16* y = p_.y.data + PackedRowOffset(p_, s_, kv_head_, r, kHeadDim, p_.y.stride);
#pragma unroll
    for (int i = 0; i < kPerLane; ++i) {
      y[lane + 32 * i] = Bf16FromFloat(__fmul_rn(o[i], reciprocal));
    }
  }

  const AttentionParameters& p_;
  Shared* shared_;
  DecodeProducer<kHeadDim, kSegmentTiles> producer_;
  SegmentState<kHeadDim> state_;
  AttentionUnit unit_;
  UnitSequence s_;
  int32_t kv_head_ = 0;
  int32_t rows_ = 0;
  int32_t stage_ = 0;
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_SM90_CUH_
