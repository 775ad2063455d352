// budget: one kernel and the four parts it is made of, read from top to bottom
// Sequences with few query rows: a block of 8 warps streams the keys and values of its run of the
// decode work, tile after tile of 128 positions, through a ring in shared memory. Keys are the
// 16-row operand of mma.sync, 16 positions a warp, and queries the 8 side; then values transposed,
// 16 columns a warp.
//
// Each warp copies the keys and values of its own 16 positions (cp.async, which also permutes the
// 16-byte pieces for ldmatrix and fills with zeros, which a plain bulk copy cannot), so keys need
// no barrier; a tile has two: for the maxima, and for P together with the values.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_SM90_CUH_

#include <cstdint>

#include "kernels/attention/attention_parameters_sm90.cuh"
#include "kernels/sm90/reduce.cuh"

namespace vexact::sm90 {

template <int kHeadDim>
struct DecodeShared {
  // Keys and values take turns. Odd: the last stage that is filled in a tile is one of values.
  // 96 KB (head_dim 128) a block, two blocks an SM.
  static constexpr int kStages = kHeadDim == 128 ? 3 : 5;
  static constexpr int kPitch = kAttentionTile + 8;  // of P's rows: ldmatrix meets each bank once
  using Stage = unsigned char[kTileChunks][KvChunk<kHeadDim>::kBytes];

