// On the CPU: the proof's inputs tell the canonical chain from the orders that libraries use.
#include "kernels/linear/linear_proof_sm90.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "numerics/dot16.h"

namespace vexact {
namespace {

// One output, of one row of x and one of w.
using Sum = std::function<float(const bf16* x, const bf16* w, int64_t in)>;

float Canonical(const bf16* x, const bf16* w, int64_t in) { return Chain(x, w, in); }

// Parts of K summed apart, in steps of 16 handed out in turn, `run` at a time; then added up.
Sum Parts(int parts, int64_t run) {
  return [=](const bf16* x, const bf16* w, int64_t in) {
    std::vector<float> sums(parts, 0.0f);
    for (int64_t k = 0; k < in; k += kDotGroup) {
      float& sum = sums[k / kDotGroup / run % parts];
      sum = Dot16(sum, x + k, w + k);
    }
    float total = sums[0];
    for (int p = 1; p < parts; ++p) total = total + sums[p];
    return total;
  };
}
Sum SplitK(int parts, int64_t in) {
  const int64_t steps = in / kDotGroup;
  return Parts(parts, (steps + parts - 1) / parts);
}

float Backwards(const bf16* x, const bf16* w, int64_t in) {
  float sum = 0;
  for (int64_t k = in - kDotGroup; k >= 0; k -= kDotGroup) sum = Dot16(sum, x + k, w + k);
  return sum;
}

// What mma.sync.m16n8k8 computes: half a group a step.
float StepsOf8(const bf16* x, const bf16* w, int64_t in) {
  float sum = 0;
  for (int64_t k = 0; k < in; k += 8) {
    bf16 x16[kDotGroup] = {};
    bf16 w16[kDotGroup] = {};
    std::copy_n(x + k, 8, x16);
    std::copy_n(w + k, 8, w16);
    sum = Dot16(sum, x16, w16);
  }
  return sum;
}

float IeeeFma(const bf16* x, const bf16* w, int64_t in) {
  float sum = 0;
  for (int64_t k = 0; k < in; ++k) sum = std::fma(FloatFromBf16(x[k]), FloatFromBf16(w[k]), sum);
  return sum;
}

double DifferingWords(int64_t in, const Sum& other) {
  constexpr int kOutputs = 200;
  std::vector<bf16> x(in);
  std::vector<bf16> w(in);
  for (int64_t i = 0; i < in; ++i) x[i] = ProofElement(0, i, in, false);
  int differing = 0;
  for (uint32_t o = 0; o < kOutputs; ++o) {
    for (int64_t i = 0; i < in; ++i) w[i] = ProofElement(kProofWeightRow + o, i, in, true);
    const bf16 expected = Bf16FromFloat(Canonical(x.data(), w.data(), in));
    if (CanonicalWord(expected) != CanonicalWord(Bf16FromFloat(other(x.data(), w.data(), in)))) {
      ++differing;
    }
  }
  return static_cast<double>(differing) / kOutputs;
}

TEST(LinearProof, InputsShowEveryOtherOrderInHalfOfTheWordsOfOneRow) {
  for (const int64_t in : {64, 128, 256, 576, 768, 1536, 2048, 6144}) {
    const std::pair<std::string, Sum> orders[] = {
        {"split in 2", SplitK(2, in)},
        {"split in 3", SplitK(3, in)},
        {"split in 4", SplitK(4, in)},
        {"two chains in turn", Parts(2, 1)},
        {"four chains in turn", Parts(4, 1)},
        {"two chains, 64 at a time", Parts(2, 4)},
        {"backwards", Backwards},
        {"steps of 8", StepsOf8},
        {"fma", IeeeFma},
    };
    for (const auto& [name, order] : orders) {
      if (in == 64 && name == "two chains, 64 at a time") continue;  // one chain
      EXPECT_GE(DifferingWords(in, order), 0.5) << name << ", in " << in;
    }
  }
}

TEST(LinearProof, InputsShowStepsOf8InASingleGroup) {
  EXPECT_GE(DifferingWords(16, StepsOf8), 0.4);
  EXPECT_GE(DifferingWords(32, StepsOf8), 0.4);
}

}  // namespace
}  // namespace vexact
