#include "kernels/self_check/check_inputs.h"

#include "base/philox.h"

namespace vexact {
namespace {

constexpr uint64_t kKey = 0x7645786163742031;  // "vExact 1"

// Calls set(i, word) for every element of a row.
template <typename Set>
void ForEachWord(uint32_t tag, int64_t row, size_t count, Set set) {
  for (size_t i = 0; i < count; i += 4) {
    const PhiloxCounter words =
        Philox4x32({static_cast<uint32_t>(i / 4), static_cast<uint32_t>(row), tag, 0}, kKey);
    for (size_t j = 0; j < 4 && i + j < count; ++j) set(i + j, words[j]);
  }
}

// Sign and fraction from the low half of the word, the exponent's field from the high half.
bf16 WithField(uint32_t word, uint32_t lowest, uint32_t highest) {
  const uint32_t field = lowest + (word >> 16) % (highest - lowest + 1);
  return bf16{static_cast<uint16_t>((word & 0x807fu) | field << 7)};
}

// float(int32 word) is one rounding, the product another: no sum of them may be fused.
float Uniform(uint32_t word, float scale) {
  const float unit = scale * 0x1p-31f;
  return static_cast<float>(static_cast<int32_t>(word)) * unit;
}

bf16 Element(CheckValues values, uint32_t word, float scale) {
  static constexpr uint16_t kSpecials[] = {0x0000, 0x8000, 0x7f80, 0xff80,
                                           0x7fc0, 0x0001, 0x7f7f, 0xff81};
  switch (values) {
    case CheckValues::kUniform:
      return Bf16FromFloat(Uniform(word, scale));
    case CheckValues::kWide:
      return WithField(word, 127 - 40, 127 + 40);
    case CheckValues::kTiny:
      return WithField(word, 127 - 70, 127 - 60);
    case CheckValues::kSubnormal:
      return (word >> 8) % 8 == 0 ? bf16{} : WithField(word, 0, 2);
    case CheckValues::kLarge:
      return WithField(word, 127 + 50, 254);
    case CheckValues::kSpecial:
      if ((word >> 8) % 64 == 0) return bf16{kSpecials[(word >> 16) % 8]};
      break;
    default:
      break;
  }
  return WithField(word, 127 - 8, 127);
}

}  // namespace

uint32_t CheckWord(uint32_t tag, int64_t row, int64_t index) {
  return Philox4x32({static_cast<uint32_t>(index / 4), static_cast<uint32_t>(row), tag, 0},
                    kKey)[index % 4];
}

void FillRow(const CheckInput& input, int64_t row, std::span<bf16> to) {
  const bool halves = input.values == CheckValues::kRepeat || input.values == CheckValues::kCancel;
  const size_t count = halves ? (to.size() + 1) / 2 : to.size();
  ForEachWord(input.tag, row, count,
              [&](size_t i, uint32_t word) { to[i] = Element(input.values, word, input.scale); });
  const uint16_t flip = input.values == CheckValues::kCancel ? 0x8000 : 0;
  for (size_t i = count; i < to.size(); ++i) {
    to[i] = bf16{static_cast<uint16_t>(to[i - count].bits ^ flip)};
  }
}

void FillRow(const CheckInput& input, int64_t row, std::span<float> to) {
  ForEachWord(input.tag, row, to.size(),
              [&](size_t i, uint32_t word) { to[i] = Uniform(word, input.scale); });
}

}  // namespace vexact
