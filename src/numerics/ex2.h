// ex2: 2^x as `ex2.approx.ftz.f32` of NVIDIA GPUs computes it (docs/numerics.md, ex2), in integers.
#ifndef VEXACT_NUMERICS_EX2_H_
#define VEXACT_NUMERICS_EX2_H_

#include <cstdint>

#include "numerics/host_device.h"
#include "numerics/words.h"

namespace vexact {

// The fp32 word of 2^(r / 2^23) as the hardware has it, in [1, 2); r in [0, 2^23). A quadratic in
// each of 64 segments whose square leaves out the low partial products (`omitted`).
VX_HOST_DEVICE inline uint32_t Ex2TableWord(uint32_t r) {
  static constexpr int32_t kCoefficients[64][3] = {
      // c0, c1, c2 of r >> 17
      {33554435, 22713, 494}, {33919818, 22960, 501}, {34289182, 23210, 506},
      {34662565, 23463, 511}, {35040018, 23718, 518}, {35421577, 23977, 521},
      {35807292, 24238, 527}, {36197209, 24502, 532}, {36591372, 24768, 541},
      {36989825, 25038, 546}, {37392616, 25311, 551}, {37799797, 25586, 559},
      {38211409, 25865, 564}, {38627504, 26147, 568}, {39048131, 26431, 577},
      {39473337, 26719, 583}, {39903173, 27010, 589}, {40337690, 27304, 596},
      {40776937, 27602, 600}, {41220970, 27902, 609}, {41669836, 28206, 615},
      {42123592, 28513, 622}, {42582286, 28824, 627}, {43045977, 29138, 633},
      {43514717, 29455, 641}, {43988561, 29776, 647}, {44467565, 30100, 655},
      {44951786, 30428, 661}, {45441278, 30759, 670}, {45936101, 31094, 677},
      {46436314, 31432, 686}, {46941971, 31775, 691}, {47453135, 32121, 699},
      {47969867, 32471, 705}, {48492225, 32824, 715}, {49020269, 33182, 721},
      {49554065, 33543, 730}, {50093674, 33908, 739}, {50639159, 34277, 748},
      {51190582, 34651, 753}, {51748011, 35028, 763}, {52311510, 35409, 773},
      {52881146, 35795, 779}, {53456983, 36185, 787}, {54039091, 36579, 796},
      {54627538, 36977, 806}, {55222393, 37380, 813}, {55823725, 37787, 822},
      {56431607, 38198, 833}, {57046106, 38614, 842}, {57667297, 39035, 849},
      {58295254, 39460, 858}, {58930048, 39889, 870}, {59571754, 40324, 877},
      {60220447, 40763, 887}, {60876205, 41207, 896}, {61539104, 41655, 909},
      {62209220, 42109, 917}, {62886634, 42568, 925}, {63571424, 43031, 938},
      {64263672, 43500, 946}, {64963458, 43973, 959}, {65670863, 44452, 969},
      {66385972, 44936, 980},
  };
  const int32_t* c = kCoefficients[r >> 17];
  const int64_t x = r & 0x1ffffu;
  const int64_t low = x & 1023;
  const int64_t high = x >> 10;
  int64_t omitted = low * low;
  for (int b = 0; b < 7; ++b) {
    const int64_t below = low & ((int64_t{1} << (8 - b)) - 1);
    omitted += ((high >> b) & 1) * (below << (b + 11));
  }
  const int64_t square = ((x * x) >> 19) - (omitted >> 19);
  const int64_t sum = (int64_t{c[0]} << 14) + 12228 + 2 * c[1] * x + 2 * c[2] * square;
  return 0x3f000000u + static_cast<uint32_t>(sum >> 16);
}

// Largest relative error 1.46e-7, monotone. Subnormal x count as 0, results < 2^-126 become 0.
// For an integer x <= 0 this is the exact power of two down to 2^-126, and 0 below.
VX_HOST_DEVICE inline float Ex2(float x) {
  const uint32_t word = WordFromFloat(x);
  const uint32_t magnitude = word & 0x7fffffffu;
  const bool negative = (word >> 31) != 0;
  if (magnitude > kInfinityWord) return FloatFromWord(kNanWord);
  if (magnitude >= 0x43000000u) return FloatFromWord(negative ? 0 : kInfinityWord);  // |x| >= 128
  // k = floor(|x| * 2^23) < 2^30. |x| = significand * 2^(exponent - 23), so k is a shift of it;
  // below 2^-24, subnormals included, k is 0.
  const int exponent = static_cast<int>(magnitude >> 23) - 127;
  const uint32_t significand = (magnitude & 0x7fffffu) | 0x800000u;
  const uint32_t k = exponent >= 0    ? significand << exponent
                     : exponent > -24 ? significand >> -exponent
                                      : 0;
  const uint32_t q = k >> 23;
  const uint32_t r = k & 0x7fffffu;
  if (!negative) return FloatFromWord(Ex2TableWord(r) + (q << 23));  // q <= 127: below 2^128
  const uint32_t table = r != 0 ? Ex2TableWord(0x7fffffu - r) : 0x3f800000u;
  const uint32_t down = r != 0 ? q + 1 : q;  // powers of two; the result is normal up to 126
  return FloatFromWord(down <= 126 ? table - (down << 23) : 0);
}

}  // namespace vexact

#endif  // VEXACT_NUMERICS_EX2_H_
