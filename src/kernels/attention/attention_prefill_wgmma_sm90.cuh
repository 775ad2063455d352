// budget: one kernel and the parts it is made of, read from top to bottom
// Sequences with many query rows: a block takes 128 rows of one KV head, 64 for each of two
// consumer warpgroups (FlashAttention-3, Shah et al. 2024). A producer warp copies tiles of K and V
// into a ring; scores and values are wgmma m64n128k16, whose accumulators have the layout of
// mma.sync. Of head_dim 128.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_WGMMA_SM90_CUH_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_WGMMA_SM90_CUH_

#include <cstdint>

#include "kernels/attention/attention_decode_ring_sm90.cuh"

namespace vexact::sm90 {

// D = A B (+ D): 64 rows of A and 128 columns, one dot16 step of each. wgmma is asynchronous: fence
// before the first, commit and wait after the last.
__device__ __forceinline__ void WgmmaKeys(float (&d)[16][4], uint64_t a, uint64_t b,
                                          bool accumulate) {
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "setp.ne.b32 p, %66, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, %64, %65, p, 1, 1, 0, 0;\n"
      "}"
      : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]), "+f"(d[1][0]), "+f"(d[1][1]),
        "+f"(d[1][2]), "+f"(d[1][3]), "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]),
        "+f"(d[3][0]), "+f"(d[3][1]), "+f"(d[3][2]), "+f"(d[3][3]), "+f"(d[4][0]), "+f"(d[4][1]),
        "+f"(d[4][2]), "+f"(d[4][3]), "+f"(d[5][0]), "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]),
        "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]), "+f"(d[7][0]), "+f"(d[7][1]),
        "+f"(d[7][2]), "+f"(d[7][3]), "+f"(d[8][0]), "+f"(d[8][1]), "+f"(d[8][2]), "+f"(d[8][3]),
        "+f"(d[9][0]), "+f"(d[9][1]), "+f"(d[9][2]), "+f"(d[9][3]), "+f"(d[10][0]), "+f"(d[10][1]),
        "+f"(d[10][2]), "+f"(d[10][3]), "+f"(d[11][0]), "+f"(d[11][1]), "+f"(d[11][2]),
        "+f"(d[11][3]), "+f"(d[12][0]), "+f"(d[12][1]), "+f"(d[12][2]), "+f"(d[12][3]),
        "+f"(d[13][0]), "+f"(d[13][1]), "+f"(d[13][2]), "+f"(d[13][3]), "+f"(d[14][0]),
        "+f"(d[14][1]), "+f"(d[14][2]), "+f"(d[14][3]), "+f"(d[15][0]), "+f"(d[15][1]),
        "+f"(d[15][2]), "+f"(d[15][3])
      : "l"(a), "l"(b), "r"(accumulate ? 1 : 0));
}

