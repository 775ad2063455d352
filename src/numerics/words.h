// fp32 values as 32-bit words and back, and the canonical words that digests and comparisons use.
#ifndef VEXACT_NUMERICS_WORDS_H_
#define VEXACT_NUMERICS_WORDS_H_

#include <bit>
#include <cstdint>

#include "numerics/bf16.h"
#include "numerics/host_device.h"

namespace vexact {

inline constexpr uint32_t kNanWord = 0x7fffffffu;       // the canonical NaN of fp32
inline constexpr uint32_t kInfinityWord = 0x7f800000u;  // +infinity

VX_HOST_DEVICE inline uint32_t WordFromFloat(float x) { return std::bit_cast<uint32_t>(x); }
VX_HOST_DEVICE inline float FloatFromWord(uint32_t word) { return std::bit_cast<float>(word); }

VX_HOST_DEVICE inline bool IsNanWord(uint32_t word) { return (word & 0x7fffffffu) > kInfinityWord; }

// The word that stands for x in a digest or a comparison: -0 becomes +0 and every NaN 0x7fffffff,
// for neither the sign of a zero nor a NaN's payload is part of a value.
VX_HOST_DEVICE inline uint32_t CanonicalWord(float x) {
  const uint32_t word = WordFromFloat(x);
  if (IsNanWord(word)) return kNanWord;
  return word == 0x80000000u ? 0u : word;
}
VX_HOST_DEVICE inline uint16_t CanonicalWord(bf16 x) {
  if ((x.bits & 0x7fffu) > 0x7f80u) return 0x7fff;
  return x.bits == 0x8000u ? uint16_t{0} : x.bits;
}

// The number of binary digits of x: 0 for 0, else floor(log2(x)) + 1.
VX_HOST_DEVICE inline int BitWidth(uint64_t x) {
#ifdef __CUDA_ARCH__
  return 64 - __clzll(static_cast<long long>(x));
#else
  return std::bit_width(x);
#endif
}

}  // namespace vexact

#endif  // VEXACT_NUMERICS_WORDS_H_
