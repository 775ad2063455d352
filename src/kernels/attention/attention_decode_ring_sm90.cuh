// budget: one kernel and the four parts it is made of, read from top to bottom
// Sequences with few query rows: a producer warp copies the keys and values of the block's run of
// the decode work, tile after tile of 128 positions, into a ring in shared memory; 8 consumer warps
// work on a tile together. Keys are the 16-row operand of mma.sync, 16 positions a warp, and
// queries the 8 side; then values transposed, 16 columns a warp.
//
// Positions of earlier steps are copied before the kernels ahead have finished (dependent launch),
// so that a layer's keys and values stream in while its queries are computed.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_RING_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_RING_SM90_CUH_

#include <cuda.h>

#include <cstdint>

#include "kernels/attention/attention_decode_sm90.cuh"
#include "kernels/sm90/barrier.cuh"
#include "kernels/sm90/dependent_launch.cuh"

namespace vexact::sm90 {

// K or V of 16 positions in shared memory as a tensor map with the 128-byte swizzle writes it: runs
// of 64 columns one after the other, each [16][64], the 16-byte pieces of a row permuted by the
// row.
template <int kHeadDim>
struct RingChunk {
  static constexpr int kRuns = kHeadDim / 64;
  static constexpr int kBytes = kChunk * kHeadDim * 2;

  // Byte offset of a piece; linear (xor) in the bits of row and piece.
  __device__ static uint32_t Offset(int row, int piece) {
    return static_cast<uint32_t>((piece / 8 * kChunk + row) * 128 + (piece % 8 ^ row % 8) * 16);
  }
};

template <int kHeadDim, int kStageCount>
struct RingShared {
  static constexpr int kStages = kStageCount;        // keys and values take turns
  static constexpr int kPitch = kAttentionTile + 8;  // of P's rows: ldmatrix meets each bank once
  using Stage = unsigned char[kTileChunks][RingChunk<kHeadDim>::kBytes];

  alignas(1024) Stage ring[kStages];
  alignas(16) bf16 q[kDecodeRows][kHeadDim + 8];  // pitch as p's
  alignas(16) bf16 p[kDecodeRows][kPitch];
  float largest[kAttentionWarps][kDecodeRows];
  // After tree128's levels of bits 0 and 3, of positions with bits 1, 2 and 4 to 6 as the indices.
  float sums[4][kDecodeRows][kAttentionWarps];
  float l[kDecodeRows];
  uint64_t full[kStages];
  uint64_t empty[kStages];
  bool is_last;
};

// A place in the ring and the parity of its round.
template <int kStages>
struct RingPlace {
  int stage = 0;
  uint32_t round = 0;

