#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/logprob/candidates_cpu.h"
#include "kernels/logprob/logprob.h"
#include "kernels/logprob/logprob_value.h"
#include "kernels/logprob/row_scan_cpu.h"

namespace vexact {
namespace {

// Ids before `id` in (value descending, id ascending) order, plus 1.
int32_t RankOf(CpuTarget target, const ScannedRow& row, int32_t id) {
  const float value = row.y[id];
  int64_t before = 0;
  for (int64_t b = 0; b < row.blocks(); ++b) {
    if (row.block_max[b] < value) continue;
    const int64_t begin = b * kVocabBlock;
    const int64_t end = std::min(begin + kVocabBlock, row.vocab);
    before += CountAbove(target, row.y + begin, end - begin, value);
    for (int64_t i = begin; i < std::min<int64_t>(end, id); ++i) before += row.y[i] == value;
  }
  return static_cast<int32_t>(before) + 1;
}

LogprobAnswer Answer(CpuTarget target, const LogprobArgs& args, const LogprobQuery& query) {
  const LogitSums& sums = args.sums[query.row];
  const ScannedRow row{args.logits[query.row], args.block_max[query.row], args.logits.cols};
  LogprobAnswer answer;
  const int32_t id = query.id >= 0 ? query.id : args.drawn[query.row];
  if (sums.argmax < 0 || id < 0) return answer;
  answer.logprob = LogprobOf(row.y[id], sums.exponent, sums.sum);
  if (query.num_top < 0) return answer;
  answer.rank = RankOf(target, row, id);
  if (query.num_top == 0) return answer;
  std::vector<Candidate> top = SelectCandidates(target, row, LeastOfTop(row, query.num_top));
  if (static_cast<int64_t>(top.size()) > query.num_top) {
    PartitionTop(top, query.num_top);
    top.resize(query.num_top);
  }
  std::sort(top.begin(), top.end(),
            [](const Candidate& a, const Candidate& b) { return a.key < b.key; });
  answer.num_top = static_cast<int32_t>(top.size());
  for (int32_t n = 0; n < answer.num_top; ++n) {
    const int32_t top_id = IdOfKey(top[n].key);
    args.top_ids[query.top_offset + n] = top_id;
    args.top_logprobs[query.top_offset + n] = LogprobOf(row.y[top_id], sums.exponent, sums.sum);
  }
  return answer;
}

}  // namespace

void SumLogitsCpu(CpuTarget target, const SumLogitsArgs& args, Stream& stream) {
  VX_CHECK(args.logits.cols >= 1 && args.logits.cols <= kMaxVocab);
  stream.pool->ParallelFor(args.logits.rows, [&](int64_t r) {
    SumRow(target, args.logits[r], args.logits.cols, args.has_dropped,
           {&args.sums[r], args.block_max[r], args.block_sums[r]});
  });
}

void LogprobCpu(CpuTarget target, const LogprobArgs& args, Stream& stream) {
  stream.pool->ParallelFor(args.num_queries, [&](int64_t q) {
    args.answers[q] = Answer(target, args, args.queries[q]);
  });
}

}  // namespace vexact
