// Selection of the first tokens of a row in (y descending, id ascending) order, by number or by
// softmax weight, by one CTA and without sorting the row.
//
// Every token has an order: one integer, larger for a token that comes earlier, so the tokens that
// a filter keeps are those from some order on: its cut. A guess from the maxima of the blocks
// usually leaves few enough tokens to sort them in shared memory. Where it does not, passes over
// the row narrow the range of the cut to an eighth each, until the tokens in it are few. Every pass
// reads only the blocks whose maximum reaches the range.
#ifndef VEXACT_KERNELS_SM90_SELECT_CUH_
#define VEXACT_KERNELS_SM90_SELECT_CUH_

#include <cstdint>

#include "kernels/sm90/logit_blocks.cuh"

namespace vexact::sm90 {

inline constexpr int kOrderIdBits = 18;
static_assert(kMaxVocab == int64_t{1} << kOrderIdBits);
using TokenOrder = uint64_t;
inline constexpr TokenOrder kAboveAllOrders = TokenOrder{1} << (32 + kOrderIdBits);

__device__ __forceinline__ TokenOrder OrderOf(float y, int id) {
  return (TokenOrder{OrderKey(y)} << kOrderIdBits) +
         static_cast<uint32_t>(static_cast<int>(kMaxVocab) - 1 - id);
}
__device__ __forceinline__ int IdOfOrder(TokenOrder order) {
  return static_cast<int>(kMaxVocab) - 1 - static_cast<int>(order & (kMaxVocab - 1));
}
__device__ __forceinline__ float ValueOfOrder(TokenOrder order) {
  return ValueOfOrderKey(static_cast<uint32_t>(order >> kOrderIdBits));
}
// The tokens whose value is at least y (not NaN) are those from this order on.
__device__ __forceinline__ TokenOrder OrderAtLeast(float y) {
  return TokenOrder{OrderKey(y)} << kOrderIdBits;
}

// What FindCut adds up.
struct CountMeasure {
  __device__ uint64_t operator()(float) const { return 1; }
};
struct WeightMeasure {
  float minus_exponent;
  __device__ uint64_t operator()(float y) const { return SoftmaxTermOf(y, minus_exponent); }
};

inline constexpr int kMaxListed = 2048;

struct SelectorShared {
  TokenOrder list[kMaxListed];
  uint16_t active[kMaxVocab / kVocabBlock];
  int num_active;
  int num_listed;
  TokenOrder cut;
};

// All threads of the CTA call every member together. `row` has no faults; block_max [blocks] are
// the largest y of each block.
template <int kThreads>
class Selector {
 public:
  __device__ Selector(const ScaledLogits& row, const float* block_max, SelectorShared* shared)
      : row_(row), block_max_(block_max), shared_(*shared) {}

  // The sum of measure(y) over the tokens of orders [from, below).
  template <typename Measure>
  __device__ uint64_t SumFrom(Measure measure, TokenOrder from,
                              TokenOrder below = kAboveAllOrders) {
    uint64_t sum = 0;
    VisitFrom(from, [&](TokenOrder order, float y) {
      if (order >= from && order < below) sum += measure(y);
      return true;
    });
    return ReduceCta<kThreads, Sum>(sum, uint64_t{0});
  }

  // The order of the last of the tokens of orders [floor, below), taken in order while the measure
  // of those before is less than `wanted` (at least 1); floor, if all together do not reach it.
  // Looks from `guess` on first.
  template <typename Measure>
  __device__ TokenOrder FindCut(Measure measure, uint64_t wanted, TokenOrder floor,
                                TokenOrder guess, TokenOrder below = kAboveAllOrders) {
    TokenOrder from = guess > floor ? guess : floor;
    uint64_t above = 0;  // the measure of tokens that come before the range [from, below)
    while (true) {
      if (!List(from, below)) {
        Narrow(measure, wanted, &from, &below, &above);
        continue;
      }
      SortListed();
      const TokenOrder cut = CutOfListed(measure, wanted, &above);
      if (cut != 0) return cut;
      if (from == floor) return floor;
      below = from;
      from = floor;
    }
  }

  // Lists the tokens of orders [from, below), in no order. False if they are more than kMaxListed.
  __device__ bool List(TokenOrder from, TokenOrder below) {
    __syncthreads();
    if (threadIdx.x == 0) shared_.num_listed = 0;
    VisitFrom(from, [&](TokenOrder order, float) {
      if (order >= from && order < below) {
        const int place = atomicAdd(&shared_.num_listed, 1);
        if (place >= kMaxListed) return false;
        shared_.list[place] = order;
      }
      return true;
    });
    __syncthreads();
    return shared_.num_listed <= kMaxListed;
  }
  __device__ int num_listed() const { return shared_.num_listed; }
  __device__ TokenOrder listed(int i) const { return shared_.list[i]; }

  // Bitonic, descending (Batcher, 1968), padded to a power of two.
  __device__ void SortListed() {
    int size = 1;
    while (size < shared_.num_listed) size *= 2;
    TokenOrder* const list = shared_.list;
    for (int i = shared_.num_listed + Thread(); i < size; i += kThreads) list[i] = 0;
    for (int run = 2; run <= size; run *= 2) {
      for (int stride = run / 2; stride >= 1; stride /= 2) {
        __syncthreads();
        for (int i = Thread(); i < size / 2; i += kThreads) {
          const int low = 2 * i - (i & (stride - 1));
          const TokenOrder a = list[low];
          const TokenOrder b = list[low + stride];
          if ((a < b) == ((low & run) == 0)) {
            list[low] = b;
            list[low + stride] = a;
          }
        }
      }
    }
    __syncthreads();
  }

