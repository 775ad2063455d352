#include "kvcache/block_pool.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <map>

#include "support/property.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

std::shared_ptr<const PrefixRoot> Root(const std::string& key) {
  return std::make_shared<const PrefixRoot>(key);
}

// Takes blocks for `tokens` and enters the full ones.
std::vector<int32_t> Fill(BlockPool* pool, const std::shared_ptr<const PrefixRoot>& root,
                          const std::vector<int32_t>& tokens) {
  PrefixMatch match = pool->Match(*root, tokens);
  const auto size = static_cast<size_t>(pool->block_size());
  PrefixNode node = match.last;
  for (size_t begin = match.blocks.size() * size; begin + size <= tokens.size(); begin += size) {
    match.blocks.push_back(pool->Allocate());
    node = pool->Cache(match.blocks.back(), root, node, std::span(tokens).subspan(begin, size));
  }
  return match.blocks;
}

TEST(BlockPool, FindsTheLongestCachedPrefixAndSharesItsBlocks) {
  BlockPool pool({.num_blocks = 8, .block_size = 2});
  const auto root = Root("r");
  const std::vector<int32_t> first = Fill(&pool, root, {1, 2, 3, 4, 5, 6});
  const PrefixMatch match = pool.Match(*root, std::vector<int32_t>{1, 2, 3, 4, 9, 9});
  EXPECT_EQ(match.blocks, std::vector<int32_t>(first.begin(), first.begin() + 2));
  EXPECT_EQ(pool.references(first[0]), 2);
  EXPECT_EQ(pool.references(first[2]), 1);
  // A partial block is no block.
  EXPECT_TRUE(pool.Match(*root, std::vector<int32_t>{1}).blocks.empty());
  EXPECT_TRUE(pool.CheckInvariants().ok());
}

TEST(BlockPool, SaysWhenAMatchMayHaveGrown) {
  BlockPool pool({.num_blocks = 4, .block_size = 2});
  const auto root = Root("r");
  const std::vector<int32_t> next = {3, 4};
  EXPECT_FALSE(pool.MayHaveGrown(*root, {}, std::vector<int32_t>{1, 2}));
  Fill(&pool, root, {1, 2});
  EXPECT_TRUE(pool.MayHaveGrown(*root, {}, std::vector<int32_t>{1, 2}));
  const PrefixNode end = pool.Match(*root, std::vector<int32_t>{1, 2}).last;
  EXPECT_FALSE(pool.MayHaveGrown(*root, end, next));
  EXPECT_FALSE(pool.MayHaveGrown(*root, end, {}));
  pool.Cache(pool.Allocate(), root, end, next);
  EXPECT_TRUE(pool.MayHaveGrown(*root, end, next));
  EXPECT_FALSE(pool.MayHaveGrown(*root, end, std::vector<int32_t>{3, 5}));
  pool.Reset();
  EXPECT_TRUE(pool.MayHaveGrown(*root, end, {})) << "its end is gone";
}

TEST(BlockPool, EqualTokensUnderAnotherRootOrParentAreNotAHit) {
  BlockPool pool({.num_blocks = 8, .block_size = 2});
  const auto root = Root("salt a");
  Fill(&pool, root, {1, 2, 3, 4});
  EXPECT_TRUE(pool.Match(*Root("salt b"), std::vector<int32_t>{1, 2}).blocks.empty());
  EXPECT_TRUE(pool.Match(*root, std::vector<int32_t>{3, 4}).blocks.empty());
  EXPECT_EQ(pool.Match(*Root("salt a"), std::vector<int32_t>{1, 2}).blocks.size(), 1u);
}

TEST(BlockPool, HashCollisionsNeverHit) {
  BlockPool pool({.num_blocks = 64, .block_size = 2, .hash_mask = 0});
  const auto root = Root("r");
  for (int32_t i = 0; i < 20; ++i) Fill(&pool, root, {i, i, i, i + 1});
  EXPECT_EQ(pool.num_cached(), 40);
  for (int32_t i = 0; i < 20; ++i) {
    EXPECT_EQ(pool.Match(*root, std::vector<int32_t>{i, i, i, i + 1}).blocks.size(), 2u);
    EXPECT_EQ(pool.Match(*root, std::vector<int32_t>{i, i, i, i + 2}).blocks.size(), 1u);
  }
  EXPECT_TRUE(pool.CheckInvariants().ok());
}

TEST(BlockPool, EvictsTheLeastRecentlyUsedChainFromItsTail) {
  BlockPool pool({.num_blocks = 4, .block_size = 2});
  const auto root = Root("r");
  const std::vector<int32_t> old = Fill(&pool, root, {1, 2, 3, 4});
  const std::vector<int32_t> young = Fill(&pool, root, {5, 6, 7, 8});
  pool.Release(old);
  pool.Release(young);
  EXPECT_EQ(pool.num_available(), 4);
  EXPECT_EQ(pool.Allocate(), old[1]);
  EXPECT_EQ(pool.Match(*root, std::vector<int32_t>{1, 2, 3, 4}).blocks.size(), 1u);
  EXPECT_EQ(pool.Allocate(), young[1]);
  EXPECT_TRUE(pool.CheckInvariants().ok());
}

