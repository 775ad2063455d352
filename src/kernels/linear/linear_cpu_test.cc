// The vector chain of every target where its fast path ends: it must notice and still be Dot16.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/linear/linear.h"
#include "numerics/dot16.h"
#include "numerics/words.h"
#include "support/oracle.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

struct Shape {
  int64_t rows;
  int64_t in;
  int64_t out;
};

// Random signs and fractions, uniform exponent fields of [low, high], one value in 16 a zero.
std::vector<bf16> RandomBf16(int64_t count, int low, int high, uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<uint32_t> field(low, high);
  std::vector<bf16> values(count);
  for (bf16& value : values) {
    const uint32_t noise = random();
    value.bits = static_cast<uint16_t>((noise & 0x807fu) | field(random) << 7);
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

std::vector<float> RunLinear(CpuTarget target, const Shape& shape, const std::vector<bf16>& x,
                             const std::vector<bf16>& w, int threads) {
  ThreadPool pool = ThreadPool::Create(threads).value();
  Stream stream{&pool};
  const auto weight = PackLinearCpu(target, Rows<const bf16>(w.data(), shape.out, shape.in));
  std::vector<float> y(shape.rows * shape.out, -7.0f);
  LinearArgs args{Rows<const bf16>(x.data(), shape.rows, shape.in), &weight.value()};
  args.y_fp32 = Rows<float>(y.data(), shape.rows, shape.out);
  LinearCpu(target, args, stream);
  return y;
}

// Compares every fp32 output of every target with its chain.
void ExpectChains(const Shape& shape, const std::vector<bf16>& x, const std::vector<bf16>& w,
                  int threads = 1) {
  std::vector<float> expected(shape.rows * shape.out);
  for (int64_t r = 0; r < shape.rows; ++r) {
    for (int64_t o = 0; o < shape.out; ++o) {
      expected[r * shape.out + o] =
          Chain(x.data() + r * shape.in, w.data() + o * shape.in, shape.in);
    }
  }
  for (const CpuTarget target : SupportedCpuTargets()) {
    const std::vector<float> y = RunLinear(target, shape, x, w, threads);
    for (size_t i = 0; i < y.size(); ++i) {
      ASSERT_EQ(CanonicalWord(y[i]), CanonicalWord(expected[i]))
          << CpuTargetName(target) << " row " << i / shape.out << " output " << i % shape.out;
    }
  }
}

TEST(LinearCpu, EqualsTheChainOnModelLikeValues) {
  for (const int64_t rows : {1, 2, 3, 5, 33, 70}) {
    for (const int64_t in : {16, 40, 576}) {
      for (const int64_t out : {1, 31, 64, 200}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << in << " x " << out);
        ExpectChains({rows, in, out}, GaussianBf16(rows * in, 3.0f, 1),
                     GaussianBf16(out * in, 0.05f, 2), static_cast<int>(rows % 4 + 1));
      }
    }
  }
}

TEST(LinearCpu, EqualsTheChainOnEveryRangeOfExponents) {
  const int edges[][2] = {{0, 1},     {0, 30},    {20, 80},   {100, 130}, {60, 190},
                          {140, 200}, {180, 186}, {200, 254}, {0, 254},   {250, 255}};
  uint32_t seed = 10;
  for (const auto& x : edges) {
    for (const auto& w : edges) {
      SCOPED_TRACE(testing::Message()
                   << "x " << x[0] << ".." << x[1] << ", w " << w[0] << ".." << w[1]);
      const Shape shape = {3, 80, 70};
      seed += 2;
      ExpectChains(shape, RandomBf16(shape.rows * shape.in, x[0], x[1], seed),
                   RandomBf16(shape.out * shape.in, w[0], w[1], seed + 1));
    }
  }
}

// Exponents of c, of products and of both against the floor of the fast path: sums that shrink.
TEST(LinearCpu, EqualsTheChainOnCancellation) {
  for (int gap = 0; gap<140; gap += ScaledCases(20)> 2 ? 1 : 10) {
    SCOPED_TRACE(gap);
    const Shape shape = {2, 64, 40};
    std::vector<bf16> x = GaussianBf16(shape.rows * shape.in, 1.0f, 100 + gap);
    std::vector<bf16> w = GaussianBf16(shape.out * shape.in, 1.0f, 300 + gap);
    for (int64_t r = 0; r < shape.rows; ++r) {
      for (int64_t i = 0; i < shape.in; ++i) {
        // The second group repeats the first; its weights have the other sign.
        if (i / 16 == 1) x[r * shape.in + i] = x[r * shape.in + i - 16];
        // The later groups are 2^-gap smaller.
        if (i / 16 >= 2) {
          const float small = std::ldexp(FloatFromBf16(x[r * shape.in + i]), -gap);
          x[r * shape.in + i] = Bf16FromFloat(small);
        }
      }
    }
    for (int64_t o = 0; o < shape.out; ++o) {
      for (int64_t i = 16; i < 32; ++i) {
        w[o * shape.in + i].bits = w[o * shape.in + i - 16].bits ^ 0x8000u;
      }
    }
    ExpectChains(shape, x, w);
  }
}

// 16 products of nearly 4 and a large c: the truncated sum passes 2^31 units.
TEST(LinearCpu, EqualsTheChainWhereSumsPass31Bits) {
  for (const int sign : {0, 0x8000}) {
    const Shape shape = {2, 480, 33};
    const std::vector<bf16> x(shape.rows * shape.in, bf16{0x3fff});
    const std::vector<bf16> w(shape.out * shape.in, bf16{static_cast<uint16_t>(0x3fff | sign)});
    ExpectChains(shape, x, w);
  }
}

TEST(LinearCpu, EqualsTheChainWhereOperandsAreZero) {
  const Shape shape = {3, 48, 40};
  const std::vector<bf16> zeros_x(shape.rows * shape.in);
  const std::vector<bf16> zeros_w(shape.out * shape.in, bf16{0x8000});
  const std::vector<bf16> x = GaussianBf16(shape.rows * shape.in, 1.0f, 1);
  const std::vector<bf16> w = GaussianBf16(shape.out * shape.in, 1.0f, 2);
  ExpectChains(shape, zeros_x, w);
  ExpectChains(shape, x, zeros_w);
  ExpectChains(shape, zeros_x, zeros_w);
}

// Every corner that a Hopper tensor core ran (c, a, b): a first group of products with 1 builds c
// exactly from three bf16 pieces, the second group is the corner's.
TEST(LinearCpu, EqualsTheHardwareAtItsCorners) {
  struct Corner {
    uint32_t c;
    bf16 a[16];
    bf16 b[16];
    uint32_t answer;
    uint32_t kind;
  };
  const std::vector<std::byte> bytes = ReadTestFile(TestDataPath("oracle/dot16_corners.bin"));
  const Shape shape = {1, 32, 1};
  int tried = 0;
  for (size_t i = 0; i<bytes.size() / sizeof(Corner); i += ScaledCases(8)> 1 ? 1 : 8) {
    Corner corner;
    std::memcpy(&corner, bytes.data() + i * sizeof(Corner), sizeof(Corner));
    std::vector<bf16> x(32);
    std::vector<bf16> w(32, bf16{0x3f80});
    float rest = FloatFromWord(corner.c);
    for (int piece = 0; piece < 3 && std::isfinite(rest); ++piece) {
      x[piece] = bf16{static_cast<uint16_t>(WordFromFloat(rest) >> 16)};
      rest = rest - FloatFromBf16(x[piece]);
    }
    if (WordFromFloat(Dot16(0.0f, x.data(), w.data())) != corner.c) continue;
    ++tried;
    std::copy_n(corner.a, 16, x.begin() + 16);
    std::copy_n(corner.b, 16, w.begin() + 16);
    for (const CpuTarget target : SupportedCpuTargets()) {
      ASSERT_EQ(CanonicalWord(RunLinear(target, shape, x, w, 1)[0]),
                CanonicalWord(FloatFromWord(corner.answer)))
          << CpuTargetName(target) << " corner " << i << " kind " << corner.kind;
    }
  }
  EXPECT_GT(tried, ScaledCases(4000, 400));
}

}  // namespace
}  // namespace vexact
