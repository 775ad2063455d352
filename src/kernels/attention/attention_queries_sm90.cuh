// Queries of prefill units in shared memory: two warps of the producer's warpgroup copy those of
// the next unit while this one's tiles are computed.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_QUERIES_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_QUERIES_SM90_CUH_

#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention_ring_sm90.cuh"
#include "kernels/sm90/wgmma.cuh"

namespace vexact::sm90 {

inline constexpr int kGroupRows = 64;                    // of a consumer warpgroup
inline constexpr int kQueryRunBytes = kGroupRows * 128;  // 64 columns of its queries

// What lane `lane` holds as `row`.
template <typename T>
__device__ __forceinline__ T* RowOfLane(T* row, int lane) {
  return reinterpret_cast<T*>(__shfl_sync(kAllLanes, reinterpret_cast<uintptr_t>(row), lane));
}

struct PrefillBarriers {
  uint64_t full[2];   // of each warpgroup's queries
  uint64_t empty[2];  // likewise
  uint64_t finite;    // both groups have seen to the values of a tile

  // By one thread; then __syncthreads.
  __device__ __forceinline__ void Init() {
    for (int i = 0; i < 2; ++i) {
      InitBarrier(SharedAddress(&full[i]), kWarp);
      InitBarrier(SharedAddress(&empty[i]), 4);  // warps
    }
    InitBarrier(SharedAddress(&finite), kConsumers);
    FenceBarrierInit();
  }
};

// A warp that copies the queries of one consumer warpgroup, unit after unit.
template <typename Ring>
class QueryCopier {
 public:
  static constexpr int kHeadDim = Ring::kHeadDim;

  // q: the group's, runs of 64 columns, each [kGroupRows][64], as wgmma reads an operand.
  __device__ QueryCopier(const AttentionParameters& p, int group, Ring* ring, const void* q,
                         PrefillBarriers* barriers)
      : p_(p),
        group_(group),
        reader_(ring),
        q_(SharedAddress(q)),
        full_(SharedAddress(&barriers->full[group])),
        empty_(SharedAddress(&barriers->empty[group])) {}

  __device__ __forceinline__ void Run(const BlockWork& all, Ticket ticket) {
    for (; ticket.number < all.prefill_units + all.runs; ticket = reader_.NextTicket()) {
      if (ticket.number >= all.prefill_units) continue;
      const int32_t row0 = ticket.work.rows.begin + group_ * kGroupRows;
      if (row0 < ticket.work.rows.end) Copy(ticket.work, row0);
    }
  }

 private:
  // Rows that are not there become zeros. A lane finds the place of a row, for all lanes: found by
  // each lane for each of its pieces they took 1 us more of a launch.
  __device__ __forceinline__ void Copy(const PrefillWork& work, int32_t row0) {
    const bool aligned = IsWide(p_.q);
    WaitBarrier(empty_, round_ ^ 1);
#pragma unroll 1
    for (int half = 0; half < kGroupRows; half += kWarp) {
      const int32_t own = min(row0 + half + Lane(), work.rows.end - 1);
      const bf16* rows = p_.q.data + PackedRowOffset(p_, work.rows.sequence, work.kv_head, own,
                                                     kHeadDim, p_.q.stride);
      const int32_t there = work.rows.end - row0 - half;
      const uint32_t to = q_ + static_cast<uint32_t>(half * 128);
      if (aligned) {
        CopyRows(rows, there, to);
      } else {
        CopyUnaligned(rows, there, to);
      }
    }
    CommitCopies();
    WaitCopies<0>();
    FenceAsyncProxy();
    Arrive(full_);
    round_ ^= 1;
  }

  // 32 rows, lane i has the place of row i; those from `there` on become zeros.
  __device__ __forceinline__ void CopyRows(const bf16* rows, int32_t there, uint32_t to) const {
#pragma unroll 4
    for (int row = Lane() / kPieces; row < kWarp; row += kWarp / kPieces) {
      CopyAsync16(to + PieceOf(row), RowOfLane(rows, row) + Lane() % kPieces * 8,
                  row < there ? 16 : 0);
    }
  }
  __device__ __forceinline__ void CopyUnaligned(const bf16* rows, int32_t there,
                                                uint32_t to) const {
#pragma unroll 1
    for (int row = Lane() / kPieces; row < kWarp; row += kWarp / kPieces) {
      const bf16* from = RowOfLane(rows, row) + Lane() % kPieces * 8;
      uint4 piece = {};
      if (row < there) {
        piece = {LoadPair(from, p_.q_words), LoadPair(from + 2, p_.q_words),
                 LoadPair(from + 4, p_.q_words), LoadPair(from + 6, p_.q_words)};
      }
      *static_cast<uint4*>(__cvta_shared_to_generic(to + PieceOf(row))) = piece;
    }
  }
  // Where the lane's piece of a row lies, in bytes.
  static __device__ __forceinline__ uint32_t PieceOf(int row) {
    const int piece = Lane() % kPieces;
    return static_cast<uint32_t>(piece / 8 * kQueryRunBytes + row * 128 +
                                 (piece % 8 ^ row % 8) * 16);
  }

  static constexpr int kPieces = kHeadDim / 8;  // of a row, 16 bytes each

  const AttentionParameters& p_;
  int group_;
  RingReader<Ring> reader_;
  uint32_t q_;
  uint32_t full_;
  uint32_t empty_;
  uint32_t round_ = 0;
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_QUERIES_SM90_CUH_
