#include "tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tokenizer/byte_level.h"

namespace vexact {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr EncodeOptions kPlain = {.add_special_tokens = false, .parse_special_tokens = false};
constexpr EncodeOptions kParse = {.add_special_tokens = false, .parse_special_tokens = true};

// Ids 0-255 are the bytes; 256 "he", 257 "ll", 258 "hell"; 259 <bos> and 260 <eos> are control
// tokens, 261 <think> is user-defined and 262 is unused.
TokenizerVocabulary SmallVocabulary(const std::string& pre) {
  TokenizerVocabulary v;
  v.source = "small.gguf";
  v.model = "gpt2";
  v.pre = pre;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    v.tokens.push_back(ByteLevelText(std::string_view(&c, 1)));
  }
  v.token_types.assign(256 + 3, 1);
  for (const char* token : {"he", "ll", "hell", "<bos>", "<eos>", "<think>", "[PAD0]"}) {
    v.tokens.emplace_back(token);
  }
  for (const int32_t type : {3, 3, 4, 5}) v.token_types.push_back(type);
  v.merges = {"h e", "l l", "he ll"};
  v.bos_id = 259;
  v.eos_id = 260;
  return v;
}

Tokenizer Small(const std::string& pre = "qwen2") {
  return Tokenizer::FromVocabulary(SmallVocabulary(pre)).value();
}

std::string Refusal(const TokenizerVocabulary& vocabulary) {
  const Result<Tokenizer> tokenizer = Tokenizer::FromVocabulary(vocabulary);
  return tokenizer.ok() ? "accepted" : tokenizer.error().message;
}

TEST(Tokenizer, MergesTheLowestRankFirst) {
  EXPECT_THAT(Small().Encode("hello", kPlain), ElementsAre(258, 'o'));
  EXPECT_THAT(Small().Encode("lllhe", kPlain), ElementsAre(257, 'l', 256));
}

TEST(Tokenizer, EmptyTextHasOnlyTheAddedTokens) {
  EXPECT_THAT(Small().Encode("", {}), IsEmpty());
  EXPECT_THAT(Small("llama-bpe").Encode("", {}), ElementsAre(259));
}

TEST(Tokenizer, AddsBosAndEosAsTheFileSaysAndLlamaBosByDefault) {
  TokenizerVocabulary v = SmallVocabulary("llama-bpe");
  EXPECT_THAT(Tokenizer::FromVocabulary(v).value().Encode("he", {}), ElementsAre(259, 256));
  v.add_bos = false;
  v.add_eos = true;
  EXPECT_THAT(Tokenizer::FromVocabulary(v).value().Encode("he", {}), ElementsAre(256, 260));
  EXPECT_THAT(Tokenizer::FromVocabulary(v).value().Encode("he", kParse), ElementsAre(256));
}

TEST(Tokenizer, SpecialTokensAreTextUnlessParsed) {
  EXPECT_THAT(Small().Encode("he<eos>he", kParse), ElementsAre(256, 260, 256));
  EXPECT_THAT(Small().Encode("<eos>", kPlain), ElementsAre('<', 'e', 'o', 's', '>'));
}

TEST(Tokenizer, UserDefinedTokensAreFoundEitherWay) {
  EXPECT_THAT(Small().Encode("<think>he", kParse), ElementsAre(261, 256));
  EXPECT_THAT(Small().Encode("<think>he", kPlain), ElementsAre(261, 256));
}

TEST(Tokenizer, AnAddedTokenIsNotAWordOfIgnoreMerges) {
  TokenizerVocabulary v = SmallVocabulary("llama-bpe");
  v.tokens[259] = "hehe";
  EXPECT_THAT(Tokenizer::FromVocabulary(v).value().Encode("hehe", kPlain), ElementsAre(256, 256));
}

TEST(Tokenizer, InvalidUtf8IsEncodedAsReplacementCharacters) {
  const Tokenizer tokenizer = Small();
  EXPECT_EQ(tokenizer.Encode("a\xff\xe2\x82z", kPlain), tokenizer.Encode("a\ufffd\ufffdz", kPlain));
}

TEST(Tokenizer, DecodeSkipsSpecialTokensOnRequest) {
  const std::vector<int32_t> ids = {259, 258, 'o', 261, 260};
  EXPECT_EQ(Small().Decode(ids, false).value(), "<bos>hello<think><eos>");
  EXPECT_EQ(Small().Decode(ids, true).value(), "hello<think>");
}

TEST(Tokenizer, DecodeNamesAnUnknownId) {
  const std::vector<int32_t> ids = {'a', 262};
  EXPECT_THAT(Small().Decode(ids, false).error().message, HasSubstr("262"));
  const std::vector<int32_t> negative = {-1};
  EXPECT_THAT(Small().Decode(negative, false).error().message, HasSubstr("-1"));
}

TEST(Tokenizer, KnowsItsIds) {
  TokenizerVocabulary v = SmallVocabulary("smollm");
  v.eot_id = 261;
  v.eom_id = 260;
  const Tokenizer tokenizer = Tokenizer::FromVocabulary(v).value();
  EXPECT_EQ(tokenizer.vocab_size(), 262);
  EXPECT_EQ(tokenizer.TokenId("<eos>"), 260);
  EXPECT_EQ(tokenizer.TokenId("\u0120"), ' ');
  EXPECT_EQ(tokenizer.TokenId(" "), std::nullopt);
  EXPECT_EQ(tokenizer.TokenId("\xff"), std::nullopt);
  EXPECT_EQ(tokenizer.TokenText(' '), "\u0120");
  EXPECT_EQ(tokenizer.TokenBytes(0xff), "\xff");
  EXPECT_TRUE(tokenizer.is_special(259));
  EXPECT_FALSE(tokenizer.is_special(261));
  EXPECT_FALSE(tokenizer.is_special(-1));
  EXPECT_FALSE(tokenizer.Contains(262));
  EXPECT_EQ(tokenizer.bos_id(), 259);
  EXPECT_EQ(tokenizer.eos_id(), 260);
  EXPECT_THAT(tokenizer.stop_ids(), ElementsAre(260, 261));
}

