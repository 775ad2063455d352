#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/linear/linear.h"
#include "numerics/dot16.h"
#include "numerics/words.h"

namespace vexact {
namespace {

std::vector<bf16> RandomBf16(int64_t count, int low_field, int high_field, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<bf16> values(count);
  std::uniform_int_distribution<int> field(low_field, high_field);
  for (bf16& value : values) {
    const uint32_t noise = random();
    value.bits =
        static_cast<uint16_t>((noise & 0x807fu) | (static_cast<uint32_t>(field(random)) << 7));
    if ((noise >> 20 & 15u) == 0) value.bits &= 0x8000u;
  }
  return values;
}

std::vector<bf16> GaussianBf16(int64_t count, float sigma, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<bf16> values(count);
  for (bf16& value : values) value = Bf16FromFloat(normal(random));
  return values;
}

// Compares every fp32 output of every target with the chain of Dot16.
void ExpectChains(int64_t rows, int64_t in, int64_t out, const std::vector<bf16>& x,
                  const std::vector<bf16>& w, int threads = 1) {
  ThreadPool pool(threads);
  Stream stream{&pool};
  std::vector<float> expected(rows * out);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t o = 0; o < out; ++o) {
      expected[r * out + o] = Chain(x.data() + r * in, w.data() + o * in, in);
    }
  }
  for (const CpuTarget target : SupportedCpuTargets()) {
    const auto weight = PackLinearCpu(target, Rows<const bf16>(w.data(), out, in));
    ASSERT_TRUE(weight.ok());
    std::vector<float> y(rows * out, -7.0f);
    LinearArgs args{Rows<const bf16>(x.data(), rows, in), &*weight};
    args.y_fp32 = Rows<float>(y.data(), rows, out);
    LinearCpu(target, args, stream);
    for (int64_t i = 0; i < rows * out; ++i) {
      ASSERT_EQ(CanonicalWord(y[i]), CanonicalWord(expected[i]))
          << CpuTargetName(target) << " row " << i / out << " output " << i % out;
    }
  }
}

TEST(LinearCpu, EqualsTheChainOnModelLikeValues) {
  for (const int64_t rows : {1, 2, 3, 5, 33, 70}) {
    for (const int64_t in : {16, 40, 576}) {
      for (const int64_t out : {1, 31, 64, 200}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << in << " x " << out);
        ExpectChains(rows, in, out, GaussianBf16(rows * in, 3.0f, 1),
                     GaussianBf16(out * in, 0.05f, 2), rows % 4 + 1);
      }
    }
  }
}

TEST(LinearCpu, EqualsTheChainOnWideExponents) {
  struct Range {
    int low, high;
  };
  int seed = 10;
  for (const Range x : {Range{100, 140}, Range{0, 30}, Range{60, 190}, Range{200, 254},
                        Range{0, 254}, Range{250, 255}}) {
    for (const Range w : {Range{100, 130}, Range{0, 20}, Range{60, 160}, Range{140, 200},
                          Range{0, 254}, Range{253, 255}}) {
      SCOPED_TRACE(testing::Message() << x.low << ".." << x.high << " " << w.low << ".." << w.high);
      const int64_t rows = 3, in = 80, out = 70;
      seed += 2;
      ExpectChains(rows, in, out, RandomBf16(rows * in, x.low, x.high, seed),
                   RandomBf16(out * in, w.low, w.high, seed + 1));
    }
  }
}

}  // namespace
}  // namespace vexact