  __device__ __forceinline__ void Advance() {
    if (++stage < kStages) return;
    stage = 0;
    round ^= 1;
  }
};

struct RingOptions {
  bool early;         // copy what earlier steps wrote before the kernels ahead have finished
  uint64_t* times;    // [blocks][8], or null
  bool copies_alone;  // no answer: what the copies could do
};

__device__ __forceinline__ void NoteTime(const RingOptions& options, int index) {
  if (options.times == nullptr || Lane() != 0) return;
  uint64_t now;
  asm volatile("mov.u64 %0, %globaltimer;" : "=l"(now)::"memory");
  options.times[blockIdx.x * 8 + index] = now;
}

// A box of the pool's tensor map {64 columns, rows of a block, runs of 64 columns, blocks}.
__device__ __forceinline__ void CopyBox(uint32_t shared, const CUtensorMap* map, int32_t row,
                                        int32_t run, int32_t block, uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], "
      "[%1, {%2, %3, %4, %5}], [%6];" ::"r"(shared),
      "l"(map), "r"(0), "r"(row), "r"(run), "r"(block), "r"(barrier)
      : "memory");
}
// An arrival of this thread once its cp.async copies so far have landed.
__device__ __forceinline__ void ArriveWithCopies(uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

// The producer warp.
template <int kHeadDim, int kStages, bool kTensorMap>
class RingProducer {
 public:
  using Shared = RingShared<kHeadDim, kStages>;
  using Chunk = RingChunk<kHeadDim>;
  static constexpr uint32_t kArrivals = kTensorMap ? kTileChunks : kWarp;  // at a full stage

  __device__ RingProducer(const AttentionParameters& p, const CUtensorMap* map,
                          const RingOptions& options, const DecodeCursor& cursor, Shared* shared)
      : p_(p), map_(map), options_(options), cursor_(cursor), shared_(shared) {}

  __device__ __forceinline__ void Run() {
    if (!options_.early) Wait();
    for (; !cursor_.done(); cursor_.Advance()) {
      FindBlocks();
      const int32_t old = cursor_.sequence().context - cursor_.sequence().tokens;
      const int32_t old_chunks =
          waited_ ? kTileChunks : min(kTileChunks, max(0, old / kChunk - FirstChunk()));
      RingPlace<kStages> values = place_;
      values.Advance();
      Acquire(place_);
      Copy(place_, 0, 0, old_chunks);
      Acquire(values);
      Copy(values, 1, 0, old_chunks);
      if (old_chunks < kTileChunks) {  // this step's own positions: the kernel ahead wrote them
        Wait();
        Copy(place_, 0, old_chunks, kTileChunks);
        Copy(values, 1, old_chunks, kTileChunks);
      }
      place_ = values;
      place_.Advance();
    }
    NoteTime(options_, 2);
  }

 private:
  static constexpr int kWindow = kWarp / kTileChunks;  // tiles whose blocks the lanes hold

  __device__ __forceinline__ int32_t FirstChunk() const { return cursor_.tile() * kTileChunks; }
  __device__ __forceinline__ void Wait() {
    if (!waited_) WaitForEarlier();
    waited_ = true;
  }

  // Lane i holds the block of chunk i from window_ on.
  __device__ __forceinline__ void FindBlocks() {
    const DecodeSequence& s = cursor_.sequence();
    const int32_t tile = cursor_.tile();
    if (s.first_block == table_ && tile >= window_ && tile < window_ + kWindow) return;
    table_ = s.first_block;
    window_ = tile;
    const int32_t position = tile * kAttentionTile + Lane() * kChunk;
    const int32_t* blocks = p_.sequences.block_tables + s.first_block;
    block_ = position < s.context ? __ldg(blocks + (position >> p_.block_shift)) : 0;
  }
  __device__ __forceinline__ int32_t BlockOf(int chunk) const {
    return __shfl_sync(kAllLanes, block_, (cursor_.tile() - window_) * kTileChunks + chunk);
  }

  __device__ __forceinline__ void Acquire(const RingPlace<kStages>& place) const {
    WaitBarrier(SharedAddress(&shared_->empty[place.stage]), place.round ^ 1);
    __syncwarp();
  }

  // Chunks [begin, end) of keys (part 0) or values (part 1) of the cursor's tile. Of a chunk that
  // holds no position of the sequence nothing is copied, and nothing is read.
  __device__ __forceinline__ void Copy(const RingPlace<kStages>& place, int part, int begin,
                                       int end) const {
    if constexpr (kTensorMap) {
      CopyBoxes(place, part, begin, end);
    } else {
      CopyPieces(place, part, begin, end);
    }
  }
  // A lane a chunk.
  __device__ __forceinline__ void CopyBoxes(const RingPlace<kStages>& place, int part, int begin,
                                            int end) const {
    const int32_t block = BlockOf(Lane() % kTileChunks);
    if (Lane() < begin || Lane() >= end) return;
    const int32_t position = (FirstChunk() + Lane()) * kChunk;
    const uint32_t full = SharedAddress(&shared_->full[place.stage]);
    const bool there = position < cursor_.sequence().context;
    ArriveExpectBytes(full, there ? Chunk::kBytes : 0);
    if (!there) return;
    const auto head = part * static_cast<int32_t>(p_.kv.num_kv_heads) + cursor_.kv_head();
    const int32_t slot = position & ((1 << p_.block_shift) - 1);
    CopyBox(SharedAddress(shared_->ring[place.stage][Lane()]), map_,
            (head << p_.block_shift) + slot, 0, block, full);
  }
  // All lanes a chunk.
  __device__ __forceinline__ void CopyPieces(const RingPlace<kStages>& place, int part, int begin,
                                             int end) const {
    constexpr int kPieces = kHeadDim / 8;   // of a row
    constexpr int kRows = kWarp / kPieces;  // at a time
    const int row = Lane() / kPieces;
    const uint32_t offset = Chunk::Offset(row, Lane() % kPieces);
    for (int chunk = begin; chunk < end; ++chunk) {
      const int32_t block = BlockOf(chunk);
      const int32_t position = (FirstChunk() + chunk) * kChunk;
      const int32_t valid = cursor_.sequence().context - position;
      if (valid <= 0) continue;
      const bf16* from = p_.kv.pool + Lane() * 8 +
                         KvOffset<kHeadDim>(p_, block, part, cursor_.kv_head(), position);
      const uint32_t to = SharedAddress(shared_->ring[place.stage][chunk]);
#pragma unroll
      for (int i = 0; i < kChunk / kRows; ++i) {
        CopyAsync16(to + (offset ^ Chunk::Offset(i * kRows, 0)), from + i * kWarp * 8,
                    i * kRows + row < valid ? 16 : 0);
      }
    }
    if (end == kTileChunks) ArriveWithCopies(SharedAddress(&shared_->full[place.stage]));
  }

  const AttentionParameters& p_;
  const CUtensorMap* map_;
  const RingOptions& options_;
  DecodeCursor cursor_;
  Shared* shared_;
  RingPlace<kStages> place_;
  bool waited_ = false;
  int32_t table_ = -1;
  int32_t window_ = 0;
  int32_t block_ = 0;
};

// The 8 consumer warps.
template <int kHeadDim, int kStages>
class RingConsumer {
 public:
  using Shared = RingShared<kHeadDim, kStages>;
  static constexpr uint32_t kReleases = kAttentionWarps;  // of an empty stage

  __device__ RingConsumer(const AttentionParameters& p, const RingOptions& options,
                          const DecodeCursor& cursor, const int32_t (&slots)[2], Shared* shared)
      : p_(p),
        options_(options),
        shared_(shared),
        cursor_(cursor),
        begin_slot_(slots[0]),
        end_slot_(slots[1]) {}

  __device__ __forceinline__ void Run() {
    if (options_.copies_alone) {
      for (; !cursor_.done(); cursor_.Advance()) {
        for (int part = 0; part < 2; ++part) {
          AwaitStage();
          ReleaseStage();
        }
      }
    }
    if (!cursor_.done()) LoadQueries(cursor_.sequence(), cursor_.kv_head());
    while (!cursor_.done()) {
      if (cursor_.sequence().tokens * p_.group <= 8) {
        RunHead<1>();
      } else {
        RunHead<2>();
      }
    }
  }

 private:
  static constexpr int kConsumers = kAttentionWarps * kWarp;
  static constexpr int kQueryWords = kDecodeRows * kHeadDim / 2 / kConsumers;  // of a thread

  static __device__ __forceinline__ void MeetConsumers() {
    asm volatile("bar.sync 1, %0;" ::"n"(kConsumers) : "memory");
  }
  __device__ __forceinline__ void AwaitStage() const {
    WaitBarrier(SharedAddress(&shared_->full[place_.stage]), place_.round);
  }
  __device__ __forceinline__ void ReleaseStage() {
    __syncwarp();
    if (Lane() == 0) Arrive(SharedAddress(&shared_->empty[place_.stage]));
    place_.Advance();
  }

  // The run's part of one KV head, 8 rows a pass.
  template <int kPasses>
  __device__ __forceinline__ void RunHead() {
    s_ = cursor_.sequence();
    kv_head_ = cursor_.kv_head();
    rows_ = s_.tokens * p_.group;
    const int32_t first_tile = cursor_.tile();
    const int32_t tile_end = cursor_.tile_end();
    const int32_t tiles = (s_.context + kAttentionTile - 1) / kAttentionTile;
    const bool whole = first_tile == 0 && tile_end == tiles;
    slot_ = first_tile > 0 ? begin_slot_ : end_slot_;
    StoreQueries();
    int32_t position[kPasses][2];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      position[i][0] = PositionOfRow(FirstRow(i));
      position[i][1] = PositionOfRow(FirstRow(i) + 1);
    }
    DecodeState fold[kPasses];
    DecodeState state[kPasses];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      fold[i].Clear();
      state[i].Clear();
    }
    for (int32_t tile = first_tile; tile < tile_end; ++tile) {
      RunTile<kPasses>(tile, position, state);
      if (WarpIndex() == 0 && tile == first_tile) NoteTime(options_, 3);
      cursor_.Advance();
      if (tile + 1 < tile_end && (tile + 1) % kSegmentTiles != 0) continue;
#pragma unroll
      for (int i = 0; i < kPasses; ++i) {
        if (whole) {
          Fold(position[i], tile / kSegmentTiles, state[i], &fold[i]);
        } else {
          StorePartial(i, tile / kSegmentTiles, state[i]);
        }
        state[i].Clear();
      }
    }
    if (whole) {
      Store<kPasses>(fold);
    } else {
      if (WarpIndex() == 0) NoteTime(options_, 4);
      FoldIfLast(tile_end - first_tile, tiles);
    }
  }

  __device__ __forceinline__ int32_t PositionOfRow(int32_t r) const {
    return s_.context - s_.tokens + min(r, rows_ - 1) / p_.group;
  }
  __device__ __forceinline__ int64_t OffsetOfRow(int32_t r, int64_t stride) const {
    const int32_t head = kv_head_ * p_.group + r % p_.group;
    return (s_.first_row + r / p_.group) * stride + head * kHeadDim;
  }
  static __device__ __forceinline__ int FirstRow(int pass) { return 8 * pass + Lane() % 4 * 2; }

  // Queries go through registers to shared memory, a head ahead. Rows that do not exist keep what
  // was there: their scores are theirs alone.
  __device__ __forceinline__ void LoadQueries(const DecodeSequence& s, int32_t kv_head) {
    constexpr int kWords = kHeadDim / 2;  // of a row
#pragma unroll
    for (int i = 0; i < kQueryWords; ++i) {
      const int32_t word = i * kConsumers + static_cast<int32_t>(threadIdx.x);
      const int32_t r = word / kWords;
      if (r >= s.tokens * p_.group) break;
      const int32_t head = kv_head * p_.group + r % p_.group;
      const bf16* row = p_.q.data + (s.first_row + r / p_.group) * p_.q.stride + head * kHeadDim;
      queries_[i] = LoadPair(row + word % kWords * 2, p_.q_words);
    }
  }
  __device__ __forceinline__ void StoreQueries() {
    constexpr int kWords = kHeadDim / 2;
#pragma unroll
    for (int i = 0; i < kQueryWords; ++i) {
      const int32_t word = i * kConsumers + static_cast<int32_t>(threadIdx.x);
      if (word / kWords >= rows_) break;
      *reinterpret_cast<uint32_t*>(&shared_->q[word / kWords][word % kWords * 2]) = queries_[i];
    }
    MeetConsumers();
    if (!cursor_.HasNextHead()) return;
    if (kv_head_ + 1 < static_cast<int32_t>(p_.kv.num_kv_heads)) {
      LoadQueries(s_, kv_head_ + 1);
    } else {
      LoadQueries(cursor_.next_sequence(), 0);
    }
  }

  template <int kPasses>
  __device__ __forceinline__ void RunTile(int32_t tile, const int32_t (&position)[kPasses][2],
                                          DecodeState (&state)[kPasses]) {
    const int32_t start = tile * kAttentionTile;
    const int32_t own = start + WarpIndex() * kChunk + Lane() / 4;  // and own + 8
    AwaitStage();
    float s[kPasses][4] = {};
    if (start + WarpIndex() * kChunk < s_.context) Scores<kPasses>(s);
    ReleaseStage();
    float largest[kPasses][2];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        if (own > position[i][e]) s[i][e] = -INFINITY;
        if (own + 8 > position[i][e]) s[i][2 + e] = -INFINITY;
        float x = fmaxf(s[i][e], s[i][2 + e]);  // ignores NaN
        x = FoldLanes(x, 4, MaxOfFloats);
        x = FoldLanes(x, 8, MaxOfFloats);
        largest[i][e] = FoldLanes(x, 16, MaxOfFloats);
      }
      if (Lane() < 4) {
        *reinterpret_cast<float2*>(&shared_->largest[WarpIndex()][FirstRow(i)]) = {largest[i][0],
                                                                                   largest[i][1]};
      }
    }
    MeetConsumers();  // the maxima are there; the last tile's P and sums are no longer read
    float rescale[kPasses][2];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) Softmax(i, own, position[i], s[i], &state[i], rescale[i]);
    MeetConsumers();  // P and the sums are there
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      AddSums(i, rescale[i], &state[i]);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        state[i].o[e] = __fmul_rn(state[i].o[e], rescale[i][e % 2]);
      }
    }
    AwaitStage();
    if (WarpIndex() < kHeadDim / 16) AddValues<kPasses>(start, state);
    ReleaseStage();
  }

  template <int kPasses>
  __device__ __forceinline__ void Scores(float (&s)[kPasses][4]) const {
    const uint32_t keys = SharedAddress(shared_->ring[place_.stage][WarpIndex()]);
    const uint32_t offset = RingChunk<kHeadDim>::Offset(Lane() % 16, Lane() / 16);
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; k += 2) {
      uint32_t a[2][4];
      LoadMatrices(a[0], keys + (offset ^ RingChunk<kHeadDim>::Offset(0, 2 * k)));
      LoadMatrices(a[1], keys + (offset ^ RingChunk<kHeadDim>::Offset(0, 2 * k + 2)));
#pragma unroll
      for (int i = 0; i < kPasses; ++i) {
        uint32_t q[4];
        LoadMatrices(q, SharedAddress(&shared_->q[8 * i + Lane() % 8][16 * k + Lane() / 8 * 8]));
        MmaStep(s[i], a[0], {q[0], q[1]});
        MmaStep(s[i], a[1], {q[2], q[3]});
      }
    }
  }

  // Scores to P and its sums, in shared memory; rescale: what O and l are multiplied by. A score
  // that a row does not see is -inf, and its p 0; a row that sees nothing of the tile stays as it
  // is.
  __device__ __forceinline__ void Softmax(int pass, int32_t own, const int32_t (&position)[2],
                                          const float (&s)[4], DecodeState* state,
                                          float (&rescale)[2]) {
    const int row = FirstRow(pass);
    float largest[2] = {-INFINITY, -INFINITY};
#pragma unroll
    for (int w = 0; w < kAttentionWarps; ++w) {
      const float2 x = *reinterpret_cast<const float2*>(&shared_->largest[w][row]);
      largest[0] = fmaxf(largest[0], x.x);
      largest[1] = fmaxf(largest[1], x.y);
    }
    const int column = WarpIndex() * kChunk + Lane() / 4;
    float sums[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const float m = fmaxf(state->m[e], ceilf(__fmul_rn(largest[e], p_.scale)));
      rescale[e] = m == state->m[e] ? 1.0f : Ex2(__fsub_rn(state->m[e], m));
      state->m[e] = m;
      const float p0 = own <= position[e] ? Ex2(__fmaf_rn(s[e], p_.scale, -m)) : 0.0f;
      const float p1 = own + 8 <= position[e] ? Ex2(__fmaf_rn(s[2 + e], p_.scale, -m)) : 0.0f;
      shared_->p[row + e][column] = Bf16FromFloat(p0);
      shared_->p[row + e][column + 8] = Bf16FromFloat(p1);
      sums[e] = __fadd_rn(FoldLanes(p0, 4, AddFloats), FoldLanes(p1, 4, AddFloats));
    }
    if (Lane() / 4 % 2 == 0) {
      shared_->sums[Lane() / 8][row][WarpIndex()] = sums[0];
      shared_->sums[Lane() / 8][row + 1][WarpIndex()] = sums[1];
    }
  }

  // tree128's last levels for the warp's row: position bits 4, 5 and 6, then 1 and 2.
  __device__ __forceinline__ void AddSums(int pass, const float (&rescale)[2],
                                          DecodeState* state) const {
    float sum = shared_->sums[Lane() / 8][8 * pass + WarpIndex()][Lane() % 8];
#pragma unroll
    for (int bit = 1; bit <= 16; bit *= 2) sum = FoldLanes(sum, bit, AddFloats);
    const float scale = OfWarpRow(rescale[0], rescale[1]);
    state->l = __fadd_rn(__fmul_rn(state->l, scale), sum);
  }

  template <int kPasses>
  __device__ __forceinline__ void AddValues(int32_t start, DecodeState (&state)[kPasses]) const {
    using Chunk = RingChunk<kHeadDim>;
    const uint32_t values = SharedAddress(shared_->ring[place_.stage]);
    const int32_t chunks = min(kTileChunks, (s_.context - start + kChunk - 1) / kChunk);
    const int32_t seen_by_all = s_.context - s_.tokens + 1 - start;
    const int row = Lane() / 16 * 8 + Lane() % 8;
    const int piece = 2 * WarpIndex() + Lane() / 8 % 2;
#pragma unroll
    for (int k = 0; k < kTileChunks; k += 2) {
      if (k >= chunks) break;
      uint32_t b[kPasses][4];
#pragma unroll
      for (int i = 0; i < kPasses; ++i) {
        LoadMatrices(b[i], SharedAddress(&shared_->p[8 * i + Lane() % 8][16 * k + Lane() / 8 * 8]));
      }
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (k + half >= chunks) break;
        uint32_t a[4];
        LoadMatricesTransposed(a, values + (k + half) * Chunk::kBytes + Chunk::Offset(row, piece));
        if ((k + half + 1) * kChunk > seen_by_all) {
#pragma unroll
          for (uint32_t& word : a) word = ZeroNotFinite(word);
        }
#pragma unroll
        for (int i = 0; i < kPasses; ++i) {
          MmaStep(state[i].o, a, {b[i][2 * half], b[i][2 * half + 1]});
        }
      }
    }
  }

  __device__ __forceinline__ void Fold(const int32_t (&position)[2], int32_t segment,
                                       const DecodeState& next, DecodeState* fold) const {
    FoldScales scales[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const bool sees = position[e] >= segment * kAttentionSegment;
      scales[e] = FoldMaximum(next.m[e], sees, &fold->m[e]);
    }
#pragma unroll
    for (int e = 0; e < 4; ++e) fold->o[e] = FoldValue(fold->o[e], next.o[e], scales[e % 2]);
    const FoldScales of_sum = {OfWarpRow(scales[0].fold, scales[1].fold),
                               OfWarpRow(scales[0].next, scales[1].next)};
    fold->l = FoldValue(fold->l, next.l, of_sum);
  }

  template <int kPasses>
  __device__ __forceinline__ void Store(const DecodeState (&fold)[kPasses]) {
    if (Lane() == 0) {
#pragma unroll
      for (int i = 0; i < kPasses; ++i) shared_->l[8 * i + WarpIndex()] = fold[i].l;
    }
    MeetConsumers();
    if (WarpIndex() >= kHeadDim / 16) return;
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int32_t r = FirstRow(i) + e;
        if (r >= rows_) continue;
        const float reciprocal = __frcp_rn(shared_->l[r]);
        bf16* y = p_.y.data + OffsetOfRow(r, p_.y.stride) + WarpIndex() * 16 + Lane() / 4;
        y[0] = Bf16FromFloat(__fmul_rn(fold[i].o[e], reciprocal));
        y[8] = Bf16FromFloat(__fmul_rn(fold[i].o[2 + e], reciprocal));
      }
    }
  }

  __device__ __forceinline__ void StorePartial(int pass, int32_t segment,
                                               const DecodeState& state) const {
    const int64_t first = slot_ + int64_t{segment} * rows_;
    const float m = OfWarpRow(state.m[0], state.m[1]);
    const int own_row = 8 * pass + WarpIndex();
    if (Lane() == 0 && own_row < rows_) {
      *reinterpret_cast<float2*>(p_.plan.partial_ml + (first + own_row) * 2) = {m, state.l};
    }
    if (WarpIndex() >= kHeadDim / 16) return;
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const int32_t r = FirstRow(pass) + e;
      if (r >= rows_) continue;
      float* o = p_.plan.partial_o + (first + r) * kHeadDim + WarpIndex() * 16 + Lane() / 4;
      o[0] = state.o[e];
      o[8] = state.o[2 + e];
    }
  }

  // The last of a split head's blocks to arrive folds all segments, in their order.
  __device__ __forceinline__ void FoldIfLast(int32_t own_tiles, int32_t tiles) {
    __threadfence();
    MeetConsumers();
    if (threadIdx.x == 0) {
      const int32_t arrived = atomicAdd(p_.plan.arrived + slot_, own_tiles) + own_tiles;
      shared_->is_last = arrived == tiles;
      if (shared_->is_last) p_.plan.arrived[slot_] = 0;
    }
    MeetConsumers();
    if (!shared_->is_last) return;
    __threadfence();
    FoldSplitHead<kHeadDim>(p_, s_, kv_head_, slot_);
  }

  const AttentionParameters& p_;
  const RingOptions& options_;
  Shared* shared_;
  DecodeCursor cursor_;  // the tile that is computed
  int32_t begin_slot_;
  int32_t end_slot_;
  DecodeSequence s_;
  int32_t kv_head_ = 0;
  int32_t rows_ = 0;
  int32_t slot_ = 0;
  uint32_t queries_[kQueryWords];
  RingPlace<kStages> place_;
};

