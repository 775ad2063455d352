// How a decode block comes by its data: the layout of its shared memory, the walk along its run of
// work, and each warp's copies of keys and values into the ring.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_RING_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_RING_SM90_CUH_

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
    next_ = p_.plan.decode[index_ + 1];
    BeginHead(begin.segment);
  }

  __device__ __forceinline__ bool done() const { return tile_ == tile_end_; }
  __device__ __forceinline__ const DecodeSequence& sequence() const { return current_; }
  __device__ __forceinline__ int32_t kv_head() const { return kv_head_; }
  __device__ __forceinline__ int32_t tile() const { return tile_; }
  __device__ __forceinline__ int32_t tile_end() const { return tile_end_; }  // of this head
  __device__ __forceinline__ bool IsLastHead() const {
    return index_ == end_sequence_ && kv_head_ == end_kv_head_;
  }

  // Requires: not done.
  __device__ __forceinline__ void Advance() {
    if (++tile_ < tile_end_ || IsLastHead()) return;
    if (++kv_head_ == static_cast<int32_t>(p_.kv.num_kv_heads)) {
      kv_head_ = 0;
      ++index_;
      current_ = next_;
      next_ = p_.plan.decode[index_ + 1];
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

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_DECODE_RING_SM90_CUH_
