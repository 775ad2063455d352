// What a linear schedule is proven with: inputs on which another order of the sum, or another
// grouping of its products, shows in most bf16 words, so that one run over a problem's shape tells
// whether a library's algorithm is the canonical chain. A fast path is never taken on trust.
#ifndef VEXACT_KERNELS_LINEAR_LINEAR_PROOF_SM90_H_
#define VEXACT_KERNELS_LINEAR_LINEAR_PROOF_SM90_H_

#include <cstdint>

#include "numerics/bf16.h"
#include "numerics/host_device.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

// A word that looks random (the finaliser of MurmurHash3 over both arguments).
VX_HOST_DEVICE inline uint32_t ProofHash(uint32_t row, uint32_t column) {
  uint32_t h = row * 0x9e3779b1u ^ (column + 0x7f4a7c15u) * 0x85ebca6bu;
  h = (h ^ h >> 16) * 0x85ebca6bu;
  h = (h ^ h >> 13) * 0xc2b2ae35u;
  return h ^ h >> 16;
}

// Element (row, column) of a proof's operand, [rows, in]: random sign and significand, magnitude
// 2^-8 to 2. The second half of the columns repeats the first; in a weight (`cancels`) with the
// other sign. So every exact sum is 0 (up to a middle column where `in` is odd), and what comes out
// is what the steps of 16 cut off on the way up and down: no other order cuts off the same.
VX_HOST_DEVICE inline bf16 ProofElement(uint32_t row, int64_t column, int64_t in, bool cancels) {
  const int64_t half = (in + 1) / 2;
  const bool second = column >= half;
  const uint32_t h = ProofHash(row, static_cast<uint32_t>(second ? column - half : column));
  const uint32_t exponent = 127 - (h >> 8) % 9;
  const uint32_t sign = (h >> 7 & 1u) ^ (second && cancels ? 1u : 0u);
  return bf16{static_cast<uint16_t>(sign << 15 | exponent << 7 | (h & 0x7fu))};
}
inline constexpr uint32_t kProofWeightRow = 1u << 24;  // weight row o is hashed as this + o

// A bias about as large as what the sums leave (2^-24 to 2^-16), so that it hides none of it.
VX_HOST_DEVICE inline bf16 ProofBias(uint32_t out) {
  const bf16 element = ProofElement(out, 0, 1, false);
  return bf16{static_cast<uint16_t>(element.bits - (17u << 7))};
}

// On the device, queued on `stream`. What a weight has past `cols` is not written.
void FillProofInputs(Rows<bf16> x, Stream& stream);
void FillProofWeights(Rows<bf16> w, Stream& stream);
void FillProofBias(bf16* bias, int64_t count, Stream& stream);

// A kernel that takes this time and nothing else, queued as a layer's small kernels are.
void LaunchNeighbour(uint64_t nanoseconds, Stream& stream);

// Adds the number of canonical words that differ to `*differences`, a count on the device.
void CountDifferences(Rows<const bf16> a, Rows<const bf16> b, unsigned long long* differences,
                      Stream& stream);
void CountDifferences(Rows<const float> a, Rows<const float> b, unsigned long long* differences,
                      Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_LINEAR_LINEAR_PROOF_SM90_H_
