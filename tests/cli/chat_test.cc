// `vexact chat`, and `messages` in requests, on a tiny model whose chat template writes
// "<|bos|>u:hello;a:" (tests/support/cli.h).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

#include "support/cli.h"
#include "support/paths.h"

namespace vexact {
namespace {

using nlohmann::json;
using testing::HasSubstr;

// The ids of a text after <|bos|>.
json PromptIds(const std::string& text) {
  json ids = {1};
  for (const char c : text) ids.push_back(3 + static_cast<unsigned char>(c));
  return ids;
}

ProgramResult Chat(const std::string& input, std::vector<std::string> flags = {}) {
  std::vector<std::string> arguments = {"chat", "--model",       TinyModel(), "--max-tokens",
                                        "6",    "--temperature", "0"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return Vexact(arguments, input);
}

json Message(const std::string& role, const std::string& content) {
  return {{"role", role}, {"content", content}};
}

// What generate answers to the whole conversation at once.
std::string AnswerTo(const std::vector<json>& messages) {
  const json request = {{"messages", messages}, {"max_tokens", 6}, {"temperature", 0}};
  return Answers("generate", request.dump()).at(0)["outputs"][0]["text"];
}

TEST(Messages, BecomeAPromptThroughTheTemplateWithNothingAdded) {
  const auto lines = Answers(
      "generate",
      R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "<|eos|>"}]})"
      "\n"
      R"({"messages": [{"role": "user", "content": "x"}], "add_generation_prompt": false, )"
      R"("chat_template_kwargs": {"mark": "!"}, "max_tokens": 1})"
      "\n");
  json expected = PromptIds("s:s;u:");
  expected.push_back(2);  // special tokens in a chat are tokens, as with transformers
  for (const char c : std::string(";a:")) expected.push_back(3 + c);
  EXPECT_EQ(lines.at(0)["prompt_token_ids"], expected);
  EXPECT_EQ(lines.at(1)["prompt_token_ids"], PromptIds("u:x;!"));
}

TEST(Messages, ErrorsNameTheLineAndAreTheRequestsOwn) {
  const ProgramResult result =
      RunRequests("generate", "{\"messages\": []}\n{\"messages\": [{\"role\": 1}]}\n");
  EXPECT_EQ(result.exit_status, 1);
  const auto lines = JsonLines(result.out);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(lines[0]["outputs"][0]["error"], "line 1: messages: expected at least one, found none");
  EXPECT_THAT(lines[1]["outputs"][0]["error"].get<std::string>(),
              HasSubstr("line 2: chat template: line 1: "));
}

TEST(Chat, AnswersEachLineToTheWholeConversation) {
  const std::string first = AnswerTo({Message("user", "one")});
  const std::string second =
      AnswerTo({Message("user", "one"), Message("assistant", first), Message("user", "two")});
  const ProgramResult result = Chat("one\n\ntwo\n");
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_EQ(result.out, first + "\n" + second + "\n");
}

TEST(Chat, CommandsForgetAndSetTheSystemMessage) {
  const std::string with_system = AnswerTo({Message("system", "be"), Message("user", "one")});
  const std::string alone = AnswerTo({Message("user", "one")});
  const ProgramResult result =
      Chat("one\n/reset\n/system\none\n/exit\nnever\n", {"--system", "be", "--quiet"});
  EXPECT_EQ(result.exit_status, 0);
  EXPECT_EQ(result.out, with_system + "\n" + alone + "\n");
  EXPECT_EQ(result.err, "");
  EXPECT_EQ(Chat("/system be\none\n").out, with_system + "\n");
}

TEST(Chat, BytesThatAreNotUtf8BecomeReplacementCharacters) {
  const TempDir folder;
  for (const char* file : {"config.json", "model.safetensors", "tokenizer.json"}) {
    folder.Write(file, ReadFileOrDie(TinyModel() + "/" + file));
  }
  // A character's first byte alone looks like a space to who expects the others.
  folder.Write("chat_template.jinja",
               "{% for message in messages %}{{ message.content | trim }}{% endfor %}");
  const auto chat = [&](const std::string& line) {
    return Vexact({"chat", "--model", folder.path(), "--max-tokens", "6", "--quiet"}, line + "\n");
  };
  const ProgramResult result = chat("\xe2");
  EXPECT_EQ(result.exit_status, 0) << result.err;
  EXPECT_EQ(result.out, chat("\ufffd").out);
}

TEST(Chat, WhatCannotBeAnsweredIsNotPartOfTheConversation) {
  const std::string longer_than_the_context(5000, 'a');
  const ProgramResult result = Chat(longer_than_the_context + "\n/what\none\n");
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_EQ(result.out, AnswerTo({Message("user", "one")}) + "\n");
  EXPECT_THAT(result.err, HasSubstr("prompt: expected at most"));
  EXPECT_THAT(result.err, HasSubstr("found /what"));
}

TEST(Chat, ASignalEndsIt) {
  RunningProgram chat(VexactPath(), {"chat", "--model", TinyModel(), "--max-tokens", "2"});
  chat.Write("one\n");
  ASSERT_TRUE(chat.WaitForLines(1));
  chat.Signal(SIGINT);
  EXPECT_EQ(chat.Wait().exit_status, 1);
}

TEST(Chat, AModelWithoutATemplateIsAnError) {
  const ProgramResult result =
      Vexact({"chat", "--model", SourceDir() + "/models/tiny-llama"}, "one\n");
  EXPECT_EQ(result.exit_status, 1);
  EXPECT_THAT(result.err, HasSubstr("with a chat template beside it, found none"));
}

}  // namespace
}  // namespace vexact
