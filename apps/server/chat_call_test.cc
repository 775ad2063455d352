// Chats over the API: the prompt that a body's messages, tools and variables make.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/load_model.h"
#include "server/api_call.h"
#include "server/error_response.h"
#include "server/text_endpoints.h"
#include "support/cli.h"
#include "support/paths.h"

namespace vexact {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

class ChatCallTest : public testing::Test {
 protected:
  ChatCallTest() {
    const Checkpoint checkpoint = OpenCheckpoint({.path = TinyModel()}, nullptr).value();
    tokenizer_ = LoadTokenizer(checkpoint).value();
    context_.model_name = "tiny";
    context_.tokenizer = tokenizer_.get();
    context_.max_model_len = 4096;
    context_.chat_template = &template_;
  }

  void UseTemplate(const std::string& text) {
    template_ = ChatTemplate::Parse(
        {.text = text, .tool_use_text = "", .special_tokens = {{"bos_token", "<|bos|>"}}});
    ASSERT_TRUE(template_.ok()) << template_.error().message;
  }

  // The text of the prompt that /v1/chat/completions makes of the body.
  Result<std::string> Prompt(const ordered_json& body) {
    VX_ASSIGN_OR_RETURN(const ApiCall call, ParseChat(body.dump(), context_));
    return tokenizer_->Decode(*call.requests.at(0).prompt_token_ids, /*skip_special_tokens=*/false);
  }
  ApiError Refusal(const std::string& body) {
    const auto call = ParseChat(body, context_);
    EXPECT_FALSE(call.ok()) << body;
    return call.ok() ? ApiError() : RequestError(call.error());
  }

