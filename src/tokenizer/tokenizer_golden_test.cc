// Ids and texts equal to Hugging Face `tokenizers`, over 4,319 texts for each of five tokenizers.
// tools/make_tokenizer_goldens.py wrote tests/data/tokenizer; the version is in each file's first
// line.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "base/sha256.h"
#include "support/paths.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/utf8.h"

namespace vexact {
namespace {

using Json = nlohmann::json;

const std::string& DataFolder() {
  static const std::string folder = SourceDir() + "/tests/data/tokenizer/";
  return folder;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> ReadLines(const std::string& path) {
  std::istringstream text(ReadFile(path));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) lines.push_back(line);
  return lines;
}

// Bytes given as hexadecimal digits.
std::string Unhex(const std::string& hex) {
  std::string bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  }
  return bytes;
}

std::vector<std::string> Texts() {
  std::vector<std::string> texts;
  for (const std::string& line : ReadLines(DataFolder() + "texts.jsonl")) {
    const Json json = Json::parse(line);
    texts.push_back(json.contains("hex") ? Unhex(json["hex"]) : json["text"].get<std::string>());
  }
  return texts;
}

std::string Valid(const std::string& bytes) {
  std::string text;
  Utf8Repair repair;
  repair.Append(bytes, text);
  repair.Finish(text);
  return text;
}

std::string LongText(const Json& rule) {
  std::string text = rule.value("head", "");
  if (rule.contains("unit")) {
    const std::string unit = rule["unit"];
    for (int i = rule["repeat"]; i > 0; --i) text += unit;
  } else {
    uint64_t state = 1;
    for (int i = rule["draw"]; i > 0; --i) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      AppendUtf8(rule["base"].get<uint32_t>() +
                     static_cast<uint32_t>((state >> 33) % rule["span"].get<uint64_t>()),
                 text);
    }
  }
  return text + rule.value("tail", "");
}

void CheckText(const Tokenizer& tokenizer, const std::string& text, const Json& header,
               const Json& golden) {
  const std::vector<int32_t> ids = golden["ids"];
  ASSERT_EQ(tokenizer.Encode(text, {}), ids) << text;
  ASSERT_EQ(tokenizer.Encode(text, {.add_special_tokens = false, .parse_special_tokens = false}),
            golden.value("plain", ids))
      << text;
  const std::string around =
      header["before"].get<std::string>() + Valid(text) + header["after"].get<std::string>();
  ASSERT_EQ(tokenizer.Decode(ids, false).value(), golden.value("decoded", around));
  ASSERT_EQ(tokenizer.Decode(ids, true).value(), golden.value("skipped", Valid(text)));
}

void CheckDecoding(const Tokenizer& tokenizer, const Json& golden) {
  const std::vector<int32_t> ids = golden["decode"];
  ASSERT_EQ(tokenizer.Decode(ids, false).value(), golden["decoded"].get<std::string>());
  ASSERT_EQ(tokenizer.Decode(ids, true).value(), golden["skipped"].get<std::string>());
  for (const bool skip : {false, true}) {
    StreamDecoder decoder(tokenizer, skip);
    std::string text;
    for (const int32_t id : ids) text += decoder.Append(id);
    ASSERT_EQ(text + decoder.Flush(), tokenizer.Decode(ids, skip).value());
  }
}

void CheckLongText(const Tokenizer& tokenizer, const Json& golden) {
  const std::vector<int32_t> ids =
      tokenizer.Encode(LongText(golden["long"]), {.add_special_tokens = false});
  ASSERT_EQ(ids.size(), golden["count"].get<size_t>()) << golden;
  ASSERT_EQ(std::vector<int32_t>(ids.begin(), ids.begin() + 8),
            golden["first"].get<std::vector<int32_t>>())
      << golden;
  Sha256 hash;
  hash.Update(std::as_bytes(std::span(ids)));
  ASSERT_EQ(hash.FinishHex(), golden["sha256"].get<std::string>()) << golden;
}

void CheckGoldens(const Tokenizer& tokenizer, const std::string& name) {
  const std::vector<std::string> texts = Texts();
  const std::vector<std::string> lines = ReadLines(DataFolder() + name + "_goldens.jsonl");
  ASSERT_FALSE(lines.empty());
  const Json header = Json::parse(lines[0]);
  ASSERT_EQ(header["texts"].get<size_t>(), texts.size());
  ASSERT_GT(texts.size(), 2000u);
  size_t num_decoded = 0;
  size_t num_long = 0;
  for (size_t i = 1; i < lines.size(); ++i) {
    const Json golden = Json::parse(lines[i]);
    if (golden.contains("decode")) {
      ++num_decoded;
      CheckDecoding(tokenizer, golden);
    } else if (golden.contains("long")) {
      ++num_long;
      CheckLongText(tokenizer, golden);
    } else {
      CheckText(tokenizer, texts[i - 1], header, golden);
    }
    if (testing::Test::HasFatalFailure()) return;
  }
  EXPECT_EQ(lines.size(), 1 + texts.size() + num_decoded + num_long);
  EXPECT_GE(num_decoded, 200u);
  EXPECT_GE(num_long, 15u);
}

