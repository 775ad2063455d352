// Keys and values on their way into shared memory: items of 128 positions of K or V, in turn, which
// all threads of a group copy together (cp.async), a few items ahead of the one that is read.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_STREAM_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_STREAM_CUH_

#include <cstdint>

#include "kernels/attention/attention_cute_tile.cuh"
#include "kernels/attention/attention_work_sm90.cuh"
#include "kernels/sm90/dependent_launch.cuh"

namespace vexact::portable {

// A tile of one sequence and KV head.
struct TilePlace {
  const int32_t* blocks;  // of the sequence: position p is in blocks[p >> block_shift]
  int32_t context;
  int32_t old;  // positions of earlier steps, which may be read before WaitForEarlier (attention.h)
  int32_t kv_head;
  int32_t tile;
};

// The tiles of a prefill unit and of a run of decode work, in their order.
class PrefillTiles {
 public:
  __device__ explicit PrefillTiles(const sm90::PrefillWork& work) : work_(work) {}
  __device__ __forceinline__ bool done() const { return tile_ == work_.tile_end; }
  __device__ __forceinline__ void Advance() { ++tile_; }
  __device__ __forceinline__ TilePlace place() const {
    return {work_.s.blocks, work_.s.context, 0, work_.kv_head, tile_};
  }

 private:
  const sm90::PrefillWork& work_;
  int32_t tile_ = 0;
};

class DecodeTiles {
 public:
  __device__ DecodeTiles(const sm90::AttentionParameters& p, const sm90::DecodeRun& run)
      : tables_(p.sequences.block_tables), cursor_(p, run) {}
  __device__ __forceinline__ bool done() const { return cursor_.done(); }
  __device__ __forceinline__ void Advance() { cursor_.Advance(); }
  __device__ __forceinline__ TilePlace place() const {
    const sm90::DecodeSequence& s = cursor_.sequence();
    return {tables_ + s.first_block, s.context, s.context - s.tokens, cursor_.kv_head(),
            cursor_.tile()};
  }

 private:
  const int32_t* tables_;
  sm90::DecodeCursor<CausalMask> cursor_;
};

// The threads that share a stream, and their named barrier.
struct StreamGroup {
  int thread;  // of kThreads
  int barrier;
};

template <int kHeadDim, int kThreads, int kSlots>
struct StreamShared {
  SharedRows<kAttentionTile, kHeadDim> slots[kSlots];
};

template <typename Tiles, int kHeadDim, int kThreads, int kSlots>
class KvStream {
 public:
  using Shared = StreamShared<kHeadDim, kThreads, kSlots>;
  using Slot = SharedRows<kAttentionTile, kHeadDim>;

  // Begins to copy; nobody reads the slots any more.
  __device__ KvStream(const sm90::AttentionParameters& p, Shared* shared, StreamGroup group,
                      const Tiles& tiles)
      : p_(p), shared_(shared), group_(group), tiles_(tiles) {
    FindBlocks();
#pragma unroll 1
    for (int i = 0; i < kSlots - 1; ++i) CopyNext();
  }

  // The next item, there for all of the group, which meets here: the item before is no longer read,
  // and CopyNext may follow.
  __device__ __forceinline__ Slot* Await() {
    cute::cp_async_wait<kSlots - 2>();
    MeetAt(group_.barrier, kThreads);
    Slot* const slot = &shared_->slots[read_];
    if (++read_ == kSlots) read_ = 0;
    return slot;
  }

  // Once after each Await: a further item into the slot that it freed. One group of copies, empty
  // behind the last item.
  __device__ __forceinline__ void CopyNext() {
    if (!tiles_.done()) {
      Copy(tiles_.place());
      part_ ^= 1;
      if (part_ == 0) {
        tiles_.Advance();
        FindBlocks();
      }
      if (++write_ == kSlots) write_ = 0;
    }
    cute::cp_async_fence();
  }

 private:
  static constexpr int kPieces = kHeadDim / 8;            // of a row, 16 bytes each
  static constexpr int kRowsAtOnce = kThreads / kPieces;  // a multiple of 8
  static_assert(kAttentionTile % kRowsAtOnce == 0 && kRowsAtOnce % 8 == 0);

  // Lane i holds the block of chunk i of the tile: asked for an item before it is used.
  __device__ __forceinline__ void FindBlocks() {
    block_ = 0;
    if (tiles_.done()) return;
    const TilePlace at = tiles_.place();
    const int32_t position =
        at.tile * kAttentionTile + sm90::Lane() % sm90::kTileChunks * sm90::kChunk;
    if (position < at.context) block_ = __ldcg(at.blocks + (position >> p_.block_shift));
  }

  // A lane finds the addresses of one chunk, for all. Positions that the sequence does not have
  // become zeros. No branches: with one a row each copy took 50 instructions (8 x 500: 19 us).
  __device__ __forceinline__ void Copy(const TilePlace& at) const {
    using CopyPiece = cute::SM80_CP_ASYNC_CACHEGLOBAL_ZFILL<cute::uint128_t>;
    const int32_t start = at.tile * kAttentionTile;
    if (start + kAttentionTile > at.old) sm90::WaitForEarlier();
    const int chunk = sm90::Lane() % sm90::kTileChunks;
    const auto chunk_offset = static_cast<long long>(
        sm90::KvOffset<kHeadDim>(p_, block_, part_, at.kv_head, start + chunk * sm90::kChunk));
    const int row = group_.thread / kPieces;
    const int piece = group_.thread % kPieces;
    const bf16* from = p_.kv.pool + row % sm90::kChunk * kHeadDim + piece * 8;
    bf16* to = shared_->slots[write_].Piece(row, piece);
    const int32_t left = at.context - start - row;
#pragma unroll
    for (int first = 0; first < kAttentionTile; first += kRowsAtOnce) {
      const long long offset =
          __shfl_sync(sm90::kAllLanes, chunk_offset, (first + row) / sm90::kChunk);
      CopyPiece::copy(Words(from + offset + first % sm90::kChunk * kHeadDim),
                      *reinterpret_cast<cute::uint128_t*>(to + first * Slot::kRun), first < left);
    }
  }

  const sm90::AttentionParameters& p_;
  Shared* shared_;
  StreamGroup group_;
  Tiles tiles_;
  int part_ = 0;       // of the next item to copy: K, V
  int write_ = 0;      // its slot
  int read_ = 0;       // the next item's to await
  int32_t block_ = 0;  // of a chunk of the next item's tile
};

}  // namespace vexact::portable

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_STREAM_CUH_
