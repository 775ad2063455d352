// Keys and values on their way into shared memory: items of 128 positions of K or V, in turn, which
// all threads of a group copy together, a few items ahead of the one that is read.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_STREAM_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_STREAM_CUH_

#include <cstdint>

#include "kernels/attention/attention_cute_tile.cuh"
#include "kernels/attention/attention_work_sm90.cuh"
#include "kernels/sm90/barrier.cuh"
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
  __device__ PrefillTiles(const sm90::AttentionParameters& p, const sm90::PrefillWork& work)
      : work_(work), blocks_(p.sequences.block_tables + work.rows.sequence.first_block) {}
  __device__ __forceinline__ bool done() const { return tile_ == work_.tile_end; }
  __device__ __forceinline__ void Advance() { ++tile_; }
  __device__ __forceinline__ TilePlace place() const {
    return {blocks_, work_.rows.sequence.context, 0, work_.kv_head, tile_};
  }

 private:
  const sm90::PrefillWork& work_;
  const int32_t* blocks_;
  int32_t tile_ = 0;
};

class DecodeTiles {
 public:
  __device__ DecodeTiles(const sm90::AttentionParameters& p, const sm90::DecodeRun& run)
      : tables_(p.sequences.block_tables), cursor_(p, run) {}
  __device__ __forceinline__ bool done() const { return cursor_.done(); }
  __device__ __forceinline__ void Advance() { cursor_.Advance(); }
  __device__ __forceinline__ TilePlace place() const {
    const sm90::StepSequence& s = cursor_.sequence();
    return {tables_ + s.first_block, s.context, s.context - s.tokens, cursor_.kv_head(),
            cursor_.tile()};
  }

 private:
  const int32_t* tables_;
  sm90::DecodeCursor<CausalMask> cursor_;
};

// Copies the items one after the other, the threads of a group together (cp.async).
template <typename Tiles, int kHeadDim, int kThreads>
class KvCopies {
 public:
  using Slot = SharedRows<kAttentionTile, kHeadDim>;

  // thread: of kThreads.
  __device__ KvCopies(const sm90::AttentionParameters& p, int thread, const Tiles& tiles)
      : p_(p),
        from_(p.kv.pool + thread / kPieces % sm90::kChunk * kHeadDim + thread % kPieces * 8),
        row_(thread / kPieces),
        to_(Slot::Offset(thread / kPieces, thread % kPieces)),
        tiles_(tiles) {
    FindBlocks();
  }

  __device__ __forceinline__ bool done() const { return tiles_.done(); }

  // The next item. Positions that the sequence does not have become zeros. A lane finds the place
  // of one chunk, for all, and there are no branches: with one a row each copy took 50 instructions
  // (8 x 500: 19 us).
  __device__ __forceinline__ void Copy(uint32_t slot) {
    using CopyPiece = cute::SM80_CP_ASYNC_CACHEGLOBAL_ZFILL<cute::uint128_t>;
    const TilePlace at = tiles_.place();
    const int32_t start = at.tile * kAttentionTile;
    if (start + kAttentionTile > at.old) sm90::WaitForEarlier();
    const int32_t left = at.context - start - row_;
    const int32_t head = part_ * static_cast<int32_t>(p_.kv.num_kv_heads) + at.kv_head;
    const int32_t chunk_of_lane =
        block_ * static_cast<int32_t>(p_.kv.block_stride / kChunkElements) +
        (head << ChunkShift()) +
        ((start / sm90::kChunk + sm90::Lane() % sm90::kTileChunks) & ((1 << ChunkShift()) - 1));
    const int first_chunk = kRowsAtOnce > sm90::kChunk ? row_ / sm90::kChunk : 0;
#pragma unroll
    for (int first = 0; first < kAttentionTile; first += kRowsAtOnce) {
      const int32_t chunk =
          __shfl_sync(sm90::kAllLanes, chunk_of_lane, first / sm90::kChunk + first_chunk);
      const bf16* from = from_ + int64_t{chunk} * kChunkElements;
      CopyPiece::copy(
          *reinterpret_cast<const cute::uint128_t*>(from + first % sm90::kChunk * kHeadDim),
          AtShared(slot + to_ + first * Slot::kRowBytes), first < left);
    }
    part_ ^= 1;
    if (part_ == 0) {
      tiles_.Advance();
      FindBlocks();
    }
  }

 private:
  static constexpr int kPieces = kHeadDim / 8;            // of a row, 16 bytes each
  static constexpr int kRowsAtOnce = kThreads / kPieces;  // a multiple of 8
  static constexpr int kChunkElements = sm90::kChunk * kHeadDim;
  static_assert(kAttentionTile % kRowsAtOnce == 0 && kRowsAtOnce % 8 == 0);

  __device__ __forceinline__ int ChunkShift() const { return p_.block_shift - 4; }  // of a block