  std::shared_ptr<const Tokenizer> tokenizer_;
  Result<ChatTemplate> template_ = NotFound("there is none");
  CallContext context_;
};

// The golden's chat as the body of a request.
ordered_json BodyOf(const ordered_json& golden) {
  ordered_json body = {{"messages", golden["messages"]}, {"tools", golden["tools"]}};
  for (const auto& [name, value] : golden["options"].items()) {
    if (name == "add_generation_prompt") {
      body[name] = value;
    } else {
      body["chat_template_kwargs"][name] = value;
    }
  }
  return body;
}

// Real templates, with tools, thinking on and off, odd roles.
TEST_F(ChatCallTest, AChatsPromptIsThatOfTransformers) {
  const std::string data = SourceDir() + "/tests/data/chat/";
  for (const std::string name : {"qwen3", "smollm2"}) {
    UseTemplate(ReadFile(data + "templates/" + name + ".jinja"));
    int num_prompts = 0;
    std::istringstream goldens(ReadFile(data + "prompts.jsonl"));
    for (std::string line; std::getline(goldens, line);) {
      const ordered_json golden = ordered_json::parse(line);
      if (golden.value("template", "") != name) continue;
      const Result<std::string> prompt = Prompt(BodyOf(golden));
      EXPECT_EQ(prompt.ok(), golden.contains("output")) << golden;
      if (!prompt.ok() || !golden.contains("output")) continue;
      EXPECT_EQ(*prompt, golden["output"].get<std::string>());
      ++num_prompts;
    }
    EXPECT_GT(num_prompts, 30);
  }
}

TEST_F(ChatCallTest, ToolsAndVariablesAreTheTemplates) {
  UseTemplate("{{ messages[0].content }}|{{ tools | tojson }}|{{ enable_thinking }}");
  ordered_json body = {{"messages", {{{"role", "user"}, {"content", "hi"}}}},
                       {"tools", {{{"z", 1}, {"a", 2}}}},
                       {"chat_template_kwargs", {{"enable_thinking", false}}}};
  EXPECT_EQ(*Prompt(body), R"(hi|[{"z": 1, "a": 2}]|False)");  // keys keep their order
  body["tool_choice"] = "auto";
  EXPECT_EQ(*Prompt(body), R"(hi|[{"z": 1, "a": 2}]|False)");
  body["tool_choice"] = "none";
  EXPECT_EQ(*Prompt(body), "hi|null|False");
}

TEST_F(ChatCallTest, TokenizeTakesAChatToo) {
  UseTemplate("{{ bos_token }}{{ messages[0].content }}{{ tools is none }}");
  const auto answer = TokenizeAnswer(
      R"({"messages": [{"role": "user", "content": "hi"}], "tools": [{}]})", context_);
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(ordered_json::parse(*answer)["count"], 1 + 2 + 5);  // bos, "hi", "False"
  const auto refused =
      TokenizeAnswer(R"({"messages": [{"content": "hi"}], "add_special_tokens": true})", context_);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(RequestError(refused.error()).param, "add_special_tokens");
}

// As OpenAI's clients send it. Most templates know texts alone, and some would print the list.
TEST_F(ChatCallTest, AContentOfTextPartsIsTheirText) {
  const auto prompt = [this](const std::string& content) {
    return Prompt(ordered_json::parse(R"({"messages": [{"role": "user", "content": )" + content +
                                      R"(}, {"role": "user", "content": "b"}]})"));
  };
  const std::string two = R"([{"type": "text", "text": "a"}, {"type": "text", "text": " c"}])";
  UseTemplate("{% for m in messages %}<{{ m.role }}:{{ m.content }}>{% endfor %}");
  EXPECT_EQ(*prompt(two), "<user:a\n c><user:b>");
  EXPECT_EQ(*prompt("[]"), "<user:><user:b>");
  UseTemplate("{% for m in messages %}<{{ m.content | tojson }}>{% endfor %}");
  EXPECT_EQ(*prompt(two), R"(<"a\n c"><"b">)");
  UseTemplate(
      "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}"
      "{% for part in m.content %}<{{ part.text }}>{% endfor %}{% endif %}{% endfor %}");
  EXPECT_EQ(*prompt(two), "<a>< c>b");
  for (const char* part : {R"({"type": "image_url", "image_url": {"url": "x"}})",
                           R"({"text": "a"})", R"({"type": "text"})", R"({"type": 1})", "\"a\""}) {
    const auto refused = prompt(fmt::format("[{}]", part));
    ASSERT_FALSE(refused.ok()) << part;
    EXPECT_EQ(RequestError(refused.error()).param, "messages") << refused.error().message;
  }
  EXPECT_THAT(prompt(R"([{"type": "image_url"}])").error().message, HasSubstr("image_url"));
}

// As OpenAI's clients send back what a model called.
TEST_F(ChatCallTest, ArgumentsOfACallAreTheObjectThatTheirTextSays) {
  const auto prompt = [this](const std::string& calls, const std::string& role = "assistant") {
    return Prompt(ordered_json::parse(fmt::format(
        R"({{"messages": [{{"role": "{}", "content": "", "tool_calls": {}}}]}})", role, calls)));
  };
  const auto call = [](const std::string& arguments) {
    return R"([{"id": "a", "type": "function", "function": {"name": "f", "arguments": )" +
           arguments + "}}]";
  };
  const auto text_of = [](const std::string& json) { return ordered_json(json).dump(); };
  UseTemplate(
      "{% for c in messages[0].tool_calls %}{{ c.id }}:{{ c.function.name }}("
      "{% for name, value in c.function.arguments.items() %}{{ name }}={{ value }};{% endfor %})"
      "{% endfor %}");
  EXPECT_EQ(*prompt(call(text_of(R"({"z": "Zürich", "a": 2, "l": [1.5, null]})"))),
            "a:f(z=Zürich;a=2;l=[1.5, None];)");  // keys keep their order
  EXPECT_EQ(*prompt(call(R"({"z": 1})")), "a:f(z=1;)");
  for (const char* none : {R"("")", "null", R"("{}")", "{}"}) {
    EXPECT_EQ(*prompt(call(none)), "a:f()") << none;
  }
  EXPECT_EQ(*prompt(R"([{"id": "a", "function": {"name": "f"}}, {"id": "b", "function": )"
                    R"({"name": "g", "arguments": "{\"x\": 1}"}}])"),
            "a:f()b:g(x=1;)");

  const auto refusal = [&](const std::string& arguments) {
    const auto refused = prompt(call(arguments));
    EXPECT_FALSE(refused.ok()) << arguments;
    const ApiError error = refused.ok() ? ApiError() : RequestError(refused.error());
    EXPECT_EQ(error.status, 400);
    EXPECT_EQ(error.param, "messages");
    return error.message;
  };
  const std::string where = "messages[0].tool_calls[0].function.arguments: expected ";
  EXPECT_THAT(refusal(text_of("{\"city\": ")), HasSubstr(where));
  EXPECT_THAT(refusal(text_of("[1]")),
              HasSubstr(where + "an object or the JSON text of one, found list"));
  EXPECT_THAT(refusal(text_of("5")), HasSubstr("found int"));
  EXPECT_THAT(refusal("[]"), HasSubstr("found list"));

  // What is not an assistant's call is the template's.
  UseTemplate("{{ messages[0].tool_calls | tojson }}");
  EXPECT_EQ(*prompt(call(R"("{}")"), "user"), call(R"("{}")"));
  EXPECT_EQ(*prompt(R"(["f", {"name": "f"}])"), R"(["f", {"name": "f"}])");
  UseTemplate("{{ messages[0].tool_calls is defined }}");
  EXPECT_EQ(*prompt("[]"), "False");
  EXPECT_EQ(*prompt("[{}]"), "True");
}