TEST(Tokenizer, RefusesVocabulariesByName) {
  TokenizerVocabulary v = SmallVocabulary("deepseek-llm");
  EXPECT_THAT(Refusal(v), HasSubstr("small.gguf: tokenizer.ggml.pre: expected \"smollm\", "
                                    "\"llama-bpe\" or \"qwen2\", found \"deepseek-llm\""));
  v = SmallVocabulary("qwen2");
  v.model = "llama";
  EXPECT_THAT(Refusal(v), HasSubstr("found \"llama\""));
  v = SmallVocabulary("qwen2");
  v.token_types[7] = 6;
  EXPECT_THAT(Refusal(v), HasSubstr("token 7: expected token_type 1, 3, 4 or 5, found 6"));
}

TEST(Tokenizer, RefusesInconsistentVocabularies) {
  TokenizerVocabulary v = SmallVocabulary("qwen2");
  v.token_types.pop_back();
  EXPECT_THAT(Refusal(v), HasSubstr("token_type: expected 263 values"));
  v = SmallVocabulary("qwen2");
  v.tokens[1] = v.tokens[0];
  EXPECT_THAT(Refusal(v), HasSubstr("expected one id, found 0 and 1"));
  v = SmallVocabulary("qwen2");
  v.tokens[1] = "\xc3";
  EXPECT_THAT(Refusal(v), HasSubstr("token 1: expected UTF-8"));
  v = SmallVocabulary("qwen2");
  v.merges.emplace_back("h h");
  EXPECT_THAT(Refusal(v), HasSubstr("\"hh\" is none"));
  v.merges.back() = "hell";
  EXPECT_THAT(Refusal(v), HasSubstr("expected two tokens with one space between"));
  v = SmallVocabulary("qwen2");
  v.eos_id = 263;
  EXPECT_THAT(Refusal(v), HasSubstr("eos_token_id"));
  v = SmallVocabulary("llama-bpe");
  v.bos_id.reset();
  EXPECT_THAT(Refusal(v), HasSubstr("bos_token_id: expected an id"));
}

TEST(Tokenizer, IsSafeToShareBetweenThreads) {
  const Tokenizer tokenizer = Small();
  const std::vector<int32_t> expected = tokenizer.Encode("hello he 12 <eos> \u00e9", {});
  std::vector<std::vector<int32_t>> found(4);
  std::vector<std::thread> threads;
  for (std::vector<int32_t>& ids : found) {
    threads.emplace_back([&] {
      for (int i = 0; i < 100; ++i) ids = tokenizer.Encode("hello he 12 <eos> \u00e9", {});
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<int32_t>& ids : found) EXPECT_EQ(ids, expected);
}

TEST(Tokenizer, SurvivesMoveAndCopy) {
  Tokenizer first = Small();
  const Tokenizer second = std::move(first);
  const Tokenizer third = second;
  EXPECT_EQ(third.Encode("hello", kPlain), second.Encode("hello", kPlain));
}

TEST(StreamDecoder, GivesACharacterOnlyWhenItIsComplete) {
  StreamDecoder decoder(Small(), false);
  EXPECT_EQ(decoder.Append('a'), "a");
  EXPECT_EQ(decoder.Append(0xe2), "");
  EXPECT_EQ(decoder.Append(0x82), "");
  EXPECT_EQ(decoder.Append(0xac), "\u20ac");
  EXPECT_EQ(decoder.Flush(), "");
}

TEST(StreamDecoder, ReplacesWhatCannotBecomeACharacter) {
  StreamDecoder decoder(Small(), false);
  EXPECT_EQ(decoder.Append(0xf0), "");
  EXPECT_EQ(decoder.Append(0x9f), "");
  EXPECT_EQ(decoder.Append('a'), "\ufffda");
  EXPECT_EQ(decoder.Append(0xe2), "");
  EXPECT_EQ(decoder.Flush(), "\ufffd");
  EXPECT_EQ(decoder.Append('b'), "b");
}

TEST(StreamDecoder, SkipsSpecialTokensAndIdsWithoutAToken) {
  StreamDecoder decoder(Small(), true);
  std::string text;
  for (const int32_t id : {0xe2, 259, 100000, -1, 0x82, 0xac}) text += decoder.Append(id);
  EXPECT_EQ(text, "\u20ac");
}

TEST(StreamDecoder, PiecesAreTheDecodedTextForAnyIds) {
  const Tokenizer tokenizer = Small();
  uint64_t state = 1;
  for (int round = 0; round < 2000; ++round) {
    std::vector<int32_t> ids;
    for (int i = 0; i < 12; ++i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      // Mostly lead and tail bytes of UTF-8.
      const auto draw = static_cast<int32_t>(state >> 33);
      ids.push_back(draw % 8 == 0 ? draw / 8 % 262 : 0x80 + draw / 8 % 0x80);
    }
    StreamDecoder decoder(tokenizer, false);
    std::string text;
    for (const int32_t id : ids) text += decoder.Append(id);
    text += decoder.Flush();
    ASSERT_EQ(text, tokenizer.Decode(ids, false).value());
  }
}

}  // namespace
}  // namespace vexact
