// Mutated templates: none may crash, hang or spend more than its limits. The mutations are the same
// in every run.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "chat/chat_template.h"
#include "chat/json.h"
#include "support/paths.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

std::vector<std::string> ReadTemplates() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry :
       std::filesystem::directory_iterator(SourceDir() + "/tests/data/chat/templates")) {
    paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> texts;
  for (const std::filesystem::path& path : paths) {
    std::ifstream file(path, std::ios::binary);
    texts.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return texts;
}

ChatInput Input() {
  ChatInput input;
  input.messages = ParseChatJson(R"([
    {"role": "system", "content": "s"}, {"role": "user", "content": "ü"},
    {"role": "assistant", "content": "", "tool_calls": [
      {"id": "abcdef123", "function": {"name": "f", "arguments": {"a": [1, 2.5, null]}}}]},
    {"role": "tool", "content": "r", "tool_call_id": "abcdef123"},
    {"role": "assistant", "content": "<think>t</think>b"}])",
                                 "messages")
                       .value();
  input.tools = ParseChatJson(R"([{"type": "function", "function": {"name": "f", "description": "d",
    "parameters": {"type": "object", "properties": {"a": {"type": "array"}}}}}])",
                              "tools")
                    .value();
  return input;
}

class Mutator {
 public:
  explicit Mutator(const std::vector<std::string>& templates) : templates_(templates) {}

  std::string Next() {
    std::string text = templates_[Below(templates_.size())];
    const size_t changes = 1 + Below(4);
    for (size_t i = 0; i < changes; ++i) Change(text);
    return text;
  }

 private:
  size_t Below(size_t bound) { return random_() % bound; }

  // A piece of some template, often a whole tag.
  std::string Piece() {
    const std::string& text = templates_[Below(templates_.size())];
    const size_t tag = text.find('{', Below(text.size()));
    const size_t start = tag == std::string::npos ? Below(text.size()) : tag;
    const size_t end = text.find('}', start);
    return end == std::string::npos ? text.substr(start, 20) : text.substr(start, end - start + 2);
  }

  void Change(std::string& text) {
    static const char* const kTokens[] = {"{%",         "%}",     "{{",
                                          "}}",         "-",      "(",
                                          ")",          "[",      "]",
                                          "|",          ".",      ",",
                                          "'",          "\\",     "loop",
                                          "in",         "if",     "else",
                                          "not",        "is",     "**",
                                          "9",          "\n",     "{#",
                                          "#}",         "~",      "*",
                                          "%",          "None",   "range",
                                          "messages",   "|list",  "|tojson(indent=9)",
                                          ".split('')", "[::-1]", "\xc3"};
    const size_t at = Below(text.size() + 1);
    switch (Below(5)) {
      case 0:
        text.erase(at, Below(30));
        break;
      case 1:
        text.insert(at, kTokens[Below(std::size(kTokens))]);
        break;
      case 2:
        text.insert(at, Piece());
        break;
      case 3:
        text.insert(at, text.substr(at / 2, Below(200)));
        break;
      default:
        if (at < text.size()) text[at] = static_cast<char>(' ' + Below(95));
    }
  }

  const std::vector<std::string>& templates_;
  std::mt19937_64 random_;  // the default seed
};

TEST(ChatTemplateFuzz, MutatedTemplatesEndInAPromptOrAnError) {
  const std::vector<std::string> templates = ReadTemplates();
  ASSERT_EQ(templates.size(), 12u);
  const ChatInput input = Input();
  const ChatLimits limits = {
      .max_work = 100'000, .max_value_bytes = 10'000'000, .max_output_bytes = 1'000'000};
  Mutator mutator(templates);
  const int cases = ScaledCases(5000);
  int parsed = 0;
  int rendered = 0;
  for (int i = 0; i < cases; ++i) {
    const Result<ChatTemplate> chat = ChatTemplate::Parse(
        {.text = mutator.Next(), .tool_use_text = "", .special_tokens = {{"bos_token", "<s>"}}});
    if (!chat.ok()) continue;
    ++parsed;
    const Result<std::string> prompt = chat->Render(input, limits);
    if (!prompt.ok()) continue;
    ++rendered;
    ASSERT_LE(prompt->size(), 1'000'000u);
  }
  // The mutations leave enough whole that both ends are reached.
  EXPECT_GT(parsed, cases / 10);
  EXPECT_GT(rendered, cases / 100);
}

}  // namespace
}  // namespace vexact
