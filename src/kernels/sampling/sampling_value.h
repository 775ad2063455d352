// The scalar expressions of sampling (docs/numerics.md) that its fast backends share.
#ifndef VEXACT_KERNELS_SAMPLING_SAMPLING_VALUE_H_
#define VEXACT_KERNELS_SAMPLING_SAMPLING_VALUE_H_

#include <cstdint>

#include "kernels/sampling/sampling.h"
#include "numerics/host_device.h"

namespace vexact {

// Whether the output ends with all ids of the word but the last.
VX_HOST_DEVICE inline bool ForbidsItsEnd(const SampleRow& row, const BadWord& word) {
  const int32_t beginning = word.length - 1;
  if (beginning > row.num_output) return false;
  const int32_t* const newest = row.tokens + row.num_prompt + row.num_output - beginning;
  for (int32_t i = 0; i < beginning; ++i) {
    if (newest[i] != row.bad_word_ids[word.begin + i]) return false;
  }
  return true;
}

// max(1, ceil(sum * top_p / 2^32)): the weight that the kept tokens must reach.
VX_HOST_DEVICE inline uint64_t WantedWeight(uint64_t sum, uint64_t top_p) {
  const unsigned __int128 scaled = static_cast<unsigned __int128>(sum) * top_p + 0xffffffffu;
  const auto wanted = static_cast<uint64_t>(scaled >> 32);
  return wanted > 1 ? wanted : 1;
}

}  // namespace vexact

#endif  // VEXACT_KERNELS_SAMPLING_SAMPLING_VALUE_H_