  // Lane i holds the block of chunk i of the tile: asked for an item before it is used.
  __device__ __forceinline__ void FindBlocks() {
    block_ = 0;
    if (tiles_.done()) return;
    const TilePlace at = tiles_.place();
    const int32_t position =
        at.tile * kAttentionTile + sm90::Lane() % sm90::kTileChunks * sm90::kChunk;
    if (position < at.context) block_ = __ldcg(at.blocks + (position >> p_.block_shift));
  }

  const sm90::AttentionParameters& p_;
  const bf16* from_;  // this thread's first piece in chunk 0
  int row_;           // of an item: its first
  uint32_t to_;       // of a slot: its first piece
  Tiles tiles_;
  int part_ = 0;       // of the next item to copy: K, V
  int32_t block_ = 0;  // of a chunk of the next item's tile
};

// For a group that meets at every item anyway.
template <typename Tiles, int kHeadDim, int kThreads, int kSlots>
class KvStream {
 public:
  using Copies = KvCopies<Tiles, kHeadDim, kThreads>;
  using Slot = typename Copies::Slot;
  struct Shared {
    Slot slots[kSlots];
  };

  // Begins to copy; nobody reads the slots any more. barrier: the group's named one.
  __device__ KvStream(const sm90::AttentionParameters& p, Shared* shared, int thread, int barrier,
                      const Tiles& tiles)
      : slots_(sm90::HeldAddress(shared->slots)), barrier_(barrier), copies_(p, thread, tiles) {
#pragma unroll 1
    for (int i = 0; i < kSlots - 1; ++i) CopyNext();
  }

  // The next item, there for all of the group, which meets here: the item before is no longer read,
  // and CopyNext may follow.
  __device__ __forceinline__ uint32_t Await() {
    cute::cp_async_wait<kSlots - 2>();
    MeetAt(barrier_, kThreads);
    const uint32_t slot = slots_ + read_ * sizeof(Slot);
    if (++read_ == kSlots) read_ = 0;
    return slot;
  }

  // Once after each Await: a further item into the slot that it freed. One group of copies, empty
  // behind the last item.
  __device__ __forceinline__ void CopyNext() {
    if (!copies_.done()) {
      copies_.Copy(slots_ + write_ * sizeof(Slot));
      if (++write_ == kSlots) write_ = 0;
    }
    cute::cp_async_fence();
  }

 private:
  uint32_t slots_;
  int barrier_;
  Copies copies_;
  uint32_t write_ = 0;  // the next item's slot
  uint32_t read_ = 0;   // the next item's to await
};

// For warps that share nothing else: one may be an item ahead of another, so that its products run
// while the other has no use for the tensor cores (prefill of 8192 tokens with a meeting at every
// item: 1316 us, this way 1111). Every thread arrives: compute-sanitizer follows nothing else, and
// with one lane a warp it took 1159.
template <int kHeadDim, int kThreads, int kSlots>
class KvRing {
 public:
  using Slot = SharedRows<kAttentionTile, kHeadDim>;
  struct Shared {
    Slot slots[kSlots];
  };
  struct Barriers {
    uint64_t full[kSlots];   // all threads' copies are there
    uint64_t empty[kSlots];  // all threads have read
  };
  static constexpr int kAhead = kSlots - 2;  // items under way

  // One thread, before the block meets.
  static __device__ void Init(Barriers* barriers) {
    for (int i = 0; i < kSlots; ++i) {
      sm90::InitBarrier(sm90::SharedAddress(&barriers->full[i]), kThreads);
      sm90::InitBarrier(sm90::SharedAddress(&barriers->empty[i]), kThreads);
    }
  }

  __device__ KvRing(Shared* shared, Barriers* barriers)
      : slots_(sm90::HeldAddress(shared->slots)), full_(sm90::HeldAddress(barriers->full)) {}

  // The next item.
  __device__ __forceinline__ uint32_t Await() {
    sm90::WaitBarrier(full_ + read_.stage * 8, read_.round);
    return slots_ + read_.stage * sizeof(Slot);
  }
  // Once after each Await, when this thread has read the item.
  __device__ __forceinline__ void Release() {
    sm90::Arrive(full_ + kEmpty + read_.stage * 8);
    read_.Advance();
  }
  // kAhead times before the first Await, then once after each Release.
  template <typename Copies>
  __device__ __forceinline__ void CopyNext(Copies* copies) {
    if (copies->done()) return;
    sm90::WaitBarrier(full_ + kEmpty + write_.stage * 8, write_.round ^ 1);
    copies->Copy(slots_ + write_.stage * sizeof(Slot));
    ArriveAfterCopies(full_ + write_.stage * 8);
    write_.Advance();
  }

 private:
  static constexpr uint32_t kEmpty = offsetof(Barriers, empty);

  uint32_t slots_;
  uint32_t full_;
  sm90::RingPlace<kSlots> read_;
  sm90::RingPlace<kSlots> write_;
};

}  // namespace vexact::portable

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_CUTE_STREAM_CUH_
