#include "kernels/kv_write/kv_write.h"

#include <gtest/gtest.h>

#include "support/backends.h"
#include "support/flush_to_zero.h"
#include "support/matrix.h"

namespace vexact {
namespace {

constexpr int64_t kNumBlocks = 5;

// (A GPU writes K and V in norm_rope_write alone.)
struct NamedWrite {
  const char* name;
  void (*run)(const KvWriteArgs& args, Stream& stream);
};
constexpr NamedWrite kWrites[] = {{"reference", KvWriteReference}, {"cpu", KvWriteCpu}};

// A poisoned pool of one layer inside a larger one: blocks lie further apart than they are long.
struct Pool {
  Pool(int64_t block_size, int64_t kv_heads, int64_t head_dim) {
    const int64_t stride = 3 * 2 * kv_heads * block_size * head_dim;
    words.assign(static_cast<size_t>(kNumBlocks * stride), Poison<bf16>());
    kv = {words.data(), kNumBlocks, block_size, kv_heads, head_dim, stride};
  }
  std::vector<bf16> words;
  PagedKv kv;
};

TEST(KvWrite, WritesTheSlotsOfItsTokensAndNoOther) {
  std::mt19937 random(1);
  for (const NamedWrite& b : kWrites) {
    for (const int64_t block_size : {16, 32, 64}) {
      for (const int64_t head_dim : {1, 24, 64, 128}) {
        Pool pool(block_size, 3, head_dim);
        const auto k = RandomMatrix(random, Values::kSubnormal, 4, 3 * head_dim);
        const auto v = RandomMatrix(random, Values::kNormal, 4, 3 * head_dim);
        const auto last = static_cast<int32_t>(kNumBlocks * block_size - 1);
        const std::vector<int32_t> slots = {last, 0, static_cast<int32_t>(block_size),
                                            static_cast<int32_t>(2 * block_size - 1)};
        std::vector<uint8_t> faults(4, 0);
        TestStream test(2);
        {
          const ScopedFlushToZero host;
          b.run({k.view(), v.view(), slots.data(), pool.kv, faults.data()}, test.stream);
        }
        EXPECT_EQ(faults, std::vector<uint8_t>(4, 0));
        std::vector<bf16> expected(pool.words.size(), Poison<bf16>());
        for (int64_t t = 0; t < 4; ++t) {
          const int64_t slot = slots[static_cast<size_t>(t)];
          for (int64_t i = 0; i < 3 * head_dim; ++i) {
            const int64_t in_head = slot % block_size * head_dim + i % head_dim;
            const int64_t block = slot / block_size * pool.kv.block_stride;
            const int64_t head = i / head_dim;
            const int64_t head_size = block_size * head_dim;
            expected[static_cast<size_t>(block + head * head_size + in_head)] = k[t][i];
            expected[static_cast<size_t>(block + (3 + head) * head_size + in_head)] = v[t][i];
          }
        }
        EXPECT_EQ(pool.words, expected) << b.name;
      }
    }
  }
}

TEST(KvWrite, ARowWithoutASlotIsWrittenNowhereAndHasNoFault) {
  std::mt19937 random(3);
  for (const NamedWrite& b : kWrites) {
    Pool pool(16, 2, 64);
    Matrix<bf16> k(2, 128);
    k.Fill(Poison<bf16>());
    const auto v = RandomMatrix(random, Values::kNormal, 2, 128);
    const std::vector<int32_t> slots = {-1, -1};
    std::vector<uint8_t> faults = {0, 0};
    TestStream test(2);
    b.run({k.view(), v.view(), slots.data(), pool.kv, faults.data()}, test.stream);
    EXPECT_EQ(faults, (std::vector<uint8_t>{0, 0})) << b.name;
    EXPECT_EQ(pool.words, std::vector<bf16>(pool.words.size(), Poison<bf16>())) << b.name;
  }
}

TEST(KvWrite, ARowThatIsNotFiniteSetsItsFaultAndWritesZeros) {
  std::mt19937 random(2);
  for (const NamedWrite& b : kWrites) {
    for (const uint16_t bad : {0x7f80, 0xff80, 0x7fc0, 0xff81}) {
      for (const bool in_v : {false, true}) {
        Pool pool(16, 2, 40);
        auto k = RandomMatrix(random, Values::kNormal, 3, 80);
        auto v = RandomMatrix(random, Values::kNormal, 3, 80);
        (in_v ? v : k)[1][79] = bf16{bad};
        const std::vector<int32_t> slots = {17, 18, 19};
        std::vector<uint8_t> faults = {7, 0, 0};  // an earlier layer's fault stays
        TestStream test(2);
        b.run({k.view(), v.view(), slots.data(), pool.kv, faults.data()}, test.stream);
        EXPECT_EQ(faults, (std::vector<uint8_t>{7, 1, 0})) << b.name;
        for (int64_t i = 0; i < 80; ++i) {
          const int64_t d = i % 40;
          EXPECT_EQ(pool.kv.Keys(1, i / 40)[2 * 40 + d].bits, 0);
          EXPECT_EQ(pool.kv.Values(1, i / 40)[2 * 40 + d].bits, 0);
          EXPECT_EQ(pool.kv.Keys(1, i / 40)[40 + d], k[0][i]);
          EXPECT_EQ(pool.kv.Values(1, i / 40)[3 * 40 + d], v[2][i]);
        }
      }
    }
  }
}

}  // namespace
}  // namespace vexact
