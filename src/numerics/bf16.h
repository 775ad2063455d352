// bf16: the upper half of an IEEE binary32, and its conversions (docs/numerics.md, Notation).
#ifndef VEXACT_NUMERICS_BF16_H_
#define VEXACT_NUMERICS_BF16_H_

#include <bit>
#include <cstdint>

#include "numerics/host_device.h"

namespace vexact {

// Storage only: arithmetic happens in fp32 after FloatFromBf16.
struct bf16 {  // NOLINT(readability-identifier-naming): the type's name in the field
  uint16_t bits = 0;
  friend bool operator==(bf16, bf16) = default;
};

VX_HOST_DEVICE inline float FloatFromBf16(bf16 x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

// Rounds to nearest, ties to even; every NaN becomes 0x7fff.
VX_HOST_DEVICE inline bf16 Bf16FromFloat(float x) {
  const uint32_t word = std::bit_cast<uint32_t>(x);
  if ((word & 0x7fffffffu) > 0x7f800000u) return bf16{0x7fff};
  return bf16{static_cast<uint16_t>((word + 0x7fffu + ((word >> 16) & 1u)) >> 16)};
}

}  // namespace vexact

#endif  // VEXACT_NUMERICS_BF16_H_
