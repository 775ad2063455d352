// The ring through which a producer warp hands keys and values to the 8 consumer warps of a block,
// tile after tile of 128 positions, and the producer: it takes the block's work, copies what the
// work reads with the copy engine, and says to the consumers what they compute.
//
// Without prefill in the step, block b does run b of the decode work; then positions of earlier
// steps are copied before the kernels ahead have finished (attention.h says why they may be), so
// that a layer's keys and values stream in while its queries are computed. With prefill, blocks
// take prefill's units and then decode's runs from one list, by tickets: the first is the block's
// index, the producer takes the others and posts them to the block's other warps.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_RING_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_RING_SM90_CUH_

#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention_parameters_sm90.cuh"
#include "kernels/attention/attention_work_sm90.cuh"
#include "kernels/sm90/async_copy.cuh"
#include "kernels/sm90/barrier.cuh"
#include "kernels/sm90/dependent_launch.cuh"
#include "kernels/sm90/reduce.cuh"

namespace vexact::sm90 {

inline constexpr int kConsumers = kAttentionWarps * kWarp;        // threads
inline constexpr int kAttentionThreads = kConsumers + 4 * kWarp;  // the producer's warpgroup behind
inline constexpr int kQueryCopiers = 2 * kWarp;                   // in it too, of prefill
inline constexpr int kTicketReaders = kConsumers + kQueryCopiers;

__device__ __forceinline__ void MeetConsumers() {
  asm volatile("bar.sync 1, %0;" ::"n"(kConsumers) : "memory");
}

// What a step has for its blocks.
struct BlockWork {
  int32_t prefill_units;  // of all KV heads
  int32_t runs;           // of decode
};

// A piece of it, in steps with prefill.
struct Ticket {
  PrefillWork work;  // of one of prefill
  int32_t number;
};

// Keys and values take turns. A stage of decode is chunks one after the other; of prefill it is
// runs of columns, each [128][64], as wgmma reads an operand.
template <int kHeadDimension, int kRingStages>
struct KvRing {
  static constexpr int kHeadDim = kHeadDimension;
  static constexpr int kStageBytes = kTileChunks * KvChunk<kHeadDim>::kBytes;
  static constexpr int kStages = kRingStages;
  static constexpr int kTickets = 2;

  alignas(1024) unsigned char stages[kStages][kStageBytes];
  uint64_t full[kStages];
  uint64_t empty[kStages];
  uint64_t ticket_full[kTickets];
  uint64_t ticket_empty[kTickets];
  Ticket tickets[kTickets];
  // What the block begins with, read while it is not yet known whether the step has prefill.
  DecodeRun own_run;     // of the block's index
  PrefillUnit own_unit;  // of the ticket of that number

  // By warps 1 and 2; then __syncthreads.
  __device__ __forceinline__ void LoadOwnRun(const AttentionParameters& p) {
    static_assert(sizeof(DecodeRun) == 2 * sizeof(DecodeBoundary));
    LoadShared(p.plan.boundaries + blockIdx.x, &own_run);
  }
  __device__ __forceinline__ void LoadOwnUnit(const AttentionParameters& p) {
    LoadShared(p.plan.prefill + blockIdx.x / static_cast<uint32_t>(p.kv.num_kv_heads), &own_unit);
  }
  __device__ __forceinline__ DecodeRun RunAt(const AttentionParameters& p, int32_t run) const {
    return run == static_cast<int32_t>(blockIdx.x) ? own_run : ReadRun(p, run);
  }

  // The first ticket of a block is its index: the longest units come first.
  template <typename Mask>
  __device__ __forceinline__ Ticket FirstTicket(const AttentionParameters& p,
                                                const BlockWork& all) const {
    const auto heads = static_cast<int32_t>(p.kv.num_kv_heads);
    Ticket ticket{{}, static_cast<int32_t>(blockIdx.x)};
    if (ticket.number < all.prefill_units) {
      ticket.work = WorkOf<Mask>(p, own_unit, ticket.number % heads);
    }
    return ticket;
  }

  // By one thread; then __syncthreads.
  __device__ __forceinline__ void Init() {
    for (int i = 0; i < kStages; ++i) {
      InitBarrier(SharedAddress(&full[i]), 1);
      InitBarrier(SharedAddress(&empty[i]), kAttentionWarps);
    }
    for (int i = 0; i < kTickets; ++i) {
      InitBarrier(SharedAddress(&ticket_full[i]), 1);
      InitBarrier(SharedAddress(&ticket_empty[i]), kTicketReaders);
    }
    FenceBarrierInit();
  }

 private:
  // By a warp.
  template <typename T, typename From>
  static __device__ __forceinline__ void LoadShared(const From* from, T* shared) {
    if (Lane() >= static_cast<int>(sizeof(T) / 16)) return;
    reinterpret_cast<int4*>(shared)[Lane()] = __ldcg(reinterpret_cast<const int4*>(from) + Lane());
  }
};

// What a consumer warp sees of the ring.
template <typename Ring>
class RingReader {
 public:
  using Place = RingPlace<Ring::kStages>;

