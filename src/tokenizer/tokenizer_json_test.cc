// tokenizer.json: what is read, what is refused and how, and that nothing in it crashes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tokenizer/byte_level.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace vexact {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// The 256 bytes, "he" and "llo"; "<s>" is special, "<x>" is not.
Json SmallJson() {
  Json vocab;
  for (int byte = 0; byte < 256; ++byte) {
    const char c = static_cast<char>(byte);
    vocab[ByteLevelText(std::string_view(&c, 1))] = byte;
  }
  vocab["he"] = 256;
  vocab["ll"] = 257;
  Json json;
  json["model"] = {{"type", "BPE"}, {"vocab", vocab}, {"merges", Json::array({"h e", "l l"})}};
  json["added_tokens"] = {{{"id", 258}, {"content", "<s>"}, {"special", true}},
                          {{"id", 259}, {"content", "<x>"}, {"special", false}}};
  json["normalizer"] = nullptr;
  json["pre_tokenizer"] = {{"type", "ByteLevel"}, {"add_prefix_space", false}};
  json["post_processor"] = nullptr;
  json["decoder"] = {{"type", "ByteLevel"}};
  return json;
}

Result<Tokenizer> Load(const Json& json, const std::string& config = "") {
  return Tokenizer::FromHfJson(json.dump(), config, "tokenizer.json");
}

std::string Refusal(const Json& json, const std::string& config = "") {
  const Result<Tokenizer> tokenizer = Load(json, config);
  return tokenizer.ok() ? "accepted" : tokenizer.error().message;
}

TEST(TokenizerJson, ReadsMergesAsStringsAndAsPairs) {
  Json json = SmallJson();
  EXPECT_THAT(Load(json).value().Encode("hello", {}), ElementsAre(256, 257, 'o'));
  json["model"]["merges"] = Json::array({Json::array({"h", "e"}), Json::array({"l", "l"})});
  EXPECT_THAT(Load(json).value().Encode("hello", {}), ElementsAre(256, 257, 'o'));
}

TEST(TokenizerJson, AnErrorIsShortHoweverLongTheTextThatItQuotes) {
  const std::string unfinished = "{\"model\": \"" + std::string(1 << 20, 'x');
  const std::string error = Tokenizer::FromHfJson(unfinished, "", "tokenizer.json").error().message;
  EXPECT_THAT(error, StartsWith("tokenizer.json: expected JSON, found: "));
  EXPECT_LT(error.size(), 300u);
}

