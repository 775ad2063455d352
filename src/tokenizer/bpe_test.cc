#include "tokenizer/bpe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace vexact {
namespace {

using ::testing::ElementsAre;

// The definition, word for word: quadratic.
std::vector<int32_t> MergeOneByOne(std::vector<int32_t> ids, const std::vector<BpeMerge>& merges) {
  while (true) {
    size_t best_rank = merges.size();
    size_t best_place = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      for (size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank].left == ids[i] && merges[rank].right == ids[i + 1]) {
          best_rank = rank;
          best_place = i;
        }
      }
    }
    if (best_rank == merges.size()) return ids;
    ids[best_place] = merges[best_rank].merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best_place) + 1);
  }
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  int32_t Below(size_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<int32_t>((state_ >> 33) % n);
  }

 private:
  uint64_t state_;
};

struct Model {
  TokenTable tokens;
  std::vector<BpeMerge> merges;
};

// "a", "b", "c" and random joins of them, whose merges come in random order: a pair may rank before
// the merges that make its halves, which no training gives but a file may.
Model RandomModel(Random& random) {
  Model model;
  std::vector<std::string> texts = {"a", "b", "c"};
  for (size_t i = 0; i < texts.size(); ++i) {
    EXPECT_TRUE(
        model.tokens.Add(texts[i], static_cast<int64_t>(i), TokenTable::Origin::kModel).ok());
  }
  std::set<std::pair<int32_t, int32_t>> pairs;
  for (int i = 0; i < 20; ++i) {
    const int32_t left = random.Below(texts.size());
    const int32_t right = random.Below(texts.size());
    const std::string joined = texts[static_cast<size_t>(left)] + texts[static_cast<size_t>(right)];
    std::optional<int32_t> id = model.tokens.FindText(joined);
    if (!id) {
      id = static_cast<int32_t>(texts.size());
      texts.push_back(joined);
      EXPECT_TRUE(model.tokens.Add(joined, *id, TokenTable::Origin::kModel).ok());
    }
    if (pairs.insert({left, right}).second) model.merges.push_back({left, right, *id});
  }
  for (size_t i = model.merges.size(); i > 1; --i) {
    std::swap(model.merges[i - 1], model.merges[static_cast<size_t>(random.Below(i))]);
  }
  return model;
}

TEST(Bpe, ShortAndLongWordsFollowTheDefinition) {
  Random random(1);
  Bpe::Scratch scratch;
  for (int round = 0; round < 300; ++round) {
    const Model model = RandomModel(random);
    const Bpe bpe(model.tokens, model.merges, std::nullopt);
    for (const int size : {0, 1, 2, 3, 7, 23, 24, 25, 60, 200}) {
      std::string word;
      std::vector<int32_t> symbols;
      for (int i = 0; i < size; ++i) {
        symbols.push_back(random.Below(3));
        word += static_cast<char>('a' + symbols.back());
      }
      std::vector<int32_t> ids;
      bpe.Encode(word, scratch, ids);
      ASSERT_EQ(ids, MergeOneByOne(symbols, model.merges)) << word;
    }
  }
}

TEST(Bpe, ABytesWithoutATokenIsDroppedOrUnknown) {
  TokenTable tokens;
  for (const char* text : {"a", "b", "ab", "<unk>"}) {
    ASSERT_TRUE(tokens.Add(text, tokens.size(), TokenTable::Origin::kModel).ok());
  }
  const std::vector<BpeMerge> merges = {{0, 1, 2}};
  Bpe::Scratch scratch;
  for (const std::string tail : {"", "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}) {
    std::vector<int32_t> dropped, unknown;
    Bpe(tokens, merges, std::nullopt).Encode("axb" + tail, scratch, dropped);
    Bpe(tokens, merges, 3).Encode("axb" + tail, scratch, unknown);
    dropped.resize(2, -1);
    unknown.resize(3);
    EXPECT_THAT(dropped, ElementsAre(2, tail.empty() ? -1 : 1));
    EXPECT_THAT(unknown, ElementsAre(0, 3, 1));
  }
}

TEST(Bpe, APairThatIsListedTwiceHasItsLastRank) {
  TokenTable tokens;
  for (const char* text : {"a", "b", "ab", "ba"}) {
    ASSERT_TRUE(tokens.Add(text, tokens.size(), TokenTable::Origin::kModel).ok());
  }
  const std::vector<BpeMerge> merges = {{0, 1, 2}, {1, 0, 3}, {0, 1, 2}};
  Bpe::Scratch scratch;
  std::vector<int32_t> ids;
  Bpe(tokens, merges, std::nullopt).Encode("aba", scratch, ids);
  EXPECT_THAT(ids, ElementsAre(0, 3));
}

}  // namespace
}  // namespace vexact