Tokenizer FromFile(const std::string& json_path) {
  return Tokenizer::FromHfJson(ReadFile(json_path), "", json_path).value();
}

// What a converter to GGUF writes of a tokenizer.json.
TokenizerVocabulary AsGguf(const std::string& json_path, const std::string& pre) {
  const Json json = Json::parse(ReadFile(json_path));
  TokenizerVocabulary v;
  v.source = json_path;
  v.model = "gpt2";
  v.pre = pre;
  const auto set = [&](const std::string& text, size_t id, int32_t type) {
    if (id >= v.tokens.size()) {
      v.tokens.resize(id + 1);
      v.token_types.resize(id + 1);
    }
    v.tokens[id] = text;
    v.token_types[id] = type;
  };
  for (const auto& [text, id] : json["model"]["vocab"].items()) set(text, id, 1);
  for (const Json& token : json["added_tokens"]) {
    set(token["content"], token["id"], token["special"].get<bool>() ? 3 : 4);
  }
  for (const Json& merge : json["model"]["merges"]) {
    v.merges.push_back(merge.is_string()
                           ? merge.get<std::string>()
                           : merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  return v;
}

TEST(TokenizerGolden, Llama3Regex) {
  CheckGoldens(FromFile(DataFolder() + "llama3_tokenizer.json"), "llama3");
}

TEST(TokenizerGolden, Llama3RegexOfGguf) {
  TokenizerVocabulary v = AsGguf(DataFolder() + "llama3_tokenizer.json", "llama-bpe");
  for (size_t i = 0; i < v.tokens.size(); ++i) {
    if (v.tokens[i] == "<|begin_of_text|>") v.bos_id = static_cast<int64_t>(i);
  }
  CheckGoldens(Tokenizer::FromVocabulary(v).value(), "llama3");
}

TEST(TokenizerGolden, Qwen2Regex) {
  CheckGoldens(FromFile(DataFolder() + "qwen2_tokenizer.json"), "qwen2");
}

TEST(TokenizerGolden, Qwen2RegexOfGguf) {
  const TokenizerVocabulary v = AsGguf(DataFolder() + "qwen2_tokenizer.json", "qwen2");
  CheckGoldens(Tokenizer::FromVocabulary(v).value(), "qwen2");
}

TEST(TokenizerGolden, FlagsOfAddedTokens) {
  CheckGoldens(FromFile(DataFolder() + "added_tokens_tokenizer.json"), "added_tokens");
}

TEST(TokenizerGolden, SmolLm2OfGguf) {
  TokenizerVocabulary v;
  v.source = "SmolLM2-135M-Instruct.Q4_1.gguf";
  v.model = "gpt2";
  v.pre = "smollm";
  v.tokens = ReadLines(DataFolder() + "smollm2_first_tokens.txt");
  v.merges = ReadLines(DataFolder() + "smollm2_merges.txt");
  for (std::string merge : v.merges) {
    merge.erase(merge.find(' '), 1);
    v.tokens.push_back(merge);
  }
  v.token_types.assign(v.tokens.size(), 1);
  std::fill_n(v.token_types.begin(), 17, 3);
  v.bos_id = 1;
  v.eos_id = 2;
  v.add_bos = false;
  CheckGoldens(Tokenizer::FromVocabulary(v).value(), "smollm2");
}

TEST(TokenizerGolden, Qwen3) {
  const std::string folder = SourceDir() + "/../shared/models/qwen3-tokenizer/";
  if (!std::filesystem::exists(folder + "tokenizer.json")) {
    GTEST_SKIP() << folder << " is not there (11 MB, not in the repository)";
  }
  const Tokenizer tokenizer =
      Tokenizer::FromHfJson(ReadFile(folder + "tokenizer.json"),
                            ReadFile(folder + "tokenizer_config.json"), "tokenizer.json")
          .value();
  EXPECT_EQ(tokenizer.eos_id(), tokenizer.TokenId("<|im_end|>"));
  EXPECT_EQ(tokenizer.bos_id(), std::nullopt);
  CheckGoldens(tokenizer, "qwen3");
}

}  // namespace
}  // namespace vexact