  alignas(16) Stage ring[kStages];
  alignas(16) bf16 p[kDecodeRows][kPitch];
  float largest[kAttentionWarps][kDecodeRows];
  // After tree128's levels of bits 0 and 3, of positions with bits 1, 2 and 4 to 6 as the indices.
  float sums[4][kDecodeRows][kAttentionWarps];
  float l[kDecodeRows];
  bool is_last;
};

// Past the L1 cache, which is not coherent with a plan kernel that ran beside an earlier one.
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

// Walks the tiles of a block's run.
class DecodeCursor {
 public:
  __device__ DecodeCursor(const AttentionParameters& p, const DecodeBoundary& begin,
                          const DecodeBoundary& end)
      : p_(p),
        end_sequence_(end.sequence),
        end_kv_head_(end.kv_head),
        end_segment_(end.segment),
        index_(begin.sequence),
        kv_head_(begin.kv_head),
        current_(begin.at) {
    next_ = LoadPlanned(p_.plan.decode + index_ + 1);
    BeginHead(begin.segment);
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

// A warp's copies of its 16 positions of each tile. Every copy is one group, also an empty one
// behind the run's end.
template <int kHeadDim>
class DecodeCopies {
 public:
  using Shared = DecodeShared<kHeadDim>;

  __device__ DecodeCopies(const AttentionParameters& p, const DecodeCursor& cursor, Shared* shared)
      : p_(p), cursor_(cursor), shared_(shared) {
    ReadBlock();
  }

  __device__ __forceinline__ void CopyKeys() {
    valid_ = 0;
    if (!cursor_.done()) {
      valid_ = cursor_.sequence().context - Position();
      from_ = p_.kv.pool + KvOffset<kHeadDim>(p_, block_, 0, cursor_.kv_head(), Position());
      cursor_.Advance();
      ReadBlock();  // needed a tile later: its latency hides
    }
    Copy(from_);
  }
  // Of the same positions.
  __device__ __forceinline__ void CopyValues() {
    Copy(from_ + (p_.kv.num_kv_heads << p_.block_shift) * kHeadDim);
  }

 private:
  __device__ __forceinline__ int32_t Position() const {
    return cursor_.tile() * kAttentionTile + WarpIndex() * kChunk;
  }
  __device__ __forceinline__ void ReadBlock() {
    const int32_t position = Position();
    if (cursor_.done() || position >= cursor_.sequence().context) return;
    const int32_t* blocks = p_.sequences.block_tables + cursor_.sequence().first_block;
    block_ = blocks[position >> p_.block_shift];
  }
  // Of a chunk that holds no position of the sequence nothing is copied, and nothing is read.
  __device__ __forceinline__ void Copy(const bf16* from) {
    using Chunk = KvChunk<kHeadDim>;
    if (valid_ > 0) {
      constexpr int kRows = kWarp / Chunk::kPieces;  // at a time
      const int row = Lane() / Chunk::kPieces;
      const uint32_t to = SharedAddress(shared_->ring[stage_][WarpIndex()]);
      const uint32_t offset = Chunk::Offset(row, Lane() % Chunk::kPieces);
      from += Lane() * 8;
#pragma unroll
      for (int i = 0; i < kChunk / kRows; ++i) {  // offsets are linear in the bits of row and piece
        CopyAsync16(to + (offset ^ Chunk::Offset(i * kRows, 0)), from + i * kWarp * 8,
                    i * kRows + row < valid_ ? 16 : 0);
      }
    }
    CommitCopies();
    stage_ = stage_ + 1 == Shared::kStages ? 0 : stage_ + 1;
  }

  const AttentionParameters& p_;
  DecodeCursor cursor_;  // the tile to copy next
  Shared* shared_;
  const bf16* from_ = nullptr;
  int32_t valid_ = 0;
  int32_t block_ = 0;
  int32_t stage_ = 0;
};

// Of 8 query rows: lane 4 * g + c of warp w holds O of rows 2c and 2c + 1 and columns 16 w + g
// (elements 0 and 1) and 16 w + g + 8, and their M; every lane of warp w holds l of row w.
struct DecodeState {
  float o[4];
  float m[2];
  float l;

  __device__ __forceinline__ void Clear() {
    o[0] = o[1] = o[2] = o[3] = l = 0.0f;
    m[0] = m[1] = -INFINITY;
  }
};

// What lane 4 * g + c holds for rows 2c and 2c + 1, for row w of warp w.
__device__ __forceinline__ float OfWarpRow(float row0, float row1) {
  const int row = WarpIndex();
  return __shfl_sync(kAllLanes, row % 2 == 0 ? row0 : row1, row / 2);
}

// Row r of a KV head of a sequence.
struct DecodeRow {
  int32_t position;
  int32_t head;
  int32_t row;  // of q and y
};
__device__ __forceinline__ DecodeRow FindRow(const AttentionParameters& p, const DecodeSequence& s,
                                             int32_t kv_head, int32_t r) {
  const int32_t token = r / p.group;
  return {s.context - s.tokens + token, kv_head * p.group + r % p.group, s.first_row + token};
}

// Folds the partial results of all segments of a split head, kWidth neighbouring elements a thread.
template <int kHeadDim, int kWidth>
__device__ __forceinline__ void FoldPartials(const AttentionParameters& p, const DecodeSequence& s,
                                             int32_t kv_head, int32_t slot) {
  constexpr int kTogether = kWidth == 4 ? 8 : 16;  // segments read at a time
  const int32_t rows = s.tokens * p.group;
  for (int32_t i = static_cast<int32_t>(threadIdx.x) * kWidth; i < rows * kHeadDim;
       i += kAttentionWarps * kWarp * kWidth) {
    const DecodeRow row = FindRow(p, s, kv_head, i / kHeadDim);
    const int32_t segments = row.position / kAttentionSegment + 1;
    RowSum fold{-INFINITY, 0.0f};
    float o[kWidth] = {};
    for (int32_t first = 0; first < segments; first += kTogether) {
      float next[kTogether][kWidth];
      float2 ml[kTogether];
#pragma unroll
      for (int a = 0; a < kTogether; ++a) {
        const int64_t index = slot + int64_t{min(first + a, segments - 1)} * rows + i / kHeadDim;
        ml[a] = __ldcg(reinterpret_cast<const float2*>(p.plan.partial_ml + index * 2));
        const float* from = p.plan.partial_o + index * kHeadDim + i % kHeadDim;
        if constexpr (kWidth == 4) {
          const float4 x = __ldcg(reinterpret_cast<const float4*>(from));
          next[a][0] = x.x, next[a][1] = x.y, next[a][2] = x.z, next[a][3] = x.w;
        } else {
          next[a][0] = __ldcg(from);
        }
      }
#pragma unroll
      for (int a = 0; a < kTogether; ++a) {
        if (first + a >= segments) break;
        const FoldScales scales = FoldRow({ml[a].x, ml[a].y}, true, &fold);
#pragma unroll
        for (int e = 0; e < kWidth; ++e) o[e] = FoldValue(o[e], next[a][e], scales);
      }
    }
    const float reciprocal = __frcp_rn(fold.l);
    bf16* y = p.y.data + row.row * p.y.stride + row.head * kHeadDim + i % kHeadDim;
#pragma unroll
    for (int e = 0; e < kWidth; ++e) y[e] = Bf16FromFloat(__fmul_rn(o[e], reciprocal));
  }
}

// A function of its own, so that its registers are not the streaming loop's.
template <int kHeadDim>
__device__ __noinline__ void FoldSplitHead(const AttentionParameters& p, DecodeSequence s,
                                           int32_t kv_head, int32_t slot) {
  if (s.tokens * p.group * kHeadDim <= 2 * kAttentionWarps * kWarp) {
    FoldPartials<kHeadDim, 1>(p, s, kv_head, slot);
  } else {
    FoldPartials<kHeadDim, 4>(p, s, kv_head, slot);
  }
}

template <int kHeadDim>
class DecodeBlock {
 public:
  using Shared = DecodeShared<kHeadDim>;

  __device__ DecodeBlock(const AttentionParameters& p, Shared* shared)
      : DecodeBlock(p, shared, p.plan.boundaries[blockIdx.x], p.plan.boundaries[blockIdx.x + 1]) {}

  __device__ __forceinline__ void Run() {
    if (cursor_.done()) return;
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      copies_.CopyKeys();
      copies_.CopyValues();
    }
    copies_.CopyKeys();
    while (!cursor_.done()) {
      if (cursor_.sequence().tokens * p_.group <= 8) {
        RunHead<1>();
      } else {
        RunHead<2>();
      }
    }
  }

 private:
  static constexpr int kAhead = (Shared::kStages - 1) / 2;  // tiles

  __device__ DecodeBlock(const AttentionParameters& p, Shared* shared, const DecodeBoundary& begin,
                         const DecodeBoundary& end)
      : p_(p),
        shared_(shared),
        cursor_(p, begin, end),
        copies_(p, cursor_, shared),
        begin_slot_(begin.slot),
        end_slot_(end.slot) {}

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
    uint32_t q[kPasses][kHeadDim / 16][2];
    LoadRows<kPasses>(q);
    DecodeState fold[kPasses];
    DecodeState state[kPasses];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      fold[i].Clear();
      state[i].Clear();
    }
    for (int32_t tile = first_tile; tile < tile_end; ++tile) {
      RunTile<kPasses>(tile, q, state);
      cursor_.Advance();
      if (tile + 1 < tile_end && (tile + 1) % kSegmentTiles != 0) continue;
#pragma unroll
      for (int i = 0; i < kPasses; ++i) {
        if (whole) {
          Fold(i, tile / kSegmentTiles, state[i], &fold[i]);
        } else {
          StorePartial(i, tile / kSegmentTiles, state[i]);
        }
        state[i].Clear();
      }
    }
    if (whole) {
      Store<kPasses>(fold);
    } else {
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

  // Rows that do not exist are zeros.
  template <int kPasses>
  __device__ __forceinline__ void LoadRows(uint32_t (&q)[kPasses][kHeadDim / 16][2]) const {
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      const int32_t r = 8 * i + Lane() / 4;
      const bf16* row = p_.q.data + OffsetOfRow(min(r, rows_ - 1), p_.q.stride) + Lane() % 4 * 2;
#pragma unroll
      for (int k = 0; k < kHeadDim / 16; ++k) {
        q[i][k][0] = r < rows_ ? LoadPair(row + 16 * k, p_.q_words) : 0;
        q[i][k][1] = r < rows_ ? LoadPair(row + 16 * k + 8, p_.q_words) : 0;
      }
    }
  }

