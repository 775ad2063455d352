// Prompts equal to those of transformers' apply_chat_template, for 41 chats with each of 12
// templates, and single constructs equal to what its Jinja makes of them.
// tools/make_chat_goldens.py wrote tests/data/chat.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include "chat/chat_template.h"
#include "chat/json.h"
#include "support/paths.h"

namespace vexact {
namespace {

using testing::EndsWith;

std::string ReadFile(const std::string& name) {
  std::ifstream file(SourceDir() + "/tests/data/chat/" + name, std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<Value> ReadLines(const std::string& name) {
  std::istringstream text(ReadFile(name));
  std::vector<Value> lines;
  for (std::string line; std::getline(text, line);) {
    lines.push_back(ParseChatJson(line, name).value());
  }
  return lines;
}

const Value& Field(const Value& object, std::string_view key) { return *object.dict()->Find(key); }
const std::string& TextField(const Value& object, std::string_view key) {
  return *Field(object, key).text();
}

Result<ChatTemplate> Parse(const std::string& text) {
  return ChatTemplate::Parse({.text = text,
                              .tool_use_text = "",
                              .special_tokens = {{"bos_token", "<s>"}, {"eos_token", "</s>"}}});
}

// 2026-02-03 04:05:06, a Tuesday.
std::tm StoppedClock() {
  std::tm now = {};
  now.tm_year = 126;
  now.tm_mon = 1;
  now.tm_mday = 3;
  now.tm_hour = 4;
  now.tm_min = 5;
  now.tm_sec = 6;
  now.tm_wday = 2;
  now.tm_yday = 33;
  return now;
}

ChatInput InputOf(const Value& golden) {
  ChatInput input;
  input.messages = Field(golden, "messages");
  input.tools = Field(golden, "tools");
  input.now = StoppedClock();
  for (const Dict::Entry& option : Field(golden, "options").dict()->entries) {
    if (*option.key == "add_generation_prompt") {
      input.add_generation_prompt = *option.value.boolean();
    } else {
      input.variables.Set(option.key, option.value);
    }
  }
  return input;
}

// An exception that the template raised has to be raised here, with its message; another failure
// has to be a failure.
void ExpectGolden(const Value& golden, const Result<std::string>& found) {
  if (golden.dict()->Find("output") != nullptr) {
    ASSERT_TRUE(found.ok()) << found.error().message;
    EXPECT_EQ(*found, TextField(golden, "output"));
    return;
  }
  ASSERT_FALSE(found.ok()) << *found;
  if (golden.dict()->Find("raised") != nullptr) {
    EXPECT_THAT(found.error().message, EndsWith(": " + TextField(golden, "raised")));
  }
}

TEST(ChatGolden, PromptsAreThoseOfTransformers) {
  std::map<std::string, ChatTemplate> templates;
  const std::vector<Value> goldens = ReadLines("prompts.jsonl");
  ASSERT_EQ(goldens.size(), 1u + 12 * 41);
  for (size_t i = 1; i < goldens.size(); ++i) {
    const std::string& name = TextField(goldens[i], "template");
    SCOPED_TRACE(name + ": " + TextField(goldens[i], "case"));
    if (!templates.contains(name)) {
      Result<ChatTemplate> parsed = Parse(ReadFile("templates/" + name + ".jinja"));
      ASSERT_TRUE(parsed.ok()) << parsed.error().message;
      templates.emplace(name, std::move(parsed).value());
    }
    ExpectGolden(goldens[i], templates.at(name).Render(InputOf(goldens[i])));
  }
}

TEST(ChatGolden, ConstructsAreThoseOfJinja) {
  const std::vector<Value> goldens = ReadLines("constructs.jsonl");
  ASSERT_GT(goldens.size(), 150u);
  ChatInput input;
  input.messages = ParseChatJson(R"([{"role": "user", "content": "hi"}])", "").value();
  input.now = StoppedClock();
  input.variables = *Field(goldens[0], "variables").dict();
  for (size_t i = 1; i < goldens.size(); ++i) {
    const std::string& text = TextField(goldens[i], "template");
    SCOPED_TRACE(text);
    const Result<ChatTemplate> parsed = Parse(text);
    ExpectGolden(goldens[i],
                 parsed.ok() ? parsed->Render(input) : Result<std::string>(parsed.error()));
  }
}

}  // namespace
}  // namespace vexact
