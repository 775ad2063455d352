#include "support/near_ties.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace vexact {
namespace {

bool IsNearTie(std::span<const bf16> x, float eps) {
  double sum = 0.0;
  for (const bf16 element : x) {
    const double value = FloatFromBf16(element);
    sum += value * value;
  }
  const double r = 1.0 / std::sqrt(sum / static_cast<double>(x.size()) + eps);
  const auto scaled = [](bf16 element, double by) {
    return Bf16FromFloat(static_cast<float>(FloatFromBf16(element) * by)).bits;
  };
  return std::ranges::any_of(x, [&](bf16 element) {
    return scaled(element, r * (1.0 - 0x1p-24)) != scaled(element, r * (1.0 + 0x1p-24));
  });
}

}  // namespace

void FillNearTies(std::mt19937& random, Rows<bf16> x, int64_t group, float eps) {
  std::normal_distribution<float> normal;
  for (int64_t t = 0; t < x.rows; ++t) {
    for (int64_t begin = 0; begin < x.cols; begin += group) {
      const std::span<bf16> values(x[t] + begin, static_cast<size_t>(group));
      for (bf16& value : values) value = Bf16FromFloat(normal(random));
      while (!IsNearTie(values, eps)) {
        values[random() % values.size()] = Bf16FromFloat(normal(random));
      }
    }
  }
}

}  // namespace vexact