  template <int kPasses>
  __device__ __forceinline__ void RunTile(int32_t tile,
                                          const uint32_t (&q)[kPasses][kHeadDim / 16][2],
                                          DecodeState (&state)[kPasses]) {
    const int32_t start = tile * kAttentionTile;
    const int32_t own = start + WarpIndex() * kChunk + Lane() / 4;  // and own + 8
    WaitCopies<Shared::kStages - 2>();
    __syncwarp();
    float s[kPasses][4] = {};
    if (start + WarpIndex() * kChunk < s_.context) Scores<kPasses>(q, s);
    NextStage();
    float largest[kPasses][2];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        const int32_t position = PositionOfRow(FirstRow(i) + e);
        if (own > position) s[i][e] = -INFINITY;
        if (own + 8 > position) s[i][2 + e] = -INFINITY;
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
    __syncthreads();  // the maxima are there; the last tile's values and P are no longer read
    if (filled_) copies_.CopyKeys();
    filled_ = true;
    copies_.CopyValues();
    float rescale[kPasses][2];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) Softmax(i, own, s[i], &state[i], rescale[i]);
    WaitCopies<Shared::kStages - 1>();
    __syncthreads();  // P, the sums and the values are there
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      AddSums(i, rescale[i], &state[i]);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        state[i].o[e] = __fmul_rn(state[i].o[e], rescale[i][e % 2]);
      }
    }
    if (WarpIndex() < kHeadDim / 16) AddValues<kPasses>(start, state);
    NextStage();
  }

  __device__ __forceinline__ void NextStage() {
    stage_ = stage_ + 1 == Shared::kStages ? 0 : stage_ + 1;
  }

  template <int kPasses>
  __device__ __forceinline__ void Scores(const uint32_t (&q)[kPasses][kHeadDim / 16][2],
                                         float (&s)[kPasses][4]) const {
    const uint32_t keys = SharedAddress(shared_->ring[stage_][WarpIndex()]);
    const uint32_t offset = KvChunk<kHeadDim>::Offset(Lane() % 16, Lane() / 16);
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      uint32_t a[4];
      LoadMatrices(a, keys + (offset ^ KvChunk<kHeadDim>::Offset(0, 2 * k)));
#pragma unroll
      for (int i = 0; i < kPasses; ++i) MmaStep(s[i], a, q[i][k]);
    }
  }

  // Scores to P and its sums, in shared memory; rescale: what O and l are multiplied by. A score
  // that a row does not see is -inf, and its p 0; a row that sees nothing of the tile stays as it
  // is.
  __device__ __forceinline__ void Softmax(int pass, int32_t own, const float (&s)[4],
                                          DecodeState* state, float (&rescale)[2]) {
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
      const int32_t position = PositionOfRow(row + e);
      const float p0 = own <= position ? Ex2(__fmaf_rn(s[e], p_.scale, -m)) : 0.0f;
      const float p1 = own + 8 <= position ? Ex2(__fmaf_rn(s[2 + e], p_.scale, -m)) : 0.0f;
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
    using Chunk = KvChunk<kHeadDim>;
    const uint32_t values = SharedAddress(shared_->ring[stage_]);
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
        if (s_.tokens > 1 && (k + half + 1) * kChunk > seen_by_all) {
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

  __device__ __forceinline__ void Fold(int pass, int32_t segment, const DecodeState& next,
                                       DecodeState* fold) const {
    FoldScales scales[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const bool sees = PositionOfRow(FirstRow(pass) + e) >= segment * kAttentionSegment;
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
    __syncthreads();
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
    __syncthreads();
    if (threadIdx.x == 0) {
      const int32_t arrived = atomicAdd(p_.plan.arrived + slot_, own_tiles) + own_tiles;
      shared_->is_last = arrived == tiles;
      if (shared_->is_last) p_.plan.arrived[slot_] = 0;
    }
    __syncthreads();
    if (!shared_->is_last) return;
    __threadfence();
    FoldSplitHead<kHeadDim>(p_, s_, kv_head_, slot_);
  }

  const AttentionParameters& p_;
  Shared* shared_;
  DecodeCursor cursor_;  // the tile that is computed
  DecodeCopies<kHeadDim> copies_;
  int32_t begin_slot_;
  int32_t end_slot_;
  DecodeSequence s_;
  int32_t kv_head_ = 0;
  int32_t rows_ = 0;
  int32_t slot_ = 0;
  int32_t stage_ = 0;
  bool filled_ = false;  // whether the ring's first round is over
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_SM90_CUH_
