// What ChatTemplate refuses, how errors read, and what templates may spend.
#include "chat/chat_template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/json.h"

namespace vexact {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

Value Json(std::string_view text) { return ParseChatJson(text, "json").value(); }

ChatTemplateSource Source(const std::string& text) {
  return {.text = text, .tool_use_text = "", .special_tokens = {{"bos_token", "<s>"}}};
}

Result<std::string> Render(const std::string& text, const ChatLimits& limits = {}) {
  VX_ASSIGN_OR_RETURN(const ChatTemplate parsed, ChatTemplate::Parse(Source(text)));
  ChatInput input;
  input.messages = Json(R"([{"role": "user", "content": "hi"}])");
  return parsed.Render(input, limits);
}

std::string ErrorOf(const std::string& text, const ChatLimits& limits = {}) {
  const Result<std::string> rendered = Render(text, limits);
  return rendered.ok() ? "no error: " + rendered->substr(0, 100) : rendered.error().message;
}

TEST(ChatTemplate, ATokenThatIsNoTextIsRefused) {
  ChatTemplateSource source = Source("{{ bos_token | trim }}");
  source.special_tokens[0].second = "\xe2";
  EXPECT_EQ(ChatTemplate::Parse(source).error().message,
            "chat template: bos_token: expected UTF-8, found other bytes");
}

TEST(ChatTemplate, WhatIsNotSupportedIsNamedWithItsLineWhenParsed) {
  const auto refused = [](const std::string& text) {
    const Result<ChatTemplate> parsed = ChatTemplate::Parse(Source("\n" + text));
    if (parsed.ok()) return std::string("parsed");
    EXPECT_EQ(parsed.error().code, ErrorCode::kUnsupported);
    return parsed.error().message;
  };
  const std::string line = "chat template: line 2: ";
  EXPECT_EQ(refused("{{ x | xmlattr }}"), line + "filter \"xmlattr\": not supported");
  EXPECT_EQ(refused("{{ x | map('xmlattr') }}"), line + "filter \"xmlattr\": not supported");
  EXPECT_EQ(refused("{{ x | selectattr('a', 'sameas', 1) }}"),
            line + "test \"sameas\": not supported");
  EXPECT_EQ(refused("{{ x is escaped }}"), line + "test \"escaped\": not supported");
  EXPECT_EQ(refused("{{ x.format(1) }}"), line + "method \"format\": not supported");
  EXPECT_EQ(refused("{{ cycler(1) }}"), line + "function \"cycler\": not supported");
  EXPECT_EQ(refused("{% include 'x' %}"), line + "{% include %}: not supported");
  EXPECT_EQ(refused("{% for x in y recursive %}{% endfor %}"),
            line + "a recursive loop: not supported");
  EXPECT_EQ(refused("{% for x in y %}{{ loop.cycle(1) }}{% endfor %}"),
            line + "\"loop.cycle\": not supported");
  EXPECT_EQ(refused("{{ loop }}"), line + "\"loop\" without an attribute: not supported");
  EXPECT_EQ(refused("{{ f(*x) }}"), line + "\"*\" before an argument: not supported");
  EXPECT_EQ(refused("{% macro m() %}{{ caller() }}{% endmacro %}"),
            line + "\"caller\" in a macro: not supported");
  EXPECT_EQ(refused("{% for x in y %}{% macro m() %}{% endmacro %}{% endfor %}"),
            line + "a macro inside of another block than an if: not supported");
}

TEST(ChatTemplate, ErrorsOfRenderingNameTheLine) {
  EXPECT_EQ(ErrorOf("a\n{{ x.y }}"), "chat template: line 2: 'x' is undefined");
  EXPECT_EQ(ErrorOf("\n\n{{ raise_exception('no') }}"), "chat template: line 3: no");
  EXPECT_EQ(ErrorOf("{% macro m() %}\n{{ 1 + 'a' }}{% endmacro %}\n{{ m() }}"),
            "chat template: line 2: m: +: expected operands that it takes, found int and str");
  EXPECT_EQ(ErrorOf("{{ [1] | join(1, 2, 3) }}"),
            "chat template: line 1: join: expected at most 2 arguments, found 3");
  EXPECT_EQ(ErrorOf("{{ 'a' % 1 }}"),
            "chat template: line 1: % after a text (formatting): not supported");
}

TEST(ChatTemplate, AnIteratorIsReadOnce) {
  EXPECT_THAT(
      ErrorOf("{% set x = messages | map(attribute='role') %}{{ x | first }}{{ x | first }}"),
      HasSubstr("is read a second time"));
}

TEST(ChatTemplate, MessagesAndToolsHaveTheirShape) {
  const ChatTemplate chat = ChatTemplate::Parse(Source("{{ messages }}")).value();
  const auto error = [&chat](const char* messages, const char* tools) {
    ChatInput input;
    input.messages = Json(messages);
    input.tools = Json(tools);
    return chat.Render(input).error().message;
  };
  EXPECT_EQ(error("[]", "null"), "messages: expected at least one, found none");
  EXPECT_EQ(error("{}", "null"), "messages: expected a list of dicts, found dict");
  EXPECT_EQ(error("[{}, 1]", "null"), "messages[1]: expected a dict, found int");
  EXPECT_EQ(error("[{}]", "[[]]"), "tools[0]: expected a dict, found list");
}

TEST(ChatTemplate, ToolsChooseTheTemplateOfThatName) {
  ChatTemplateSource source = Source("plain");
  source.tool_use_text = "with tools";
  const ChatTemplate chat = ChatTemplate::Parse(source).value();
  ChatInput input;
  input.messages = Json(R"([{"role": "user"}])");
  EXPECT_EQ(chat.Render(input).value(), "plain");
  input.tools = Json("[]");
  EXPECT_EQ(chat.Render(input).value(), "with tools");
}

TEST(ChatTemplate, VariablesOverruleSpecialTokens) {
  const ChatTemplate chat = ChatTemplate::Parse(Source("{{ bos_token }}")).value();
  ChatInput input;
  input.messages = Json(R"([{"role": "user"}])");
  EXPECT_EQ(chat.Render(input).value(), "<s>");
  input.variables.Set(std::make_shared<const std::string>("bos_token"), Value::FromText("!"));
  EXPECT_EQ(chat.Render(input).value(), "!");
}

TEST(ChatTemplate, SourcesAreBoundedUtf8) {
  EXPECT_EQ(ErrorOf(std::string(ChatTemplate::kMaxTemplateBytes + 1, 'a')),
            "chat template: expected at most 524288 bytes, found 524289");
  EXPECT_EQ(ErrorOf("\xff"), "chat template: expected UTF-8, found other bytes");
}

std::string Repeated(const std::string& text, int count) {
  std::string repeated;
  for (int i = 0; i < count; ++i) repeated += text;
  return repeated;
}

TEST(ChatTemplate, NestingIsBounded) {
  const int deep = 20000;
  for (const std::string& text :
       {"{{ " + Repeated("(", deep) + "1" + Repeated(")", deep) + " }}",
        "{{ " + Repeated("[", deep) + Repeated("]", deep) + " }}",
        "{{ " + Repeated("-", deep) + "1 }}", "{{ 1" + Repeated(" + 1", deep) + " }}",
        "{{ 1" + Repeated(" ** 1", deep) + " }}", "{{ 1" + Repeated(" if 1 else 1", deep) + " }}",
        "{{ x" + Repeated("[0]", deep) + " }}", "{{ x" + Repeated(" | trim", deep) + " }}",
        "{{ 1" + Repeated(" and 1", deep) + " }}", Repeated("{% if 1 %}", deep),
        Repeated("{% for x in y %}", deep), Repeated("{% set x %}", deep)}) {
    EXPECT_THAT(ErrorOf(text), HasSubstr(" deep")) << text.substr(0, 20);
  }
  EXPECT_EQ(Render("{{ " + Repeated("not ", deep) + "1 }}").value(), "True");
  EXPECT_EQ(Render("{% if 0 %}" + Repeated("{% elif 0 %}", deep) + "{% endif %}").value(), "");
}

TEST(ChatTemplate, ADeepTemplateInsideOfAMacroThatCallsItselfKeepsTheStack) {
  const std::string body = Repeated("{% if 1 %}", 48) + "{{ " + Repeated("(", 60) + "m()" +
                           Repeated(" + 1)", 60) + " }}" + Repeated("{% endif %}", 48);
  EXPECT_THAT(ErrorOf("{% macro m() %}" + body + "{% endmacro %}{{ m() }}"),
              HasSubstr("nested at most 500 deep"));
}

TEST(ChatTemplate, WorkMemoryAndOutputAreBounded) {
  const ChatLimits limits = {
      .max_work = 100'000, .max_value_bytes = 1'000'000, .max_output_bytes = 10'000};
  const std::string loop = "{% for a in range(1000) %}{% for b in range(1000) %}";
  const std::string end = "{% endfor %}{% endfor %}";
  const std::string ns = "{% set ns = namespace(x='a', l=[]) %}";
  EXPECT_THAT(
      ErrorOf("{% for a in range(9999) %}" + Repeated("{% set x = 1 %}", 10) + "{% endfor %}",
              limits),
      HasSubstr("units of work"));
  EXPECT_THAT(ErrorOf(loop + "0123456789" + end, limits), HasSubstr("bytes of output"));
  EXPECT_THAT(ErrorOf("{{ 'a' * 1000000000000 }}", limits), HasSubstr("at most 1000000 bytes"));
  EXPECT_THAT(ErrorOf("{{ [1] * 9223372036854775807 }}", limits),
              HasSubstr("at most 1000000 bytes"));
  EXPECT_THAT(ErrorOf(ns + loop + "{% set ns.x = ns.x + ns.x %}" + end, limits),
              HasSubstr("bytes of values"));
  EXPECT_THAT(ErrorOf(ns + loop + "{% set ns.l = ns.l + [ns] %}" + end, limits),
              HasSubstr("bytes of values"));
  EXPECT_THAT(ErrorOf(ns + loop + "{% set ns.l = [ns.l] %}" + end, limits),
              HasSubstr("values nested at most 64 deep"));
  EXPECT_THAT(ErrorOf(loop + "{% set x = namespace() %}" + end, limits),
              HasSubstr("bytes of values"));
  // A value of 2^60 parts in 60 lists.
  EXPECT_THAT(ErrorOf(ns + "{% for a in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
                           "{{ ns.l == ns.l }}",
                      limits),
              HasSubstr("units of work"));
  EXPECT_THAT(ErrorOf(ns + "{% for a in range(60) %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}"
                           "{{ ns.l | tojson }}",
                      limits),
              HasSubstr("at most"));
  EXPECT_THAT(ErrorOf("{{ ('a' * 100000).replace('', 'b' * 100) }}", limits),
              HasSubstr("bytes of values"));
  EXPECT_THAT(ErrorOf("{{ ('a\n' * 10000) | indent(1000) }}", limits),
              HasSubstr("bytes of values"));
  EXPECT_THAT(ErrorOf("{{ range(9999) | join('a' * 1000) }}", limits),
              HasSubstr("bytes of values"));
  EXPECT_THAT(ErrorOf("{{ range(1000) | list | tojson(indent=100000) }}", limits),
              HasSubstr("bytes of values"));
  EXPECT_THAT(ErrorOf("{{ strftime_now('%999999999d') }}", limits), HasSubstr("a time of at most"));
  EXPECT_THAT(ErrorOf("{{ range(1000000000000) }}", limits), HasSubstr("at most 100000 items"));
}

// Text that a search without care takes quadratic time for: a minute each.
TEST(ChatTemplate, SearchesAreLinear) {
  const std::string set = "{% set a = 'a' * 2000000 %}{% set b = 'a' * 1000000 + 'b' %}";
  EXPECT_EQ(Render(set + "{{ b in a }}").value(), "False");
  EXPECT_EQ(Render(set + "{{ a.find(b) }}{{ a.count(b) }}{{ a.split(b) | length }}").value(),
            "-101");
  EXPECT_EQ(Render(set + "{{ a.replace(b, '') | length }}").value(), "2000000");
  EXPECT_THAT(ErrorOf(set + "{{ a.rfind(b) }}"), HasSubstr("units of work"));
  EXPECT_THAT(ErrorOf(set + "{{ a.rsplit(b) | length }}"), HasSubstr("units of work"));
  EXPECT_THAT(ErrorOf(set + "{{ a.strip(b) }}"), HasSubstr("units of work"));
}

TEST(ChatTemplate, TheFaultOfATemplateIsItsOwn) {
  EXPECT_THAT(ErrorOf("{% if %}"), StartsWith("chat template: line 1: expected an expression"));
  EXPECT_THAT(ErrorOf("{% if 1 %}"), HasSubstr("expected {% endif %}, found the end"));
  EXPECT_THAT(ErrorOf("{% for loop in x %}{% endfor %}"), HasSubstr("expected a variable's name"));
  EXPECT_THAT(ErrorOf("{% break %}"), HasSubstr("expected a loop around a jump"));
  EXPECT_THAT(ErrorOf("{% set x._y = 1 %}"), HasSubstr("does not begin with \"_\""));
}

}  // namespace
}  // namespace vexact