TEST(TokenizerJson, TemplatesWrapTheText) {
  Json json = SmallJson();
  const Json sequence = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  const Json special = {{"SpecialToken", {{"id", "<s>"}, {"type_id", 0}}}};
  const Json one = {{"type", "TemplateProcessing"},
                    {"single", Json::array({special, sequence})},
                    {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", Json::array({258})}}}}}};
  json["post_processor"] = {{"type", "Sequence"},
                            {"processors", Json::array({{{"type", "ByteLevel"}}, one})}};
  EXPECT_THAT(Load(json).value().Encode("h", {}), ElementsAre(258, 'h'));
  EXPECT_THAT(Load(json).value().Encode("h", {.add_special_tokens = false}), ElementsAre('h'));
  json["post_processor"]["processors"][1]["single"] = Json::array({sequence, special, special});
  EXPECT_THAT(Load(json).value().Encode("h", {}), ElementsAre('h', 258, 258));
  json["post_processor"]["processors"][1]["single"] = Json::array({special});
  EXPECT_THAT(Refusal(json), HasSubstr("expected Sequence A once, found 0 times"));
}

TEST(TokenizerJson, ConfigNamesBosAndEosAndAddsTokens) {
  const Json json = SmallJson();
  const Tokenizer tokenizer =
      Load(json, R"({"bos_token": null, "eos_token": {"content": "<s>"}, "added_tokens_decoder":
                    {"258": {"content": "<s>", "special": true},
                     "260": {"content": "<new>", "special": true}}})")
          .value();
  EXPECT_EQ(tokenizer.bos_id(), std::nullopt);
  EXPECT_EQ(tokenizer.eos_id(), 258);
  EXPECT_THAT(tokenizer.stop_ids(), ElementsAre(258));
  EXPECT_THAT(tokenizer.Encode("<new>", {}), ElementsAre(260));
  EXPECT_THAT(Refusal(json, R"({"eos_token": "<none>"})"),
              HasSubstr("tokenizer_config.json: \"eos_token\": expected a token of the vocabulary, "
                        "found \"<none>\""));
  EXPECT_THAT(Refusal(json, R"({"added_tokens_decoder": {"x": {"content": "<y>"}}})"),
              HasSubstr("expected token ids, found \"x\""));
}

struct Change {
  const char* place;  // JSON pointer
  Json value;
  const char* message;
};

TEST(TokenizerJson, RefusesByNameWhatItDoesNotDo) {
  const std::vector<Change> changes = {
      {"/model/type", "WordPiece", "model: expected type \"BPE\", found \"WordPiece\""},
      {"/model/dropout", 0.1, "model.dropout: expected null, found 0.1"},
      {"/model/byte_fallback", true, "model.byte_fallback: expected false"},
      {"/model/fuse_unk", true, "model.fuse_unk: expected false"},
      {"/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix"},
      {"/model/unk_token", "<unk>", "model.unk_token: expected a token"},
      {"/model/ignore_merges", 1, "\"ignore_merges\": expected true or false, found 1"},
      {"/normalizer", {{"type", "NFKC"}}, "normalizer: expected type \"NFC\" or \"Sequence\""},
      {"/pre_tokenizer", {{"type", "Metaspace"}}, "pre_tokenizer: expected type"},
      {"/pre_tokenizer", nullptr, "pre_tokenizer: expected a ByteLevel at its end, found none"},
      {"/pre_tokenizer/add_prefix_space", true, "expected add_prefix_space false"},
      {"/decoder", {{"type", "Metaspace"}}, "decoder: expected type \"ByteLevel\" alone"},
      {"/decoder", nullptr, "decoder: expected type \"ByteLevel\" alone, found null"},
      {"/post_processor", {{"type", "BertProcessing"}}, "found \"BertProcessing\""},
  };
  for (const Change& change : changes) {
    Json json = SmallJson();
    json[Json::json_pointer(change.place)] = change.value;
    EXPECT_THAT(Refusal(json), HasSubstr(change.message)) << change.place;
    EXPECT_THAT(Refusal(json), StartsWith("tokenizer.json: ")) << change.place;
  }
}

TEST(TokenizerJson, RefusesSplitsThatItDoesNotKnow) {
  Json json = SmallJson();
  const Json byte_level = json["pre_tokenizer"];
  Json split = {{"type", "Split"}, {"pattern", {{"Regex", "\\w+"}}}, {"behavior", "Isolated"}};
  const auto with = [&](const Json& a, const Json& b) {
    json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", Json::array({a, b})}};
    return Refusal(json);
  };
  EXPECT_THAT(with(split, byte_level), HasSubstr("expected the regex of GPT-2, Llama 3 or Qwen2"));
  EXPECT_THAT(with(byte_level, split), HasSubstr("expected ByteLevel to be the last"));
  split["pattern"]["Regex"] =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  EXPECT_EQ(with(split, byte_level), "accepted");
  split["behavior"] = "Removed";
  EXPECT_THAT(with(split, byte_level), HasSubstr("expected behavior \"Isolated\""));
}

TEST(TokenizerJson, RefusesANormalizedTokenThatNfcChanges) {
  Json json = SmallJson();
  json["added_tokens"][1] = {{"id", 259}, {"content", "\u212b"}, {"normalized", true}};
  EXPECT_EQ(Refusal(json), "accepted");
  json["normalizer"] = {{"type", "NFC"}};
  EXPECT_THAT(Refusal(json),
              HasSubstr("added token 259 with \"normalized\" true: expected content"));
}

TEST(TokenizerJson, RefusesBrokenVocabularies) {
  const std::vector<Change> changes = {
      {"/model/vocab", Json::array(), "model.vocab: expected an object"},
      {"/model/vocab/he", -1, "expected a token id from 0 to 4194303, found -1"},
      {"/model/vocab/he", 4194304, "expected an id from 0 to 4194303, found 4194304"},
      {"/model/vocab/he", 18446744073709551615u, "expected a token id"},
      {"/model/vocab/he", 1.5, "expected a token id"},
      {"/model/vocab/he", 7, "token id 7: expected one text"},
      {"/model/merges", Json::array({"h e l"}), "expected two tokens with one space between"},
      {"/model/merges", Json::array({"h l"}), "\"hl\" is none"},
      {"/model/merges", Json::array({Json::array({"h"})}), "model.merges: expected"},
      {"/added_tokens", "x", "added_tokens: expected an array"},
      {"/added_tokens/0/id", 3, "token id 3: expected one text"},
      {"/added_tokens/0/id", 260, "accepted"},
      {"/added_tokens/0/content", 3, "\"content\": expected a string, found 3"},
  };
  for (const Change& change : changes) {
    Json json = SmallJson();
    json[Json::json_pointer(change.place)] = change.value;
    EXPECT_THAT(Refusal(json), HasSubstr(change.message)) << change.place;
  }
}

TEST(TokenizerJson, RefusesWhatIsNotAJsonObject) {
  for (const char* text : {"", "[]", "{", "{\"model\": \"\xff\"}", "{\"a\": \"\\ud800\"}", "nul"}) {
    EXPECT_FALSE(Tokenizer::FromHfJson(text, "", "t").ok()) << text;
  }
}

TEST(TokenizerJson, RefusesDeepNesting) {
  for (const std::string open : {"[", "{\"a\":"}) {
    std::string text = "{\"model\": ";
    for (int i = 0; i < 2000000; ++i) text += open;
    EXPECT_THAT(Tokenizer::FromHfJson(text, "", "t").error().message,
                HasSubstr("expected at most 32 levels of nesting"));
    EXPECT_THAT(Load(SmallJson(), text).ok(), false);
  }
}

class Random {
 public:
  size_t Below(size_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<size_t>(state_ >> 33) % n;
  }

 private:
  uint64_t state_ = 20261122;
};

// Replaces, removes, repeats and inserts pieces of a valid file.
std::string Mutated(std::string text, Random& random) {
  static const std::vector<std::string> kPieces = {"{",
                                                   "}",
                                                   "[",
                                                   "]",
                                                   "\"",
                                                   ",",
                                                   ":",
                                                   "null",
                                                   "true",
                                                   "-1",
                                                   "4194303",
                                                   "99999999999999999999",
                                                   "1e9",
                                                   "\"Sequence\"",
                                                   "\"ByteLevel\"",
                                                   "\"special\"",
                                                   "\\u0000",
                                                   "\xff",
                                                   "\u0120",
                                                   " "};
  for (size_t i = 1 + random.Below(4); i > 0; --i) {
    const size_t at = random.Below(text.size());
    const size_t size = random.Below(std::min<size_t>(20, text.size() - at) + 1);
    switch (random.Below(5)) {
      case 0:
        text[at] = static_cast<char>(random.Below(256));
        break;
      case 1:
        text.erase(at, size);
        break;
      case 2:
        text.insert(random.Below(text.size()), text.substr(at, size));
        break;
      case 3:
        text.insert(at, kPieces[random.Below(kPieces.size())]);
        break;
      default:
        text.replace(at, size, kPieces[random.Below(kPieces.size())]);
    }
    if (text.empty()) text = "{";
  }
  return text;
}

// A file that was accepted must encode and decode anything.
void Use(const Tokenizer& tokenizer, Random& random) {
  std::string bytes;
  for (size_t i = random.Below(60); i > 0; --i) bytes += static_cast<char>(random.Below(256));
  const bool add = random.Below(2) == 0;
  const bool parse = random.Below(2) == 0;
  const std::vector<int32_t> ids = tokenizer.Encode(
      bytes + "hello <s>", {.add_special_tokens = add, .parse_special_tokens = parse});
  const Result<std::string> text = tokenizer.Decode(ids, false);
  ASSERT_TRUE(text.ok()) << text.error().message;
  ASSERT_TRUE(IsValidUtf8(*text));
  std::vector<int32_t> random_ids;
  for (int i = 0; i < 8; ++i) random_ids.push_back(static_cast<int32_t>(random.Below(600)) - 100);
  (void)tokenizer.Decode(random_ids, true);
}

std::string CompactSeed() {
  // A vocabulary small enough that most mutations hit the structure.
  return R"({"added_tokens":[{"id":6,"content":"<s>","single_word":false,"lstrip":true,)"
         R"("rstrip":true,"normalized":true,"special":true}],"normalizer":{"type":"Sequence",)"
         R"("normalizers":[{"type":"NFC"}]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[)"
         R"({"type":"Digits","individual_digits":true},{"type":"ByteLevel",)"
         R"("add_prefix_space":false,"use_regex":true}]},"post_processor":{"type":)"
         R"("TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],)"
         R"("special_tokens":{"<s>":{"ids":[6]}}},"decoder":{"type":"ByteLevel"},"model":{)"
         R"("type":"BPE","unk_token":"l","ignore_merges":true,"vocab":{"h":0,"e":1,"l":2,"o":3,)"
         R"("he":4,"ll":5},"merges":["h e",["l","l"]]}})";
}

TEST(TokenizerJson, NoMutationOfAFileCrashes) {
  const std::string seed = CompactSeed();
  const std::string config =
      R"({"eos_token":"<s>","added_tokens_decoder":{"7":{"content":"<t>"}}})";
  ASSERT_TRUE(Tokenizer::FromHfJson(seed, config, "seed").ok());
  Random random;
  int num_accepted = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
  for (int i = 0; i < 20000 && std::chrono::steady_clock::now() < end; ++i) {
    const bool in_config = random.Below(4) == 0;
    const Result<Tokenizer> tokenizer =
        Tokenizer::FromHfJson(in_config ? seed : Mutated(seed, random),
                              in_config ? Mutated(config, random) : config, "mutated");
    if (!tokenizer.ok()) {
      ASSERT_THAT(tokenizer.error().message, StartsWith("mutated: "));
      continue;
    }
    ++num_accepted;
    Use(*tokenizer, random);
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(num_accepted, 0);
}

}  // namespace
}  // namespace vexact