TEST_F(ChatCallTest, RefusalsNameTheField) {
  UseTemplate("{{ raise_exception('roles!') if messages[0].role != 'user' }}{{ tools }}");
  struct Case {
    std::string body;
    std::string param;
    std::string message;
  };
  const std::string user = R"({"messages": [{"role": "user", "content": "hi"}])";
  for (const Case& one : std::vector<Case>{
           {"{}", "messages", "found none"},
           {R"({"messages": null})", "messages", "found none"},
           {R"({"messages": []})", "messages", "at least one"},
           {R"({"messages": "hi"})", "messages", "a list of dicts"},
           {R"({"messages": ["hi"]})", "messages", "expected a dict"},
           {R"({"messages": [{"role": "system"}]})", "messages", "roles!"},
           {R"({"messages": [{"role": "user"}], "prompt": "a"})", "prompt", "expected"},
           {user + R"(, "tools": {}})", "tools", "a list of dicts"},
           {user + R"(, "tools": ["get_weather"]})", "tools", "expected a dict"},
           {user + R"(, "chat_template_kwargs": 5})", "chat_template_kwargs", "an object"},
           {user + R"(, "add_generation_prompt": 5})", "add_generation_prompt", "true or false"},
           {user + R"(, "tool_choice": "required"})", "tool_choice", "expected \"auto\""},
           {user + R"(, "tool_choice": {"type": "function"}})", "tool_choice", "expected \"auto\""},
           {user + R"(, "parallel_tool_calls": true})", "parallel_tool_calls", "not supported"},
           {user + R"(, "chat_template": "x"})", "chat_template", "not supported"},
           {user + R"(, "logprobs": true, "top_logprobs": -1})", "top_logprobs", "found -1"},
           {user + R"(, "max_completion_tokens": 0})", "max_completion_tokens", "at least 1"},
       }) {
    const ApiError error = Refusal(one.body);
    EXPECT_EQ(error.status, 400) << one.body;
    EXPECT_EQ(error.param, one.param) << one.body << ": " << error.message;
    EXPECT_THAT(error.message, HasSubstr(one.message)) << one.body;
  }
  const auto completion = ParseCompletion(R"({"prompt": "a", "tools": []})", context_);
  ASSERT_FALSE(completion.ok());
  EXPECT_EQ(RequestError(completion.error()).param, "tools");
}

TEST_F(ChatCallTest, SaysWhyThereIsNoTemplate) {
  const ApiError error = Refusal(R"({"messages": [{"role": "user", "content": "hi"}]})");
  EXPECT_EQ(error.param, "messages");
  EXPECT_THAT(error.message, HasSubstr("there is none"));
}

}  // namespace
}  // namespace vexact
