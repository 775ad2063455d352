// The vector attention of every target where its fast path ends, and under every split of the work.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/attention/attention.h"
#include "numerics/words.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

struct Case {
  int64_t heads;
  int64_t kv_heads;
  int64_t head_dim;
  int64_t block_size;
  std::vector<int64_t> contexts;
  std::vector<int64_t> tokens;  // of each sequence
};

struct Spread {
  float q, k, v;        // standard deviations of the base 2 logarithms
  float special = 0;    // share of zeros, subnormals and the like
  bool poison = false;  // NaN and infinity in V and K of the newest positions
};

bf16 RandomValue(std::mt19937& random, float spread, float special) {
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform;
  if (uniform(random) < special) {
    const uint16_t words[] = {0, 0x8000, 1, 0x807f, 0x0080, 0x7f00, 0xff7f, 0x3f80};
    return bf16{words[random() % 8]};
  }
  return Bf16FromFloat(std::exp2(spread * normal(random)) * normal(random));
}

class Problem {
 public:
  Problem(const Case& c, const Spread& spread, uint32_t seed) : case_(c) {
    std::mt19937 random(seed);
    starts_.push_back(0);
    int64_t blocks = 0;
    for (size_t s = 0; s < c.contexts.size(); ++s) {
      starts_.push_back(static_cast<int32_t>(starts_.back() + c.tokens[s]));
      contexts_.push_back(static_cast<int32_t>(c.contexts[s]));
      table_stride_ = std::max(table_stride_, (c.contexts[s] + c.block_size - 1) / c.block_size);
      blocks += (c.contexts[s] + c.block_size - 1) / c.block_size;
    }
    const int64_t block_elements = 2 * c.kv_heads * c.block_size * c.head_dim;
    pool_.assign(blocks * block_elements, bf16{0x7fa5});
    kv_ = {pool_.data(), blocks, c.block_size, c.kv_heads, c.head_dim, block_elements};
    std::vector<int32_t> free_blocks(blocks);
    std::iota(free_blocks.begin(), free_blocks.end(), 0);
    std::shuffle(free_blocks.begin(), free_blocks.end(), random);
    tables_.assign(c.contexts.size() * table_stride_, 0);
    for (size_t s = 0; s < c.contexts.size(); ++s) FillSequence(s, spread, free_blocks, random);
    q_.resize(starts_.back() * c.heads * c.head_dim);
    for (bf16& x : q_) x = RandomValue(random, spread.q, spread.special);
  }

  std::vector<uint16_t> Reference() const {
    return Run(1,
               [](const AttentionArgs& args, Stream& stream) { AttentionReference(args, stream); });
  }
  std::vector<uint16_t> Cpu(CpuTarget target, int threads) const {
    return Run(threads, [target](const AttentionArgs& args, Stream& stream) {
      AttentionCpu(target, args, stream);
    });
  }

 private:
  void FillSequence(size_t s, const Spread& spread, std::vector<int32_t>& free_blocks,
                    std::mt19937& random) {
    for (int64_t p = 0; p < case_.contexts[s]; ++p) {
      int32_t& block = tables_[s * table_stride_ + p / case_.block_size];
      if (p % case_.block_size == 0) {
        block = free_blocks.back();
        free_blocks.pop_back();
      }
      const bool newest = spread.poison && p + 2 >= case_.contexts[s];
      for (int64_t h = 0; h < case_.kv_heads; ++h) {
        const int64_t offset = p % case_.block_size * case_.head_dim;
        for (int64_t d = 0; d < case_.head_dim; ++d) {
          bf16& k = kv_.Keys(block, h)[offset + d];
          bf16& v = kv_.Values(block, h)[offset + d];
          k = RandomValue(random, spread.k, spread.special);
          v = RandomValue(random, spread.v, spread.special);
          if (newest && d % 5 == 1) v = bf16{static_cast<uint16_t>(d % 2 == 0 ? 0x7f80 : 0x7fc0)};
          if (newest && p + 1 == case_.contexts[s] && d == 3) k = bf16{0xff80};
        }
      }
    }
  }

  template <typename F>
  std::vector<uint16_t> Run(int threads, F attention) const {
    ThreadPool pool = ThreadPool::Create(threads).value();
    Stream stream{&pool};
    const int64_t width = case_.heads * case_.head_dim;
    std::vector<bf16> y(starts_.back() * width);
    std::vector<int32_t> table_starts;
    for (size_t s = 0; s < contexts_.size(); ++s) {
      table_starts.push_back(static_cast<int32_t>(s) * static_cast<int32_t>(table_stride_));
    }
    attention(AttentionArgs{Rows<const bf16>(q_.data(), starts_.back(), width),
                            Rows<bf16>(y.data(), starts_.back(), width), case_.heads, kv_,
                            PagedSequences{static_cast<int64_t>(contexts_.size()), starts_.data(),
                                           contexts_.data(), table_starts.data(), tables_.data()}},
              stream);
    std::vector<uint16_t> words;
    for (const bf16 x : y) words.push_back(CanonicalWord(x));
    return words;
  }

  Case case_;
  int64_t table_stride_ = 0;
  std::vector<int32_t> starts_;
  std::vector<int32_t> contexts_;
  std::vector<int32_t> tables_;
  std::vector<bf16> pool_;
  PagedKv kv_;
  std::vector<bf16> q_;
};

void ExpectReference(const Case& c, const Spread& spread, uint32_t seed) {
  const Problem problem(c, spread, seed);
  const std::vector<uint16_t> expected = problem.Reference();
  for (const CpuTarget target : SupportedCpuTargets()) {
    for (const int threads : {1, 3}) {
      const std::vector<uint16_t> found = problem.Cpu(target, threads);
      for (size_t i = 0; i < found.size(); ++i) {
        ASSERT_EQ(found[i], expected[i])
            << CpuTargetName(target) << ", " << threads << " threads, row "
            << i / (c.heads * c.head_dim) << " element " << i % (c.heads * c.head_dim);
      }
    }
  }
}

// Decode, whole prompts and chunks that cross tiles and segments, in one batch.
const Case kCases[] = {
    {3, 1, 64, 16, {300, 130, 7}, {1, 40, 7}},
    {4, 2, 16, 32, {257, 128, 129}, {1, 1, 129}},
    {2, 2, 40, 16, {600}, {3}},
    {8, 1, 128, 64, {256, 140}, {12, 1}},
};

TEST(AttentionCpu, EqualsTheReferenceOnModelLikeValues) {
  for (const Case& c : kCases) ExpectReference(c, {0.5f, 0.5f, 0.5f}, 1);
}

TEST(AttentionCpu, EqualsTheReferenceOnSharpScores) {
  for (const Case& c : kCases) ExpectReference(c, {3.0f, 3.0f, 8.0f}, 2);
}

TEST(AttentionCpu, EqualsTheReferenceWithZerosSubnormalsAndHugeValues) {
  for (const Case& c : kCases) {
    ExpectReference(c, {0.5f, 0.5f, 0.5f, 0.02f}, 3);
    ExpectReference(c, {0.0f, 20.0f, 40.0f, 0.3f}, 4);
  }
}

// Rows that do not see the newest positions must not notice what stands there.
TEST(AttentionCpu, EqualsTheReferenceBesideValuesThatAreNotFinite) {
  for (const Case& c : kCases) ExpectReference(c, {0.5f, 0.5f, 0.5f, 0.0f, true}, 5);
}

}  // namespace
}  // namespace vexact
