// budget: one kernel's parts that share a state, read from top to bottom
// Sequences with few query rows: 8 consumer warps work on a tile of 128 positions together. Keys
// are the 16-row operand of mma.sync, 16 positions a warp, and queries the 8 side; then values
// transposed, 16 columns a warp.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_SM90_CUH_

#include <cstdint>

#include "kernels/attention/attention_ring_sm90.cuh"

namespace vexact::sm90 {

template <int kHeadDim>
struct DecodeShared {
  static constexpr int kPitch = kAttentionTile + 8;  // of P's rows: ldmatrix meets each bank once

  alignas(16) bf16 q[kDecodeRows][kHeadDim + 8];  // pitch as p's
  alignas(16) bf16 p[kDecodeRows][kPitch];
  // How the segments of a split head join the fold: for what is folded, for the segment; its l.
  float4 joins[kDecodeRows][kWarp];
  float largest[kAttentionWarps][kDecodeRows];
  // After tree128's levels of bits 0 and 3, of positions with bits 1, 2 and 4 to 6 as the indices.
  float sums[4][kDecodeRows][kAttentionWarps];
  float l[kDecodeRows];
  bool is_last;
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
__device__ __forceinline__ DecodeRow FindRow(const AttentionParameters& p, const StepSequence& s,
                                             int32_t kv_head, int32_t r) {
  const int32_t token = TokenOfRow(p, r);
  return {s.context - s.tokens + token, kv_head * p.group + r - token * p.group,
          s.first_row + token};
}

template <typename Mask>
__device__ __forceinline__ VisibleRun<Mask::kFromStart> VisibleOfRow(const AttentionParameters& p,
                                                                     const DecodeRow& row) {
  return VisibleOf(Mask(p.sequences.mask), row.position, row.row);
}

// A head whose segments several blocks have done: the partial result of (segment, row) lies at
// slot + segment * rows + row, segments counted from the first one that a row sees.
struct SplitHead {
  StepSequence s;
  int32_t kv_head;
  int32_t slot;
  int32_t rows;
  int32_t segments;
  int32_t first_segment;
};

// joins[row] of kCount segments from `first` on, a lane a segment; *m: the fold's M before them,
// then after them.
template <typename Mask, int kCount>
__device__ __forceinline__ void JoinSegments(const AttentionParameters& p, const SplitHead& head,
                                             int32_t row, int32_t first, float4 (&joins)[kWarp],
                                             float* m) {
  const int32_t segment = first + Lane();
  const int32_t start = (head.first_segment + segment) * kAttentionSegment;
  const bool sees = VisibleOfRow<Mask>(p, FindRow(p, head.s, head.kv_head, row))
                        .SeesAny(start, start + kAttentionSegment);
  float2 ml = {-INFINITY, 0.0f};
  if (sees) {
    const int64_t index = head.slot + int64_t{segment} * head.rows + row;
    ml = __ldcg(reinterpret_cast<const float2*>(p.plan.partial_ml + index * 2));
  }
  float after = ml.x;
#pragma unroll
  for (int distance = 1; distance < kWarp; distance *= 2) {
    const float below = __shfl_up_sync(kAllLanes, after, distance);
    if (Lane() >= distance) after = fmaxf(after, below);
  }
  after = fmaxf(after, *m);
  float before = __shfl_up_sync(kAllLanes, after, 1);
  if (Lane() == 0) before = *m;
  const FoldScales scales = FoldMaximum(ml.x, sees, &before);
  joins[Lane()] = {scales.fold, scales.next, ml.y, 0.0f};
  *m = __shfl_sync(kAllLanes, after, kCount - 1);
}

// kWidth neighbouring elements a thread. A thread's loads of kTogether segments are under way at
// once, beside those of their M and l: one that waits for each needs 290 ns a segment (H200).
template <typename Mask, int kHeadDim, int kWidth, int kTogether>
__device__ __forceinline__ void FoldPartials(const AttentionParameters& p, const SplitHead& head,
                                             DecodeShared<kHeadDim>* shared) {
  const int32_t elements = head.rows * kHeadDim;
  for (int32_t base = 0; base < elements; base += kConsumers * kWidth) {
    const int32_t own = base + static_cast<int32_t>(threadIdx.x) * kWidth;
    const int32_t element = min(own, elements - kWidth);
    float m[2] = {-INFINITY, -INFINITY};  // of rows w and w + 8 for warp w
    float l = 0.0f;
    float o[kWidth] = {};
    for (int32_t first = 0; first < head.segments; first += kTogether) {
      float next[kTogether][kWidth];
#pragma unroll
      for (int a = 0; a < kTogether; ++a) {
        const int32_t segment = min(first + a, head.segments - 1);
        const float* from =
            p.plan.partial_o + (head.slot + int64_t{segment} * head.rows) * kHeadDim + element;
        if constexpr (kWidth == 4) {
          const float4 x = __ldcg(reinterpret_cast<const float4*>(from));
          next[a][0] = x.x, next[a][1] = x.y, next[a][2] = x.z, next[a][3] = x.w;
        } else {
          next[a][0] = __ldcg(from);
        }
      }
      MeetConsumers();  // the joins before are no longer read
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int32_t row = WarpIndex() + i * kAttentionWarps;
        if (row >= head.rows) break;
        JoinSegments<Mask, kTogether>(p, head, row, first, shared->joins[row], &m[i]);
      }
      MeetConsumers();
#pragma unroll
      for (int a = 0; a < kTogether; ++a) {
        const float4 join = shared->joins[element / kHeadDim][a];
        const FoldScales scales = {join.x, join.y};
        const bool there = first + a < head.segments;
        l = there ? FoldValue(l, join.z, scales) : l;
#pragma unroll
        for (int e = 0; e < kWidth; ++e) o[e] = there ? FoldValue(o[e], next[a][e], scales) : o[e];
      }
    }
    if (own >= elements) continue;
    const DecodeRow row = FindRow(p, head.s, head.kv_head, element / kHeadDim);
    const float reciprocal = __frcp_rn(l);
    bf16* y = p.y.data + row.row * p.y.stride + row.head * kHeadDim + element % kHeadDim;
#pragma unroll
    for (int e = 0; e < kWidth; ++e) y[e] = Bf16FromFloat(__fmul_rn(o[e], reciprocal));
  }
}

// The consumer warps on a run of decode work.
template <typename Ring, typename Mask>
class DecodeConsumer {
 public:
  static constexpr int kHeadDim = Ring::kHeadDim;
  using Shared = DecodeShared<kHeadDim>;
  using Visible = VisibleRun<Mask::kFromStart>;

