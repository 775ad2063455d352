// Selection of the largest values of a row without sorting it: a bound from the maxima of its
// blocks leaves a few candidates, whose order is one integer comparison.
#ifndef VEXACT_KERNELS_LOGPROB_CANDIDATES_CPU_H_
#define VEXACT_KERNELS_LOGPROB_CANDIDATES_CPU_H_

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/logprob/logprob.h"
#include "kernels/simd/cpu_target.h"

namespace vexact {

// Keys ascend as values descend, and as ids ascend where values are equal (-0 equals +0).
inline uint64_t CandidateKey(float value, int32_t id) {
  const uint32_t word = std::bit_cast<uint32_t>(value + 0.0f);  // +0 for -0
  const uint32_t descending = (word >> 31) != 0 ? word : ~(word | 0x80000000u);
  return (static_cast<uint64_t>(descending) << 32) | static_cast<uint32_t>(id);
}
inline int32_t IdOfKey(uint64_t key) { return static_cast<int32_t>(key & 0xffffffffu); }
inline float ValueOfKey(uint64_t key) {
  const auto descending = static_cast<uint32_t>(key >> 32);
  return std::bit_cast<float>((descending >> 31) != 0 ? descending : ~descending & 0x7fffffffu);
}

struct Candidate {
  uint64_t key = 0;
  uint64_t weight = 0;  // for top-p: w
};

// A row as its block maxima tell it. y: [vocab], block_max: [blocks].
struct ScannedRow {
  const float* y;
  const float* block_max;
  int64_t vocab;

  int64_t blocks() const { return NumVocabBlocks(vocab); }
};

// The lowest id whose value is `max`, the row's largest.
int32_t ArgMax(const ScannedRow& row, float max);

// At least min(k, kept ids) values of the row are not below this, and it is finite.
float LeastOfTop(const ScannedRow& row, int64_t k);

// The kept ids whose value is at least `least` (finite), in ascending id.
std::vector<Candidate> SelectCandidates(CpuTarget target, const ScannedRow& row, float least);

// Moves the k first by key to the front, in any order; k in [1, size].
void PartitionTop(std::span<Candidate> candidates, int64_t k);

}  // namespace vexact

#endif  // VEXACT_KERNELS_LOGPROB_CANDIDATES_CPU_H_