TEST(BlockPool, AChainWhoseParentIsGoneIsNotContinued) {
  BlockPool pool({.num_blocks = 4, .block_size = 2});
  const auto root = Root("r");
  const int32_t first = pool.Allocate();
  const PrefixNode node = pool.Cache(first, root, {}, std::vector<int32_t>{1, 2});
  pool.Reset();
  const int32_t second = pool.Allocate();
  const PrefixNode next = pool.Cache(second, root, node, std::vector<int32_t>{3, 4});
  EXPECT_EQ(pool.num_cached(), 0);
  pool.Cache(pool.Allocate(), root, next, std::vector<int32_t>{5, 6});
  EXPECT_EQ(pool.num_cached(), 0);
  // The same block as another node is not the parent that was meant.
  pool.Cache(first, root, {}, std::vector<int32_t>{7, 8});
  pool.Cache(second, root, node, std::vector<int32_t>{3, 4});
  EXPECT_EQ(pool.num_cached(), 1);
  EXPECT_TRUE(pool.MayHaveGrown(*root, node, {}));
}

TEST(BlockPool, ASecondBlockOfTheSameContentLeadsToTheFirst) {
  BlockPool pool({.num_blocks = 4, .block_size = 2});
  const auto root = Root("r");
  const PrefixNode first = pool.Cache(pool.Allocate(), root, {}, std::vector<int32_t>{1, 2});
  const PrefixNode second = pool.Cache(pool.Allocate(), root, {}, std::vector<int32_t>{1, 2});
  EXPECT_EQ(first.block, second.block);
  EXPECT_EQ(pool.num_cached(), 1);
}

TEST(BlockPool, ResetForgetsContentAndKeepsReferences) {
  BlockPool pool({.num_blocks = 4, .block_size = 2});
  const auto root = Root("r");
  const std::vector<int32_t> held = Fill(&pool, root, {1, 2});
  pool.Release(Fill(&pool, root, {3, 4}));
  pool.Reset();
  EXPECT_EQ(pool.num_cached(), 0);
  EXPECT_EQ(pool.num_used(), 1);
  EXPECT_TRUE(pool.Match(*root, std::vector<int32_t>{1, 2}).blocks.empty());
  pool.Release(held);
  EXPECT_EQ(pool.num_available(), 4);
  EXPECT_TRUE(pool.CheckInvariants().ok());
}

TEST(BlockPool, CachesNothingWhenCachingIsOff) {
  BlockPool pool({.num_blocks = 4, .block_size = 2, .enable_prefix_caching = false});
  const auto root = Root("r");
  pool.Release(Fill(&pool, root, {1, 2, 3, 4}));
  EXPECT_TRUE(pool.Match(*root, std::vector<int32_t>{1, 2}).blocks.empty());
  EXPECT_EQ(pool.num_cached(), 0);
}

// Whatever is filled, shared and released: every block is held as often as its holders say, and a
// block found for a prefix holds exactly the tokens that were written to it.
TEST(BlockPool, RandomHoldersNeverLeakNorSeeForeignContent) {
  EXPECT_TRUE(Holds(ScaledCases(100), [] {
    const auto size = *rc::gen::inRange<int32_t>(1, 4);
    const auto num_blocks = *rc::gen::inRange<int32_t>(4, 24);
    const uint64_t mask = *rc::gen::element<uint64_t>(0, 3, ~uint64_t{0});
    BlockPool pool({.num_blocks = num_blocks, .block_size = size, .hash_mask = mask});
    const std::vector<std::shared_ptr<const PrefixRoot>> roots = {Root("a"), Root("b")};
    std::vector<std::vector<int32_t>> holders;
    std::map<int32_t, std::vector<int32_t>> written;  // block -> its whole prefix, root first
    for (int step = 0; step < 60; ++step) {
      if (*rc::gen::inRange(0, 3) == 0 && !holders.empty()) {
        const auto victim = *rc::gen::inRange<size_t>(0, holders.size());
        pool.Release(holders[victim]);
        holders.erase(holders.begin() + static_cast<std::ptrdiff_t>(victim));
        continue;
      }
      const auto root = *rc::gen::inRange<int32_t>(0, 2);
      const auto tokens = *rc::gen::container<std::vector<int32_t>>(
          *rc::gen::inRange<size_t>(0, 12), rc::gen::inRange<int32_t>(0, 2));
      PrefixMatch match = pool.Match(*roots[root], tokens);
      for (size_t b = 0; b < match.blocks.size(); ++b) {
        std::vector<int32_t> prefix = {root};
        prefix.insert(prefix.end(), tokens.begin(),
                      tokens.begin() + static_cast<std::ptrdiff_t>((b + 1) * size));
        RC_ASSERT(written[match.blocks[b]] == prefix);
      }
      PrefixNode node = match.last;
      for (size_t end = (match.blocks.size() + 1) * size;
           end <= tokens.size() && pool.num_available() > 0; end += size) {
        const int32_t block = pool.Allocate();
        match.blocks.push_back(block);
        written[block] = {root};
        written[block].insert(written[block].end(), tokens.begin(),
                              tokens.begin() + static_cast<std::ptrdiff_t>(end));
        node = pool.Cache(block, roots[root], node, std::span(tokens).subspan(end - size, size));
      }
      holders.push_back(match.blocks);
      const Status status = pool.CheckInvariants();
      RC_ASSERT(status.ok());
    }
    std::vector<int32_t> references(num_blocks, 0);
    for (const auto& holder : holders) {
      for (const int32_t block : holder) ++references[block];
    }
    for (int32_t b = 0; b < num_blocks; ++b) RC_ASSERT(pool.references(b) == references[b]);
    for (const auto& holder : holders) pool.Release(holder);
    RC_ASSERT(pool.num_used() == 0);
  }));
}

}  // namespace
}  // namespace vexact