  __device__ explicit RingReader(Ring* ring) : ring_(ring), base_(HeldAddress(ring)) {}

  // The place of the stage that comes next.
  __device__ __forceinline__ Place Take() {
    const Place place = place_;
    place_.Advance();
    return place;
  }
  // The stage's address in the shared window, once it is there.
  __device__ __forceinline__ uint32_t Await(const Place& place) const {
    WaitBarrier(base_ + static_cast<uint32_t>(offsetof(Ring, full) + place.stage * 8), place.round);
    return base_ + static_cast<uint32_t>(place.stage * Ring::kStageBytes);
  }
  // The warp has read it.
  __device__ __forceinline__ void Release(const Place& place) const {
    __syncwarp();
    if (Lane() == 0) Arrive(base_ + static_cast<uint32_t>(offsetof(Ring, empty) + place.stage * 8));
  }
  // The block's next one, after its first. Every thread arrives: compute-sanitizer does not see
  // through __syncwarp.
  __device__ __forceinline__ Ticket NextTicket() {
    WaitBarrier(SharedAddress(&ring_->ticket_full[mail_.stage]), mail_.round);
    const Ticket ticket = ring_->tickets[mail_.stage];
    Arrive(SharedAddress(&ring_->ticket_empty[mail_.stage]));
    mail_.Advance();
    return ticket;
  }

 private:
  Ring* ring_;
  uint32_t base_;
  Place place_;
  RingPlace<Ring::kTickets> mail_;
};

template <typename Ring, typename Mask>
class RingProducer {
 public:
  using Chunk = KvChunk<Ring::kHeadDim>;

  __device__ RingProducer(const AttentionParameters& p, Ring* ring) : p_(p), ring_(ring) {}

  // The whole warp.
  template <bool kPrefill>
  __device__ __forceinline__ void Run(const BlockWork& work) {
    if constexpr (kPrefill) {
      if (work.prefill_units > 0) return RunByTickets(work);
    }
    if (static_cast<int32_t>(blockIdx.x) < work.runs) CopyRun(static_cast<int32_t>(blockIdx.x));
  }

 private:
  static constexpr int kWindow = kWarp / kTileChunks;  // tiles whose blocks the lanes hold

  __device__ __forceinline__ void RunByTickets(const BlockWork& work) {
    Ticket ticket = ring_->template FirstTicket<Mask>(p_, work);
    Wait();
    while (ticket.number < work.prefill_units) {
      ticket = CopyUnit(work, ticket);
      Post(ticket);
    }
    while (ticket.number - work.prefill_units < work.runs) {
      CopyRun(ticket.number - work.prefill_units);
      ticket.number = TakeTicket();
      Post(ticket);
    }
    if (Lane() == 0) FinishTickets(p_.plan.counters);
  }

  // Lane 0's is the number.
  __device__ __forceinline__ int32_t AskForTicket() const {
    int32_t number = 0;
    if (Lane() == 0) {
      number = static_cast<int32_t>(gridDim.x) + atomicAdd(&p_.plan.counters->taken, 1);
    }
    return number;
  }
  __device__ __forceinline__ int32_t TakeTicket() const {
    return __shfl_sync(kAllLanes, AskForTicket(), 0);
  }
  __device__ __forceinline__ void ReadWork(const BlockWork& all, Ticket* ticket) const {
    if (ticket->number >= all.prefill_units) return;
    const auto heads = static_cast<int32_t>(p_.kv.num_kv_heads);
    const int32_t unit = ticket->number / heads;
    ticket->work =
        WorkOf<Mask>(p_, LoadPlanned(p_.plan.prefill + unit), ticket->number - unit * heads);
  }

  __device__ __forceinline__ void Wait() {
    if (!waited_) WaitForEarlier();
    waited_ = true;
  }
  // To the block's other warps.
  __device__ __forceinline__ void Post(const Ticket& ticket) {
    WaitBarrier(SharedAddress(&ring_->ticket_empty[mail_.stage]), mail_.round ^ 1);
    if (Lane() == 0) {
      ring_->tickets[mail_.stage] = ticket;
      Arrive(SharedAddress(&ring_->ticket_full[mail_.stage]));
    }
    mail_.Advance();
  }

  // The next stage, empty, to be filled with `chunks` chunks.
  __device__ __forceinline__ int Acquire(int32_t chunks) {
    const int stage = place_.stage;
    WaitBarrier(SharedAddress(&ring_->empty[stage]), place_.round ^ 1);
    if (Lane() == 0) {
      ArriveExpectBytes(SharedAddress(&ring_->full[stage]),
                        static_cast<uint32_t>(chunks * Chunk::kBytes));
    }
    __syncwarp();
    place_.Advance();
    return stage;
  }

  // Row of the pool's tensor maps: of a position, in a head of K (part 0) or V (part 1).
  __device__ __forceinline__ int32_t MapRow(int part, int32_t kv_head, int32_t position) const {
    const auto head = part * static_cast<int32_t>(p_.kv.num_kv_heads) + kv_head;
    return (head << p_.block_shift) + (position & ((1 << p_.block_shift) - 1));
  }

