#include "base/check.h"
#include "kernels/logprob/logprob.h"
#include "kernels/sm90/logit_blocks.cuh"
#include "kernels/sm90/overlapped_launch.cuh"
#include "kernels/sm90/select.cuh"

namespace vexact {
namespace {

constexpr int kRowThreads = 256;

__device__ sm90::ScaledLogits LogitsOf(const SumLogitsArgs& args, int64_t row) {
  return {args.logits[row], static_cast<int>(args.logits.cols), 1.0f, args.has_dropped};
}

__global__ void __launch_bounds__(sm90::kScanThreads) ScanKernel(SumLogitsArgs args) {
  sm90::BeginOverlapped();
  const int64_t row = blockIdx.x;
  sm90::ScanBlocks(LogitsOf(args, row), {args.block_max[row], args.block_sums[row]});
}

// A CTA for each row.
__global__ void __launch_bounds__(kRowThreads) SumRowsKernel(SumLogitsArgs args) {
  sm90::BeginOverlapped();
  const int64_t row = blockIdx.x;
  const LogitSums sums =
      sm90::SumRow<kRowThreads>(LogitsOf(args, row), {args.block_max[row], args.block_sums[row]});
  if (threadIdx.x == 0) args.sums[row] = sums;
}

using RowSelector = sm90::Selector<kRowThreads>;

// The query.num_top first tokens that are not dropped; returns how many there are. They come in
// runs of at most kMaxListed, one after the other.
__device__ int ReportTop(const LogprobArgs& args, const LogprobQuery& query, const LogitSums& sums,
                         RowSelector& selector) {
  if (query.num_top == 0) return 0;
  // Just above the order of any dropped token.
  const sm90::TokenOrder floor = sm90::OrderAtLeast(kDropped) + kMaxVocab;
  const sm90::TokenOrder guess = selector.GuessOfTop(query.num_top);
  sm90::TokenOrder from = guess > floor ? guess : floor;
  sm90::TokenOrder below = sm90::kAboveAllOrders;
  int done = 0;
  while (done < query.num_top) {
    if (!selector.List(from, below)) {
      from = selector.FindCut(sm90::CountMeasure{}, sm90::kMaxListed, floor, from, below);
      continue;
    }
    selector.SortListed();
    const int count = min(selector.num_listed(), query.num_top - done);
    for (int n = threadIdx.x; n < count; n += kRowThreads) {
      const sm90::TokenOrder order = selector.listed(n);
      const int64_t at = query.top_offset + done + n;
      args.top_ids[at] = sm90::IdOfOrder(order);
      args.top_logprobs[at] = LogprobOf(sm90::ValueOfOrder(order), sums.exponent, sums.sum);
    }
    done += count;
    if (from == floor) break;
    below = from;
    from = floor;
  }
  return done;
}

// A CTA for each query.
__global__ void __launch_bounds__(kRowThreads) LogprobKernel(LogprobArgs args) {
  sm90::BeginOverlapped();
  __shared__ sm90::SelectorShared shared;
  const LogprobQuery query = args.queries[blockIdx.x];
  const LogitSums sums = args.sums[query.row];
  const int32_t id = query.id >= 0 ? query.id : args.drawn[query.row];
  LogprobAnswer answer;
  if (sums.argmax >= 0 && id >= 0) {
    const float* const z = args.logits[query.row];
    answer.logprob = LogprobOf(z[id], sums.exponent, sums.sum);
    if (query.num_top >= 0) {
      const sm90::ScaledLogits row{z, static_cast<int>(args.logits.cols), 1.0f, true};
      RowSelector selector(row, args.block_max[query.row], &shared);
      const sm90::TokenOrder own = sm90::OrderOf(z[id], id);
      answer.rank = static_cast<int32_t>(selector.SumFrom(sm90::CountMeasure{}, own));
      answer.num_top = ReportTop(args, query, sums, selector);
    }
  }
  if (threadIdx.x == 0) args.answers[blockIdx.x] = answer;
}

}  // namespace

void SumLogitsSm90(const SumLogitsArgs& args, Stream& stream) {
  VX_CHECK(args.logits.cols >= 1 && args.logits.cols <= kMaxVocab);
  const auto rows = static_cast<unsigned>(args.logits.rows);
  sm90::LaunchOverlapped(ScanKernel, dim3(rows, sm90::NumScanCtas(args.logits.cols)),
                         sm90::kScanThreads, 0, stream, args);
  sm90::LaunchOverlapped(SumRowsKernel, rows, kRowThreads, 0, stream, args);
}

void LogprobSm90(const LogprobArgs& args, Stream& stream) {
  sm90::LaunchOverlapped(LogprobKernel, static_cast<unsigned>(args.num_queries), kRowThreads, 0,
                         stream, args);
}

}  // namespace vexact
