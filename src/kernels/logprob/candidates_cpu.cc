#include "kernels/logprob/candidates_cpu.h"

#include <algorithm>
#include <functional>

#include "kernels/logprob/row_scan_cpu.h"

namespace vexact {

int32_t ArgMax(const ScannedRow& row, float max) {
  const int64_t block = std::find(row.block_max, row.block_max + row.blocks(), max) - row.block_max;
  return static_cast<int32_t>(std::find(row.y + block * kVocabBlock, row.y + row.vocab, max) -
                              row.y);
}

float LeastOfTop(const ScannedRow& row, int64_t k) {
  if (k > row.blocks()) return -kLogitLimit;
  std::vector<float> maxima(row.block_max, row.block_max + row.blocks());
  const auto kth = maxima.begin() + (k - 1);
  std::nth_element(maxima.begin(), kth, maxima.end(), std::greater<>());
  return std::max(*kth, -kLogitLimit);
}

std::vector<Candidate> SelectCandidates(CpuTarget target, const ScannedRow& row, float least) {
  // Ids and values of a few blocks at a time, so that they stay near.
  constexpr int64_t kChunk = 16 * kVocabBlock;
  int32_t ids[kChunk + kSelectOverhang];
  float values[kChunk + kSelectOverhang];
  std::vector<Candidate> candidates;
  int64_t pending = 0;
  const auto flush = [&] {
    for (int64_t n = 0; n < pending; ++n)
      candidates.push_back({CandidateKey(values[n], ids[n]), 0});
    pending = 0;
  };
  for (int64_t b = 0; b < row.blocks(); ++b) {
    if (row.block_max[b] < least) continue;
    if (pending + kVocabBlock > kChunk) flush();
    const int64_t begin = b * kVocabBlock;
    const int64_t count = std::min(kVocabBlock, row.vocab - begin);
    pending += SelectAtLeast(target, row.y + begin, count, least, static_cast<int32_t>(begin),
                             {ids + pending, values + pending});
  }
  flush();
  return candidates;
}

void PartitionTop(std::span<Candidate> candidates, int64_t k) {
  std::nth_element(candidates.begin(), candidates.begin() + (k - 1), candidates.end(),
                   [](const Candidate& a, const Candidate& b) { return a.key < b.key; });
}

}  // namespace vexact