  // Of a chunk that holds no position of the sequence nothing is copied, and nothing is read.
  __device__ __forceinline__ void CopyRun(int32_t run) {
    table_ = -1;
    DecodeCursor<Mask> cursor(p_, ring_->RunAt(p_, run));
    for (; !cursor.done(); cursor.Advance()) {
      FindBlocks(cursor);
      const StepSequence& s = cursor.sequence();
      const int32_t first = cursor.tile() * kTileChunks;
      const int32_t chunks = min(kTileChunks, (s.context + kChunk - 1) / kChunk - first);
      // Before this step's own positions, which a kernel just ahead writes.
      const int32_t old_chunks = min(chunks, max(0, (s.context - s.tokens) / kChunk - first));
      const int keys = Acquire(chunks);
      if (waited_ || old_chunks == chunks) {
        CopyChunks(cursor, keys, 0, 0, chunks);
        CopyChunks(cursor, Acquire(chunks), 1, 0, chunks);
        continue;
      }
      CopyChunks(cursor, keys, 0, 0, old_chunks);
      const int values = Acquire(chunks);
      CopyChunks(cursor, values, 1, 0, old_chunks);
      Wait();
      CopyChunks(cursor, keys, 0, old_chunks, chunks);
      CopyChunks(cursor, values, 1, old_chunks, chunks);
    }
  }

  // Lane i holds the block of chunk i from window_ on. Past the L1 cache: a table that an earlier
  // step had at this place may still lie there.
  __device__ __forceinline__ void FindBlocks(const DecodeCursor<Mask>& cursor) {
    const StepSequence& s = cursor.sequence();
    const int32_t tile = cursor.tile();
    if (s.first_block == table_ && tile >= window_ && tile < window_ + kWindow) return;
    table_ = s.first_block;
    window_ = tile;
    const int32_t position = tile * kAttentionTile + Lane() * kChunk;
    const int32_t* blocks = p_.sequences.block_tables + s.first_block;
    block_ = position < s.context ? __ldcg(blocks + (position >> p_.block_shift)) : 0;
  }

  // Chunks [begin, end) of keys (part 0) or values (part 1) of the cursor's tile, a lane a chunk.
  __device__ __forceinline__ void CopyChunks(const DecodeCursor<Mask>& cursor, int stage, int part,
                                             int32_t begin, int32_t end) const {
    const int chunk = Lane() % kTileChunks;
    const int32_t block =
        __shfl_sync(kAllLanes, block_, (cursor.tile() - window_) * kTileChunks + chunk);
    if (Lane() < begin || Lane() >= end) return;
    const int32_t position = cursor.tile() * kAttentionTile + chunk * kChunk;
    CopyBox(SharedAddress(ring_->stages[stage] + chunk * Chunk::kBytes), &p_.chunks,
            MapRow(part, cursor.kv_head(), position), 0, block, SharedAddress(&ring_->full[stage]));
  }

  // A lane a chunk and run of columns. Returns the next ticket: asked for two tiles before the end,
  // so that neither it nor its work is waited for, and not before, so that who is done first gets
  // the next one.
  __device__ __forceinline__ Ticket CopyUnit(const BlockWork& all, const Ticket& ticket) {
    constexpr int kRunBytes = kAttentionTile * Chunk::kRunColumns * 2;
    const PrefillWork& work = ticket.work;
    const StepSequence& s = work.rows.sequence;
    const int32_t* blocks = p_.sequences.block_tables + s.first_block;
    const int chunk = Lane() % kTileChunks;
    const int run = Lane() / kTileChunks;
    Ticket next{};
    for (int32_t tile = work.first_tile; tile < work.tile_end; ++tile) {
      const int32_t position = tile * kAttentionTile + chunk * kChunk;
      const bool there = run < Chunk::kRuns && position < s.context;
      const int32_t block = there ? __ldcg(blocks + (position >> p_.block_shift)) : 0;
      if (tile == max(work.first_tile, work.tile_end - 2)) next.number = AskForTicket();
      if (tile == work.tile_end - 1) {
        next.number = __shfl_sync(kAllLanes, next.number, 0);
        ReadWork(all, &next);
      }
      const int32_t chunks =
          min(kTileChunks, (s.context + kChunk - 1) / kChunk - tile * kTileChunks);
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        const int stage = Acquire(chunks);
        if (!there) continue;
        CopyBox(SharedAddress(ring_->stages[stage] + run * kRunBytes + chunk * kRunBytes / 8),
                &p_.chunk_runs, MapRow(part, work.kv_head, position), run, block,
                SharedAddress(&ring_->full[stage]));
      }
    }
    return next;
  }

  const AttentionParameters& p_;
  Ring* ring_;
  RingPlace<Ring::kStages> place_;
  RingPlace<Ring::kTickets> mail_;
  bool waited_ = false;
  int32_t table_ = -1;
  int32_t window_ = 0;
  int32_t block_ = 0;
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_RING_SM90_CUH_