template <int kHeadDim, int kStages, bool kTensorMap>
__device__ __forceinline__ void RunRing(const AttentionParameters& p, const CUtensorMap* map,
                                        const RingOptions& options,
                                        RingShared<kHeadDim, kStages>* shared) {
  using Producer = RingProducer<kHeadDim, kStages, kTensorMap>;
  using Consumer = RingConsumer<kHeadDim, kStages>;
  NoteTime(options, 0);
  AllowLater();  // nothing is written before the wait
  if (threadIdx.x == 0) {
    for (int i = 0; i < kStages; ++i) {
      InitBarrier(SharedAddress(&shared->full[i]), Producer::kArrivals);
      InitBarrier(SharedAddress(&shared->empty[i]), Consumer::kReleases);
    }
    FenceBarrierInit();
  }
  const DecodeBoundary begin = LoadPlanned(p.plan.boundaries + blockIdx.x);
  const DecodeBoundary end = LoadPlanned(p.plan.boundaries + blockIdx.x + 1);
  const DecodeCursor cursor(p, begin, end);
  __syncthreads();
  if (WarpIndex() == kAttentionWarps) {
    Producer(p, map, options, cursor, shared).Run();
    return;
  }
  WaitForEarlier();
  if (WarpIndex() == 0) NoteTime(options, 1);
  const int32_t slots[2] = {begin.slot, end.slot};
  Consumer(p, options, cursor, slots, shared).Run();
  if (WarpIndex() == 0) NoteTime(options, 5);
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_RING_SM90_CUH_