__device__ __forceinline__ void WgmmaValues(float (&d)[16][4], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {"
      "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "
      "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "
      "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
      "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
      "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 1;"
      : "+f"(d[0][0]), "+f"(d[0][1]), "+f"(d[0][2]), "+f"(d[0][3]), "+f"(d[1][0]), "+f"(d[1][1]),
        "+f"(d[1][2]), "+f"(d[1][3]), "+f"(d[2][0]), "+f"(d[2][1]), "+f"(d[2][2]), "+f"(d[2][3]),
        "+f"(d[3][0]), "+f"(d[3][1]), "+f"(d[3][2]), "+f"(d[3][3]), "+f"(d[4][0]), "+f"(d[4][1]),
        "+f"(d[4][2]), "+f"(d[4][3]), "+f"(d[5][0]), "+f"(d[5][1]), "+f"(d[5][2]), "+f"(d[5][3]),
        "+f"(d[6][0]), "+f"(d[6][1]), "+f"(d[6][2]), "+f"(d[6][3]), "+f"(d[7][0]), "+f"(d[7][1]),
        "+f"(d[7][2]), "+f"(d[7][3]), "+f"(d[8][0]), "+f"(d[8][1]), "+f"(d[8][2]), "+f"(d[8][3]),
        "+f"(d[9][0]), "+f"(d[9][1]), "+f"(d[9][2]), "+f"(d[9][3]), "+f"(d[10][0]), "+f"(d[10][1]),
        "+f"(d[10][2]), "+f"(d[10][3]), "+f"(d[11][0]), "+f"(d[11][1]), "+f"(d[11][2]),
        "+f"(d[11][3]), "+f"(d[12][0]), "+f"(d[12][1]), "+f"(d[12][2]), "+f"(d[12][3]),
        "+f"(d[13][0]), "+f"(d[13][1]), "+f"(d[13][2]), "+f"(d[13][3]), "+f"(d[14][0]),
        "+f"(d[14][1]), "+f"(d[14][2]), "+f"(d[14][3]), "+f"(d[15][0]), "+f"(d[15][1]),
        "+f"(d[15][2]), "+f"(d[15][3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void WgmmaFence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void WgmmaCommit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void WgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
}
// Keeps what is done with these registers on its side of the asynchronous steps.
template <int kRows, int kColumns>
__device__ __forceinline__ void HoldRegisters(float (&d)[kRows][kColumns]) {
#pragma unroll
  for (auto& row : d) {
#pragma unroll
    for (float& x : row) asm volatile("" : "+f"(x)::"memory");
  }
}
template <int kRows, int kColumns>
__device__ __forceinline__ void HoldRegisters(uint32_t (&d)[kRows][kColumns]) {
#pragma unroll
  for (auto& row : d) {
#pragma unroll
    for (uint32_t& x : row) asm volatile("" : "+r"(x)::"memory");
  }
}
// What this thread wrote to shared memory is there for wgmma and the copy engine.
__device__ __forceinline__ void FenceAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
template <int kRegisters>
__device__ __forceinline__ void TakeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ __forceinline__ void GiveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// An operand in shared memory with the 128-byte swizzle. Rows of 64 elements are 128 bytes apart, 8
// of them 1024; for an operand whose rows are the K side, `leading_bytes` lie between the columns
// 0-63 and 64-127.
__device__ __forceinline__ uint64_t WgmmaOperand(uint32_t shared, uint32_t leading_bytes,
                                                 uint32_t stride_bytes) {
  return uint64_t{(shared & 0x3ffff) >> 4} | uint64_t{leading_bytes >> 4} << 16 |
         uint64_t{stride_bytes >> 4} << 32 | uint64_t{1} << 62;
}

struct WgmmaPrefillShared {
  static constexpr int kStages = 5;                        // keys and values take turns
  static constexpr int kHalfBytes = kAttentionTile * 128;  // 64 columns of a tile
  static constexpr int kTickets = 2;
  using Stage = unsigned char[2][kHalfBytes];
  using Queries = unsigned char[2][64 * 128];  // [columns 0-63, 64-127]

  alignas(1024) Stage ring[kStages];
  alignas(1024) Queries q[2];  // of each warpgroup
  uint64_t full[kStages];
  uint64_t empty[kStages];
  uint64_t ticket_full[kTickets];
  uint64_t ticket_empty[kTickets];
  int32_t ticket[kTickets];
};

// A unit of work as all of the block see it.
struct WgmmaUnit {
  PrefillUnit rows;
  UnitSequence s;
  int32_t kv_head;
  int32_t tiles;

  __device__ __forceinline__ void Read(const AttentionParameters& p, int32_t ticket) {
    const auto heads = static_cast<int32_t>(p.kv.num_kv_heads);
    rows = p.plan.prefill[ticket / heads];
    kv_head = ticket % heads;
    s = ReadUnitSequence(p, rows.sequence);
    tiles = s.Position((rows.end - 1) / p.group) / kAttentionTile + 1;
  }
};

inline constexpr int kPrefillConsumers = 256;
inline constexpr int kPrefillThreads = 384;

__device__ __forceinline__ void RunPrefillProducer(const AttentionParameters& p,
                                                   const CUtensorMap* map,
                                                   WgmmaPrefillShared* shared) {
  using Shared = WgmmaPrefillShared;
  AttentionCounters* counters = p.plan.counters;
  const int32_t units = counters->prefill * static_cast<int32_t>(p.kv.num_kv_heads);
  RingPlace<Shared::kStages> place;
  RingPlace<Shared::kTickets> mail;
  for (;;) {
    int32_t ticket = 0;
    if (Lane() == 0) ticket = units > 0 ? atomicAdd(&counters->prefill_taken, 1) : 0;
    ticket = __shfl_sync(kAllLanes, ticket, 0);
    if (ticket >= units) ticket = -1;
    WaitBarrier(SharedAddress(&shared->ticket_empty[mail.stage]), mail.round ^ 1);
    if (Lane() == 0) {
      shared->ticket[mail.stage] = ticket;
      Arrive(SharedAddress(&shared->ticket_full[mail.stage]));
    }
    mail.Advance();
    if (ticket < 0) break;
    WgmmaUnit unit;
    unit.Read(p, ticket);
    const int chunk = Lane() % kTileChunks;
    const int half = Lane() / kTileChunks;  // lanes 16 to 31 copy nothing
    for (int32_t tile = 0; tile < unit.tiles; ++tile) {
      const int32_t position = (tile * kTileChunks + chunk) * kChunk;
      const bool there = position < unit.s.context;
      const int32_t block = there ? unit.s.blocks[position >> p.block_shift] : 0;
      const int32_t slot = position & ((1 << p.block_shift) - 1);
#pragma unroll
      for (int part = 0; part < 2; ++part) {
        WaitBarrier(SharedAddress(&shared->empty[place.stage]), place.round ^ 1);
        __syncwarp();
        if (half < 2) {
          const uint32_t full = SharedAddress(&shared->full[place.stage]);
          ArriveExpectBytes(full, there ? kChunk * 128 : 0);
          const auto head = part * static_cast<int32_t>(p.kv.num_kv_heads) + unit.kv_head;
          if (there) {
            CopyBox(SharedAddress(&shared->ring[place.stage][half][chunk * kChunk * 128]), map,
                    (head << p.block_shift) + slot, half, block, full);
          }
        }
        place.Advance();
      }
    }
  }
  if (Lane() != 0) return;
  __threadfence();
  if (atomicAdd(&counters->blocks_finished, 1) == static_cast<int32_t>(gridDim.x) - 1) {
    counters->prefill_taken = 0;
    counters->blocks_finished = 0;
  }
}

class WgmmaPrefillConsumer {
 public:
  using Shared = WgmmaPrefillShared;
  static constexpr int kHeadDim = 128;

  __device__ WgmmaPrefillConsumer(const AttentionParameters& p, uint32_t leading, uint32_t stride,
                                  Shared* shared)
      : p_(p), leading_(leading), stride_(stride), shared_(shared) {}

  __device__ __forceinline__ void Run() {
    RingPlace<Shared::kTickets> mail;
    for (;;) {
      WaitBarrier(SharedAddress(&shared_->ticket_full[mail.stage]), mail.round);
      const int32_t ticket = shared_->ticket[mail.stage];
      if (ticket < 0) return;
      __syncwarp();
      if (Lane() == 0) Arrive(SharedAddress(&shared_->ticket_empty[mail.stage]));
      mail.Advance();
      RunUnit(ticket);
    }
  }

 private:
  static __device__ __forceinline__ int Group() { return WarpIndex() / 4; }
  static __device__ __forceinline__ void MeetGroup() {
    asm volatile("bar.sync %0, 128;" ::"r"(1 + Group()) : "memory");
  }
  static __device__ __forceinline__ void MeetConsumers() {
    asm volatile("bar.sync 3, %0;" ::"n"(kPrefillConsumers) : "memory");
  }
  __device__ __forceinline__ void AwaitStage() const {
    WaitBarrier(SharedAddress(&shared_->full[place_.stage]), place_.round);
  }
  __device__ __forceinline__ void ReleaseStage() {
    __syncwarp();
    if (Lane() == 0) Arrive(SharedAddress(&shared_->empty[place_.stage]));
    place_.Advance();
  }

  // The group's 64 rows to shared memory; rows that are not there become zeros.
  __device__ __forceinline__ void CopyQueries(const WgmmaUnit& unit, int32_t row0) const {
    const bool aligned =
        (reinterpret_cast<uintptr_t>(p_.q.data) | static_cast<uintptr_t>(p_.q.stride * 2)) % 16 ==
        0;
    MeetGroup();  // the last unit's queries are no longer read
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int row = i * 8 + static_cast<int>(threadIdx.x) % 128 / 16;
      const int piece = static_cast<int>(threadIdx.x) % 16;
      const int32_t r = min(row0 + row, unit.rows.end - 1);
      const bf16* from = p_.q.data + piece * 8 +
                         PackedRowOffset(p_, unit.s, unit.kv_head, r, kHeadDim, p_.q.stride);
      uint4 value = {};
      if (row0 + row < unit.rows.end) {
        value = aligned ? *reinterpret_cast<const uint4*>(from)
                        : uint4{LoadPair(from, p_.q_words), LoadPair(from + 2, p_.q_words),
                                LoadPair(from + 4, p_.q_words), LoadPair(from + 6, p_.q_words)};
      }
      const int at = row * 128 + (piece % 8 ^ row % 8) * 16;
      *reinterpret_cast<uint4*>(&shared_->q[Group()][piece / 8][at]) = value;
    }
    FenceAsyncProxy();
    MeetGroup();
  }

  __device__ __forceinline__ void RunUnit(int32_t ticket) {
    WgmmaUnit unit;
    unit.Read(p_, ticket);
    const int32_t row0 = unit.rows.begin + Group() * 64;
    const int32_t last =
        row0 < unit.rows.end ? unit.s.Position((min(row0 + 64, unit.rows.end) - 1) / p_.group) : -1;
    const int32_t tiles = last / kAttentionTile + (last >= 0 ? 1 : 0);  // of the group
    const int32_t first_position = unit.s.Position(unit.rows.begin / p_.group);
    const int32_t warp_row = row0 + WarpIndex() % 4 * kWarpRows;
    const int32_t row = min(warp_row + Lane() / 4, unit.rows.end - 1);
    const int32_t row8 = min(warp_row + Lane() / 4 + 8, unit.rows.end - 1);
    const int32_t position0 = unit.s.Position(row / p_.group);
    const int32_t position1 = unit.s.Position(row8 / p_.group);
    CopyQueries(unit, row0);
    state_.Clear();
    fold_.Clear();
    for (int32_t tile = 0; tile < unit.tiles; ++tile) {
      const bool unseen = (tile + 1) * kAttentionTile > first_position + 1;
      RunTile(tile, tile < tiles, unseen, position0, position1);
      if (tile < tiles && (tile + 1 == tiles || (tile + 1) % kSegmentTiles == 0)) {
        FoldSegment(tile / kSegmentTiles, position0, position1);
        state_.Clear();
      }
    }
    if (warp_row < unit.rows.end) {
      StoreAnswers<kHeadDim>(p_, unit.s, {unit.kv_head, warp_row, unit.rows.end}, fold_.o,
                             fold_.sum);
    }
  }

  // unseen: not all rows of the block see all of the tile.
  __device__ __forceinline__ void RunTile(int32_t tile, bool seen, bool unseen, int32_t position0,
                                          int32_t position1) {
    const int32_t start = tile * kAttentionTile;
    uint32_t probabilities[kTileChunks][4];
    AwaitStage();
    if (seen) {
      float s[16][4] = {};
      Scores(s);
      ReleaseStage();
      state_.Softmax(s, position0 + 1 - start, position1 + 1 - start, p_.scale, probabilities);
    } else {
      ReleaseStage();
    }
    AwaitStage();
    if (unseen) ZeroUnseen();
    if (seen) AddValues(probabilities);
    ReleaseStage();
  }

  __device__ __forceinline__ void Scores(float (&s)[16][4]) const {
    const uint32_t q = SharedAddress(&shared_->q[Group()]);
    const uint32_t keys = SharedAddress(&shared_->ring[place_.stage]);
    HoldRegisters(s);
    WgmmaFence();
#pragma unroll
    for (int k = 0; k < kHeadDim / 16; ++k) {
      const uint32_t column = k % 4 * 32;  // bytes
      WgmmaKeys(s, WgmmaOperand(q + k / 4 * 64 * 128 + column, 16, 1024),
                WgmmaOperand(keys + k / 4 * Shared::kHalfBytes + column, 16, 1024), k > 0);
    }
    WgmmaCommit();
    WgmmaWait();
    HoldRegisters(s);
  }

  __device__ __forceinline__ void AddValues(uint32_t (&probabilities)[kTileChunks][4]) {
    const uint32_t values = SharedAddress(&shared_->ring[place_.stage]);
    HoldRegisters(state_.o);
    HoldRegisters(probabilities);
    WgmmaFence();
#pragma unroll
    for (int i = 0; i < kTileChunks; ++i) {
      WgmmaValues(state_.o, probabilities[i],
                  WgmmaOperand(values + i * kChunk * 128, leading_, stride_));
    }
    WgmmaCommit();
    WgmmaWait();
    HoldRegisters(state_.o);
    HoldRegisters(probabilities);
  }

  // Both groups together, on the values of the tile.
  __device__ __forceinline__ void ZeroUnseen() const {
    unsigned char* values = &shared_->ring[place_.stage][0][0];
    for (int i = static_cast<int>(threadIdx.x); i < 2 * Shared::kHalfBytes / 16;
         i += kPrefillConsumers) {
      ZeroNotFinite(values + i * 16);
    }
    FenceAsyncProxy();
    MeetConsumers();
  }

  __device__ __forceinline__ void FoldSegment(int32_t segment, int32_t position0,
                                              int32_t position1) {
    const int32_t start = segment * kAttentionSegment;
    const FoldScales row0 = FoldRow(state_.sum[0], position0 >= start, &fold_.sum[0]);
    const FoldScales row1 = FoldRow(state_.sum[1], position1 >= start, &fold_.sum[1]);
#pragma unroll
    for (int j = 0; j < kHeadDim / 8; ++j) {
      fold_.o[j][0] = FoldValue(fold_.o[j][0], state_.o[j][0], row0);
      fold_.o[j][1] = FoldValue(fold_.o[j][1], state_.o[j][1], row0);
      fold_.o[j][2] = FoldValue(fold_.o[j][2], state_.o[j][2], row1);
      fold_.o[j][3] = FoldValue(fold_.o[j][3], state_.o[j][3], row1);
    }
  }

  const AttentionParameters& p_;
  uint32_t leading_;
  uint32_t stride_;
  Shared* shared_;
  SegmentState<kHeadDim> state_;
  SegmentState<kHeadDim> fold_;
  RingPlace<Shared::kStages> place_;
};

__device__ __forceinline__ void RunWgmmaPrefill(const AttentionParameters& p,
                                                const CUtensorMap* map, uint32_t leading,
                                                uint32_t stride, WgmmaPrefillShared* shared) {
  using Shared = WgmmaPrefillShared;
  AllowLater();
  if (threadIdx.x == 0) {
    for (int i = 0; i < Shared::kStages; ++i) {
      InitBarrier(SharedAddress(&shared->full[i]), 2 * kTileChunks);
      InitBarrier(SharedAddress(&shared->empty[i]), kPrefillConsumers / kWarp);
    }
    for (int i = 0; i < Shared::kTickets; ++i) {
      InitBarrier(SharedAddress(&shared->ticket_full[i]), 1);
      InitBarrier(SharedAddress(&shared->ticket_empty[i]), kPrefillConsumers / kWarp);
    }
    FenceBarrierInit();
  }
  __syncthreads();
  WaitForEarlier();
  if (threadIdx.x >= kPrefillConsumers) {
    GiveRegisters<24>();
    if (WarpIndex() == kPrefillConsumers / kWarp) RunPrefillProducer(p, map, shared);
  } else {
    TakeRegisters<240>();
    WgmmaPrefillConsumer(p, leading, stride, shared).Run();
  }
}

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_PREFILL_WGMMA_SM90_CUH_