  __device__ DecodeConsumer(const AttentionParameters& p, const DecodeRun& run, Shared* shared,
                            RingReader<Ring>* reader)
      : p_(p),
        shared_(shared),
        reader_(reader),
        cursor_(p, run),
        begin_slot_(run.begin.slot),
        end_slot_(run.end.slot) {}

  __device__ __forceinline__ void Run() {
    if (!cursor_.done()) LoadQueries(cursor_.sequence(), cursor_.kv_head());
    while (!cursor_.done()) {
      s_ = cursor_.sequence();
      kv_head_ = cursor_.kv_head();
      rows_ = s_.tokens * p_.group;
      const int32_t own_tiles = cursor_.tile_end() - cursor_.tile();
      first_tile_ = cursor_.first_tile();
      const int32_t tiles = (s_.context + kAttentionTile - 1) / kAttentionTile - first_tile_;
      const bool whole = own_tiles == tiles;
      slot_ = cursor_.tile() > first_tile_ ? begin_slot_ : end_slot_;
      if (rows_ <= 8) {
        RunHead<1>(whole);
      } else {
        RunHead<2>(whole);
      }
      if (!whole) FoldIfLast(own_tiles, tiles);
    }
  }

 private:
  static constexpr int kQueryWords =  // of a thread
      (kDecodeRows * kHeadDim / 2 + kConsumers - 1) / kConsumers;

