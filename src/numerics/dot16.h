// dot16: one step of a Hopper tensor core, 16 bf16 products added to an fp32 accumulator, in scalar
// integers (docs/numerics.md, dot16 and chain).
#ifndef VEXACT_NUMERICS_DOT16_H_
#define VEXACT_NUMERICS_DOT16_H_

#include <cstdint>

#include "numerics/bf16.h"
#include "numerics/host_device.h"
#include "numerics/words.h"

namespace vexact {

inline constexpr int kDotGroup = 16;  // products of one step

// A finite value other than 0 is (-1)^negative * significand * 2^(exponent - fraction bits), where
// a subnormal keeps exponent -126 and has no hidden bit.
struct DotTerm {
  uint32_t significand;  // 0: the term takes no part
  int exponent;
  bool negative;
};

VX_HOST_DEVICE inline DotTerm DotTermOfBf16(bf16 x) {  // 8-bit significand, 7 fraction bits
  const int field = (x.bits >> 7) & 0xff;
  const uint32_t fraction = x.bits & 0x7fu;
  return {field == 0 ? fraction : fraction | 0x80u, field == 0 ? -126 : field - 127,
          (x.bits >> 15) != 0};
}

VX_HOST_DEVICE inline DotTerm DotTermOfFloat(uint32_t word) {  // 24-bit significand, 23 fraction
  const int field = static_cast<int>((word >> 23) & 0xffu);
  const uint32_t fraction = word & 0x7fffffu;
  return {field == 0 ? fraction : fraction | 0x800000u, field == 0 ? -126 : field - 127,
          (word >> 31) != 0};
}

// Rule 1 of dot16: the answer if a NaN or an infinity is among c, a and b. Returns false if none
// is.
VX_HOST_DEVICE inline bool Dot16NotFinite(uint32_t c, const bf16* a, const bf16* b,
                                          uint32_t* answer) {
  bool nan = IsNanWord(c);
  bool plus = c == kInfinityWord;
  bool minus = c == (kInfinityWord | 0x80000000u);
  for (int i = 0; i < kDotGroup; ++i) {
    const uint32_t magnitude_a = a[i].bits & 0x7fffu;
    const uint32_t magnitude_b = b[i].bits & 0x7fffu;
    if (magnitude_a < 0x7f80u && magnitude_b < 0x7f80u) continue;
    if (magnitude_a > 0x7f80u || magnitude_b > 0x7f80u || magnitude_a == 0 || magnitude_b == 0) {
      nan = true;
    } else if (((a[i].bits ^ b[i].bits) & 0x8000u) != 0) {
      minus = true;
    } else {
      plus = true;
    }
  }
  if (!nan && !plus && !minus) return false;
  *answer = nan || (plus && minus) ? kNanWord : kInfinityWord | (minus ? 0x80000000u : 0u);
  return true;
}

// sum * 2^(exponent - 25) rounded toward zero to fp32; +0 if that is a zero.
VX_HOST_DEVICE inline float Dot16Round(int64_t sum, int exponent) {
  const bool negative = sum < 0;
  const uint64_t magnitude = static_cast<uint64_t>(negative ? -sum : sum);  // < 2^32
  if (magnitude == 0) return 0.0f;
  const int digits = BitWidth(magnitude);
  const int top = digits - 1 + exponent - 25;  // the sum's magnitude is in [2^top, 2^(top + 1))
  uint32_t word;
  if (top >= 128) {
    word = kInfinityWord;
  } else if (top >= -126) {
    const int shift = digits - 24;
    const uint64_t significand = shift >= 0 ? magnitude >> shift : magnitude << -shift;
    word =
        (static_cast<uint32_t>(top + 127) << 23) | (static_cast<uint32_t>(significand) & 0x7fffffu);
  } else {  // subnormal: a multiple of 2^-149
    const int shift = exponent - 25 + 149;
    word = static_cast<uint32_t>(shift >= 0 ? magnitude << shift : magnitude >> -shift);
  }
  if (word == 0) return 0.0f;
  return FloatFromWord(word | (negative ? 0x80000000u : 0u));
}

// c + a[0] * b[0] + ... + a[15] * b[15] as one tensor-core step: every term is truncated to a
// multiple of 2^(E - 25), E the largest exponent among them, the truncated terms are summed exactly
// and the sum is rounded toward zero. Never returns -0.
VX_HOST_DEVICE inline float Dot16(float c, const bf16* a, const bf16* b) {
  const uint32_t c_word = WordFromFloat(c);
  uint32_t not_finite;
  if (Dot16NotFinite(c_word, a, b, &not_finite)) return FloatFromWord(not_finite);

  DotTerm products[kDotGroup];  // 16-bit significands, not normalised, 14 fraction bits
  const DotTerm c_term = DotTermOfFloat(c_word);
  int largest = -133;
  if (c_term.significand != 0 && c_term.exponent > largest) largest = c_term.exponent;
  for (int i = 0; i < kDotGroup; ++i) {
    const DotTerm x = DotTermOfBf16(a[i]);
    const DotTerm y = DotTermOfBf16(b[i]);
    products[i] = {x.significand * y.significand, x.exponent + y.exponent,
                   x.negative != y.negative};
    if (products[i].significand != 0 && products[i].exponent > largest) {
      largest = products[i].exponent;
    }
  }

  // In units of 2^(largest - 25) a product is its significand << 11 and c is its significand << 2,
  // before the shift right by the distance to `largest`, which truncates toward zero.
  const auto truncated = [largest](const DotTerm& term, int fraction_bits) {
    const int distance = largest - term.exponent;
    if (term.significand == 0 || distance > 31) return int64_t{0};
    const uint64_t scaled = uint64_t{term.significand} << (25 - fraction_bits);
    const auto magnitude = static_cast<int64_t>(scaled >> distance);
    return term.negative ? -magnitude : magnitude;
  };
  int64_t sum = truncated(c_term, 23);
  for (int i = 0; i < kDotGroup; ++i) sum += truncated(products[i], 14);
  return Dot16Round(sum, largest);
}

// The canonical inner product: dot16 over groups of 16 ascending, from `accumulator`; the last
// group is padded with zeros. a and b have k elements.
VX_HOST_DEVICE inline float Chain(float accumulator, const bf16* a, const bf16* b, int64_t k) {
  int64_t i = 0;
  for (; i + kDotGroup <= k; i += kDotGroup) accumulator = Dot16(accumulator, a + i, b + i);
  if (i < k) {
    bf16 last_a[kDotGroup] = {};
    bf16 last_b[kDotGroup] = {};
    for (int64_t j = 0; j < k - i; ++j) {
      last_a[j] = a[i + j];
      last_b[j] = b[i + j];
    }
    accumulator = Dot16(accumulator, last_a, last_b);
  }
  return accumulator;
}

VX_HOST_DEVICE inline float Chain(const bf16* a, const bf16* b, int64_t k) {
  return Chain(0.0f, a, b, k);
}

}  // namespace vexact

#endif  // VEXACT_NUMERICS_DOT16_H_
