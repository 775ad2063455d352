#include "support/matrix.h"

namespace vexact {
namespace {

// Random sign and fraction, a biased exponent in [lowest, highest].
bf16 WithExponent(std::mt19937& random, int lowest, int highest) {
  const int exponent = std::uniform_int_distribution(lowest, highest)(random);
  return bf16{static_cast<uint16_t>((random() & 0x807fu) | static_cast<uint32_t>(exponent) << 7)};
}

}  // namespace

int64_t Pick(std::mt19937& random, std::span<const int64_t> choices) {
  return choices[random() % choices.size()];
}

bf16 RandomBf16(std::mt19937& random, Values values) {
  static constexpr uint16_t kSpecials[] = {0x0000, 0x8000, 0x7f80, 0xff80, 0x7fc0, 0x0001, 0x7f7f};
  switch (values) {
    case Values::kWide:
      return WithExponent(random, 127 - 40, 127 + 40);
    case Values::kSubnormal:
      return random() % 8 == 0 ? bf16{} : WithExponent(random, 0, 2);
    case Values::kLarge:
      return WithExponent(random, 127 + 50, 254);
    case Values::kAnyWord:
      return bf16{static_cast<uint16_t>(random())};
    case Values::kSpecial:
      if (random() % 64 == 0) return bf16{kSpecials[random() % std::size(kSpecials)]};
      break;
    case Values::kNormal:
      break;
  }
  return Bf16FromFloat(std::normal_distribution<float>()(random));
}

Matrix<bf16> RandomMatrix(std::mt19937& random, Values values, int64_t rows, int64_t cols) {
  Matrix<bf16> matrix(rows, cols);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) matrix[r][c] = RandomBf16(random, values);
  }
  return matrix;
}

}  // namespace vexact