  // The run's part of one KV head, 8 rows a pass.
  template <int kPasses>
  __device__ __forceinline__ void RunHead(bool whole) {
    const int32_t tile_end = cursor_.tile_end();
    StoreQueries();
    Visible visible[kPasses][2];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      visible[i][0] = VisibleOfRowOrLast(FirstRow(i));
      visible[i][1] = VisibleOfRowOrLast(FirstRow(i) + 1);
    }
    to_all_ = {VisibleOfRowOrLast(rows_ - 1).begin, VisibleOfRowOrLast(0).end};
    DecodeState fold[kPasses];
    DecodeState state[kPasses];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      fold[i].Clear();
      state[i].Clear();
    }
    for (int32_t tile = cursor_.tile(); tile < tile_end; ++tile) {
      RunTile<kPasses>(tile, visible, state);
      cursor_.Advance();
      if (tile + 1 < tile_end && (tile + 1) % kSegmentTiles != 0) continue;
#pragma unroll
      for (int i = 0; i < kPasses; ++i) {
        if (whole) {
          Fold(visible[i], tile / kSegmentTiles, state[i], &fold[i]);
        } else {
          StorePartial(i, tile / kSegmentTiles - first_tile_ / kSegmentTiles, state[i]);
        }
        state[i].Clear();
      }
    }
    if (whole) Store<kPasses>(fold);
  }

  __device__ __forceinline__ Visible VisibleOfRowOrLast(int32_t r) const {
    return VisibleOfRow<Mask>(p_, FindRow(p_, s_, kv_head_, min(r, rows_ - 1)));
  }
  __device__ __forceinline__ int64_t OffsetOfRow(int32_t r, int64_t stride) const {
    const DecodeRow row = FindRow(p_, s_, kv_head_, r);
    return row.row * stride + row.head * kHeadDim;
  }
  static __device__ __forceinline__ int FirstRow(int pass) { return 8 * pass + Lane() % 4 * 2; }

  // Queries go through registers to shared memory, a head ahead. Rows that do not exist keep what
  // was there: their scores are theirs alone.
  __device__ __forceinline__ void LoadQueries(const StepSequence& s, int32_t kv_head) {
    constexpr int kWords = kHeadDim / 2;  // of a row
#pragma unroll
    for (int i = 0; i < kQueryWords; ++i) {
      const int32_t word = i * kConsumers + static_cast<int32_t>(threadIdx.x);
      const int32_t r = word / kWords;
      if (r >= s.tokens * p_.group) break;
      const DecodeRow row = FindRow(p_, s, kv_head, r);
      const bf16* q = p_.q.data + row.row * p_.q.stride + row.head * kHeadDim;
      queries_[i] = LoadPair(q + word % kWords * 2, p_.q_words);
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
  __device__ __forceinline__ void RunTile(int32_t tile, const Visible (&visible)[kPasses][2],
                                          DecodeState (&state)[kPasses]) {
    const int32_t start = tile * kAttentionTile;
    const int32_t own = start + WarpIndex() * kChunk + Lane() / 4;  // and own + 8
    const auto keys_place = reader_->Take();
    const uint32_t keys = reader_->Await(keys_place);
    float s[kPasses][4] = {};
    if (start + WarpIndex() * kChunk < s_.context) Scores<kPasses>(keys, s);
    reader_->Release(keys_place);
    StoreMaxima<kPasses>(own, visible, s);
    MeetConsumers();  // the maxima are there; the last tile's P and sums are no longer read
    float rescale[kPasses][2];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) Softmax(i, own, visible[i], s[i], &state[i], rescale[i]);
    MeetConsumers();  // P and the sums are there
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      AddSums(i, rescale[i], &state[i]);
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        state[i].o[e] = __fmul_rn(state[i].o[e], rescale[i][e % 2]);
      }
    }
    const auto values_place = reader_->Take();
    const uint32_t values = reader_->Await(values_place);
    if (WarpIndex() < kHeadDim / 16) AddValues<kPasses>(start, values, state);
    reader_->Release(values_place);
  }

  // Of the warp's 16 positions. A score that a row does not see becomes -inf.
  template <int kPasses>
  __device__ __forceinline__ void StoreMaxima(int32_t own, const Visible (&visible)[kPasses][2],
                                              float (&s)[kPasses][4]) {
    float largest[kPasses][2];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
#pragma unroll
      for (int e = 0; e < 2; ++e) {
        if (!visible[i][e].Sees(own)) s[i][e] = -INFINITY;
        if (!visible[i][e].Sees(own + 8)) s[i][2 + e] = -INFINITY;
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
  }

  template <int kPasses>
  __device__ __forceinline__ void Scores(uint32_t keys, float (&s)[kPasses][4]) const {
    using Chunk = KvChunk<kHeadDim>;
    const uint32_t own = keys + WarpIndex() * Chunk::kBytes;
    const uint32_t offset = Chunk::Offset(Lane() % 16, Lane() / 16);
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; k += 2) {
      constexpr bool kPairs = kHeadDim > 16;
      uint32_t a[2][4];
      LoadMatrices(a[0], own + (offset ^ Chunk::Offset(0, 2 * k)));
      if constexpr (kPairs) LoadMatrices(a[1], own + (offset ^ Chunk::Offset(0, 2 * k + 2)));
#pragma unroll
      for (int i = 0; i < kPasses; ++i) {
        uint32_t q[4];  // q[2] and q[3] are of the second step
        const int column = 16 * k + Lane() / 8 * 8;
        LoadMatrices(q, SharedAddress(&shared_->q[8 * i + Lane() % 8][column % kHeadDim]));
        MmaStep(s[i], a[0], {q[0], q[1]});
        if constexpr (kPairs) MmaStep(s[i], a[1], {q[2], q[3]});
      }
    }
  }

  // Scores to P and its sums, in shared memory; rescale: what O and l are multiplied by. A score
  // that a row does not see is -inf, and its p 0; a row that sees nothing of the tile stays as it
  // is.
  __device__ __forceinline__ void Softmax(int pass, int32_t own, const Visible (&visible)[2],
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
      const float p0 = visible[e].Sees(own) ? Ex2(__fmaf_rn(s[e], p_.scale, -m)) : 0.0f;
      const float p1 = visible[e].Sees(own + 8) ? Ex2(__fmaf_rn(s[2 + e], p_.scale, -m)) : 0.0f;
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
  __device__ __forceinline__ void AddValues(int32_t start, uint32_t values,
                                            DecodeState (&state)[kPasses]) const {
    using Chunk = KvChunk<kHeadDim>;
    const int32_t chunks = min(kTileChunks, (s_.context - start + kChunk - 1) / kChunk);
    const Visible to_all = to_all_.From(start);
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
        if (!to_all.SeesAll((k + half) * kChunk, (k + half + 1) * kChunk)) {
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

  __device__ __forceinline__ void Fold(const Visible (&visible)[2], int32_t segment,
                                       const DecodeState& next, DecodeState* fold) const {
    const int32_t start = segment * kAttentionSegment;
    FoldScales scales[2];
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const bool sees = visible[e].SeesAny(start, start + kAttentionSegment);
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
    const int32_t first_segment = first_tile_ / kSegmentTiles;
    const int32_t segments = (first_tile_ + tiles + kSegmentTiles - 1) / kSegmentTiles;
    const SplitHead head{s_, kv_head_, slot_, rows_, segments - first_segment, first_segment};
    if (rows_ * kHeadDim <= kConsumers) {
      FoldSegments<1, 32>(head);
    } else {
      FoldSegments<4, 16>(head);
    }
  }
  // Segments of a context to 1024 all at once, without steps for segments that are not there.
  template <int kWidth, int kMany>
  __device__ __forceinline__ void FoldSegments(const SplitHead& head) {
    if (head.segments <= 4) {
      FoldPartials<Mask, kHeadDim, kWidth, 4>(p_, head, shared_);
    } else {
      FoldPartials<Mask, kHeadDim, kWidth, kMany>(p_, head, shared_);
    }
  }

  const AttentionParameters& p_;
  Shared* shared_;
  RingReader<Ring>* reader_;
  DecodeCursor<Mask> cursor_;  // the tile that is computed
  int32_t begin_slot_;
  int32_t end_slot_;
  StepSequence s_;
  int32_t kv_head_ = 0;
  int32_t rows_ = 0;
  int32_t slot_ = 0;
  int32_t first_tile_ = 0;  // of the head, that a row sees
  Visible to_all_{};        // what all rows of the head see
  uint32_t queries_[kQueryWords];
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_SM90_CUH_