  // An order that at least k tokens reach, k blocks' maxima being such; 0 if k > blocks.
  __device__ TokenOrder GuessOfTop(int k) {
    const int blocks = row_.blocks();
    if (k > blocks) return 0;
    constexpr int kLowestBit = 12;  // 2^-11 of a value: a guess need not be sharper
    uint32_t key = 0;
    for (int bit = 31; bit >= kLowestBit; --bit) {
      const uint32_t higher = key | (1u << bit);
      int reaching = 0;
      for (int first = 0; first < blocks; first += kThreads) {
        const int b = first + Thread();
        reaching += __syncthreads_count(b < blocks && OrderKey(block_max_[b]) >= higher ? 1 : 0);
      }
      if (reaching >= k) key = higher;
    }
    return TokenOrder{key} << kOrderIdBits;
  }

 private:
  __device__ static int Thread() { return static_cast<int>(threadIdx.x); }

  // Calls visit(order, y) for the tokens of blocks whose maximum reaches `from`, which are more
  // than those of orders from `from` on. A visit that returns false may end its thread's visits.
  template <typename Visit>
  __device__ void VisitFrom(TokenOrder from, Visit visit) {
    constexpr int kWarps = kThreads / kWarp;
    constexpr int kBatch = 4;  // blocks under way
    const auto from_key = static_cast<uint32_t>(from >> kOrderIdBits);
    __syncthreads();
    if (threadIdx.x == 0) shared_.num_active = 0;
    __syncthreads();
    for (int b = Thread(); b < row_.blocks(); b += kThreads) {
      if (OrderKey(block_max_[b]) >= from_key) {
        shared_.active[atomicAdd(&shared_.num_active, 1)] = static_cast<uint16_t>(b);
      }
    }
    __syncthreads();
    const int num_active = shared_.num_active;
    for (int first = WarpIndex() * kBatch; first < num_active; first += kWarps * kBatch) {
      LaneLogits logits[kBatch];
      int blocks[kBatch];
#pragma unroll
      for (int n = 0; n < kBatch; ++n) {
        blocks[n] = shared_.active[min(first + n, num_active - 1)];
      }
      LoadLogits(row_, blocks, logits);
#pragma unroll
      for (int n = 0; n < kBatch; ++n) {
        if (first + n >= num_active) break;
        const LaneValues values = ValuesOf(row_, blocks[n], logits[n]);
#pragma unroll
        for (int i = 0; i < kLaneIds; ++i) {
          const float y = values.y[i];
          if (!visit(OrderOf(y, FirstIdOfLane(blocks[n]) + i), y)) return;
        }
      }
    }
  }

  // One pass of seven thresholds between from and below, of which those next to the cut become the
  // new range.
  template <typename Measure>
  __device__ void Narrow(Measure measure, uint64_t wanted, TokenOrder* from, TokenOrder* below,
                         uint64_t* above) {
    constexpr int kParts = 8;
    const TokenOrder begin = *from;
    const TokenOrder end = *below;
    const TokenOrder range = end - begin;  // more than kMaxListed
    const auto threshold = [&](int part) { return begin + range * part / kParts; };
    uint64_t sums[kParts] = {};  // of the tokens from threshold i on; 0 is not needed
    VisitFrom(threshold(1), [&](TokenOrder order, float y) {
      if (order < threshold(1) || order >= end) return true;
      const uint64_t value = measure(y);
#pragma unroll
      for (int i = 1; i < kParts; ++i) {
        if (order >= threshold(i)) sums[i] += value;
      }
      return true;
    });
    uint64_t after = *above;  // the measure from the new range's end on
#pragma unroll
    for (int i = kParts - 1; i >= 1; --i) {
      const uint64_t reached = *above + ReduceCta<kThreads, Sum>(sums[i], uint64_t{0});
      if (reached >= wanted) {
        *from = threshold(i);
        break;
      }
      *below = threshold(i);
      after = reached;
    }
    *above = after;
  }

  // The order of the first listed token (sorted) at which the measure reaches `wanted`; 0 if none
  // does: then their measure is added to *above.
  template <typename Measure>
  __device__ TokenOrder CutOfListed(Measure measure, uint64_t wanted, uint64_t* above) {
    for (int first = 0; first < shared_.num_listed; first += kThreads) {
      const int i = first + Thread();
      const bool exists = i < shared_.num_listed;
      const uint64_t value = exists ? measure(ValueOfOrder(shared_.list[i])) : 0;
      const uint64_t reached = *above + RunningSumOfCta<kThreads>(value);
      if (threadIdx.x == 0) shared_.cut = 0;
      __syncthreads();
      if (exists && reached >= wanted && reached - value < wanted) {
        shared_.cut = shared_.list[i];
      }
      __syncthreads();
      const TokenOrder cut = shared_.cut;
      if (cut != 0) return cut;
      *above += ReduceCta<kThreads, Sum>(value, uint64_t{0});
    }
    return 0;
  }

  const ScaledLogits row_;
  const float* const block_max_;
  SelectorShared& shared_;
};

}  // namespace vexact::sm90

#endif  // VEXACT_KERNELS_SM90_SELECT_CUH_
