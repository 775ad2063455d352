#include "common/request_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "support/test_scale.h"

namespace vexact {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

Result<ParsedRequest> Parse(std::string_view line, RequestKind kind = RequestKind::kGenerate) {
  return ParseRequest(line, kind, SamplingParams(), "line 3");
}

std::string ErrorOf(std::string_view line, RequestKind kind = RequestKind::kGenerate) {
  const auto parsed = Parse(line, kind);
  return parsed.ok() ? "no error" : parsed.error().message;
}

constexpr std::string_view kEveryField =
    R"({"prompt": "hi", "max_tokens": 5, "min_tokens": 2, "temperature": 0.7, "top_p": 0.9,
    "top_k": 40, "min_p": 0.05, "seed": -7, "n": 3, "stop": ["a", "b"], "stop_token_ids": [4],
    "include_stop_str_in_output": true, "ignore_eos": true, "skip_special_tokens": false,
    "detokenize": false, "logprobs": 2, "prompt_logprobs": 0, "presence_penalty": 0.5,
    "frequency_penalty": -0.5, "repetition_penalty": 1.1, "logit_bias": {"12": -3.5, "3": 1},
    "allowed_token_ids": [1, 2, 3], "bad_words": ["x"], "cache_salt": "s",
    "prefix_len": 4, "document_ids": [0, 0, 7]})";

TEST(RequestJson, ReadsEveryField) {
  const auto parsed = Parse(kEveryField);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  const Request& request = parsed->request;
  EXPECT_EQ(request.prompt, "hi");
  EXPECT_EQ(request.cache_salt, "s");
  EXPECT_EQ(request.prefix_len, 4);
  EXPECT_EQ(request.document_ids, (std::vector<int32_t>{0, 0, 7}));
  const SamplingParams& params = request.sampling;
  EXPECT_EQ(params.max_tokens, 5);
  EXPECT_EQ(params.min_tokens, 2);
  EXPECT_EQ(params.temperature, 0.7);
  EXPECT_EQ(params.top_p, 0.9);
  EXPECT_EQ(params.top_k, 40);
  EXPECT_EQ(params.min_p, 0.05);
  EXPECT_EQ(params.seed, -7);
  EXPECT_EQ(params.n, 3);
  EXPECT_THAT(params.stop, ElementsAre("a", "b"));
  EXPECT_THAT(params.stop_token_ids, ElementsAre(4));
  EXPECT_TRUE(params.include_stop_str_in_output);
  EXPECT_TRUE(params.ignore_eos);
  EXPECT_FALSE(params.skip_special_tokens);
  EXPECT_FALSE(params.detokenize);
  EXPECT_EQ(params.logprobs, 2);
  EXPECT_EQ(params.prompt_logprobs, 0);
  EXPECT_EQ(params.presence_penalty, 0.5);
  EXPECT_EQ(params.frequency_penalty, -0.5);
  EXPECT_EQ(params.repetition_penalty, 1.1);
  EXPECT_THAT(params.logit_bias, ElementsAre(Pair(3, 1.0), Pair(12, -3.5)));
  EXPECT_THAT(params.allowed_token_ids.value(), ElementsAre(1, 2, 3));
  EXPECT_THAT(params.bad_words, ElementsAre("x"));
}

TEST(RequestJson, WhatALineDoesNotSayComesFromTheDefaults) {
  SamplingParams defaults;
  defaults.temperature = 0.25;
  defaults.stop = {"end"};
  defaults.seed = 5;
  const auto parsed =
      ParseRequest(R"({"prompt_token_ids": [1, 2], "top_k": 3, "temperature": null})",
                   RequestKind::kGenerate, defaults, "line 1");
  ASSERT_TRUE(parsed.ok());
  EXPECT_THAT(parsed->request.prompt_token_ids.value(), ElementsAre(1, 2));
  EXPECT_EQ(parsed->request.sampling.temperature, 0.25);
  EXPECT_EQ(parsed->request.sampling.top_k, 3);
  EXPECT_EQ(parsed->request.sampling.seed, 5);
  EXPECT_THAT(parsed->request.sampling.stop, ElementsAre("end"));
}

TEST(RequestJson, OneStopStringStandsForAList) {
  EXPECT_THAT(Parse(R"({"prompt": "p", "stop": "a"})")->request.sampling.stop, ElementsAre("a"));
}

TEST(RequestJson, UnknownFieldsAreRefusedByName) {
  EXPECT_THAT(ErrorOf(R"({"prompt": "p", "max_token": 3})"),
              HasSubstr("line 3: \"max_token\": unknown field"));
  EXPECT_THAT(ErrorOf(R"({"prompt": "p", "completion": "x"})"), HasSubstr("\"completion\""));
}

TEST(RequestJson, FieldsOfLaterTimesAreRefusedByNameAndSaySo) {
  for (const char* name : {"tool_choice", "response_format", "best_of", "lora_request", "beams",
                           "use_beam_search", "chat_template"}) {
    const std::string line = fmt::format(R"({{"prompt": "p", "{}": null}})", name);
    const auto parsed = Parse(line);
    ASSERT_FALSE(parsed.ok()) << name;
    EXPECT_EQ(parsed.error().code, ErrorCode::kUnsupported);
    EXPECT_THAT(parsed.error().message, HasSubstr(name));
    EXPECT_THAT(parsed.error().message, HasSubstr("not supported yet"));
  }
}

TEST(RequestJson, FieldsOfLaterTimesMaySayThatTheyAskForNothing) {
  for (const char* nothing : {R"("response_format": {"type": "text"})",
                              R"("use_beam_search": false)", R"("priority": 0)"}) {
    EXPECT_TRUE(Parse(fmt::format(R"({{"prompt": "p", {}}})", nothing)).ok()) << nothing;
  }
  for (const char* something : {R"("response_format": {"type": "json_object"})",
                                R"("use_beam_search": true)", R"("priority": 1)"}) {
    EXPECT_FALSE(Parse(fmt::format(R"({{"prompt": "p", {}}})", something)).ok()) << something;
  }
}

TEST(RequestJson, AChatKeepsTheOrderOfItsKeys) {
  const auto parsed = Parse(
      R"({"messages": [{"role": "user", "content": "a"}], "tools": [{"z": 1, "a": 2}],
          "chat_template_kwargs": {"enable_thinking": false}, "add_generation_prompt": false})");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message;
  const ChatInput& chat = parsed->chat.value();
  EXPECT_EQ(chat.messages.sequence()->items.size(), 1u);
  EXPECT_EQ(*chat.tools.sequence()->items.at(0).dict()->entries.at(0).key, "z");
  EXPECT_FALSE(*chat.variables.Find("enable_thinking")->boolean());
  EXPECT_FALSE(chat.add_generation_prompt);
  EXPECT_FALSE(Parse(R"({"prompt": "a"})")->chat.has_value());
}

TEST(RequestJson, AChatIsNoPromptAndItsFieldsNeedIt) {
  EXPECT_THAT(ErrorOf(R"({"messages": [], "prompt": "a"})"),
              HasSubstr("expected \"prompt\" or \"messages\", found both"));
  EXPECT_THAT(ErrorOf(R"({"messages": [], "prompt_token_ids": [1]})"), HasSubstr("found both"));
  EXPECT_THAT(ErrorOf(R"({"prompt": "a", "tools": []})"),
              HasSubstr("\"tools\": expected beside \"messages\" only"));
  EXPECT_THAT(ErrorOf(R"({"messages": [], "chat_template_kwargs": 5})"),
              HasSubstr("\"chat_template_kwargs\": expected an object"));
}

TEST(RequestJson, PromptIsTextOrTokenIds) {
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("found neither"));
  EXPECT_THAT(ErrorOf(R"({"prompt": "p", "prompt_token_ids": [1]})"), HasSubstr("found both"));
  EXPECT_THAT(ErrorOf(R"({"prompt": ["p"]})"), HasSubstr("\"prompt\": expected a string"));
}

TEST(RequestJson, WrongTypesAndRangesAreNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {R"("max_tokens": 1.5)", "max_tokens"},
      {R"("max_tokens": "5")", "max_tokens"},
      {R"("max_tokens": 2147483648)", "max_tokens"},
      {R"("max_tokens": true)", "max_tokens"},
      {R"("seed": 9223372036854775808)", "seed"},
      {R"("seed": 1e3)", "seed"},
      {R"("temperature": "hot")", "temperature"},
      {R"("temperature": [])", "temperature"},
      {R"("logprobs": true)", "logprobs"},
      {R"("ignore_eos": 1)", "ignore_eos"},
      {R"("stop": 5)", "stop"},
      {R"("stop": [5])", "stop"},
      {R"("stop_token_ids": [1, -2])", "place 1: -2"},
      {R"("stop_token_ids": [1.0])", "stop_token_ids"},
      {R"("stop_token_ids": [18446744073709551615])", "stop_token_ids"},
      {R"("allowed_token_ids": 3)", "allowed_token_ids"},
      {R"("logit_bias": [1])", "logit_bias"},
      {R"("logit_bias": {"x": 1})", "logit_bias"},
      {R"("logit_bias": {"-1": 1})", "logit_bias"},
      {R"("logit_bias": {"1": "a"})", "logit_bias"},
      {R"("logit_bias": {"7": 1, "07": 2})", "once"},
  };
  for (const auto& [field, name] : cases) {
    EXPECT_THAT(ErrorOf(fmt::format(R"({{"prompt": "p", {}}})", field)), HasSubstr(name)) << field;
  }
}

TEST(RequestJson, MalformedTextIsRefused) {
  for (const char* line :
       {"", "nonsense", "[1]", "7", R"({"prompt": "p")", R"({"prompt": "p"} x)",
        R"({"prompt": "p", "prompt": "q"})", "{\"prompt\": \"\xff\"}",
        R"({"prompt": "p", "temperature": 1e999})", R"({"prompt": "p", "temperature": NaN})"}) {
    EXPECT_FALSE(Parse(line).ok()) << line;
  }
}

TEST(RequestJson, DeepNestingIsRefusedWithoutRecursion) {
  const std::string deep = R"({"prompt": )" + std::string(1000000, '[');
  EXPECT_THAT(ErrorOf(deep), HasSubstr("nested"));
}

TEST(RequestJson, NumbersAreTheNearestDoubles) {
  // Read as long double first, this decimal would round to the double above.
  const auto parsed =
      Parse(R"({"prompt": "p", "temperature": 1.00000000000000011102230246251565404})");
  EXPECT_EQ(parsed->request.sampling.temperature, 1.0);
}

TEST(RequestJson, ScoreNeedsACompletion) {
  EXPECT_THAT(ErrorOf(R"({"prompt": "p"})", RequestKind::kScore), HasSubstr("found neither"));
  const auto text = Parse(R"({"prompt": "p", "completion": "c"})", RequestKind::kScore);
  EXPECT_EQ(text->completion, "c");
  EXPECT_FALSE(text->request.completion_token_ids.has_value());
  const auto ids = Parse(R"({"prompt": "p", "completion_token_ids": [8]})", RequestKind::kScore);
  EXPECT_FALSE(ids->completion.has_value());
  EXPECT_THAT(ids->request.completion_token_ids.value(), ElementsAre(8));
  EXPECT_THAT(ErrorOf(R"({"prompt": "p", "completion": "c", "n": 2})", RequestKind::kScore),
              HasSubstr("\"n\""));
}

TEST(RequestJson, LogprobsModesHaveVllmsNames) {
  EXPECT_EQ(*ParseLogprobsMode("raw_logprobs"), LogprobsMode::kRaw);
  EXPECT_EQ(*ParseLogprobsMode("processed_logprobs"), LogprobsMode::kProcessed);
  EXPECT_EQ(ParseLogprobsMode("raw_logits").error().code, ErrorCode::kUnsupported);
  EXPECT_FALSE(ParseLogprobsMode("raw").ok());
}

TEST(TokenizeJson, ReadsOneFieldAndNoOther) {
  EXPECT_EQ(*ParsePromptLine(R"({"prompt": "é"})", "line 1"), "é");
  EXPECT_FALSE(ParsePromptLine(R"({"prompt": null})", "line 1").ok());
  EXPECT_FALSE(ParsePromptLine(R"({"prompt": "a", "n": 1})", "line 1").ok());
  EXPECT_FALSE(ParsePromptLine("{}", "line 1").ok());
  EXPECT_THAT(*ParseTokenIdsLine(R"({"prompt_token_ids": [5, 0]})", "line 1"), ElementsAre(5, 0));
  EXPECT_FALSE(ParseTokenIdsLine(R"({"prompt": "a"})", "line 1").ok());
}

// Whatever the bytes, the parser answers: with a request whose line is valid, or with an error that
// says where. Seeds are fixed, so a failure repeats.
TEST(RequestJson, MutatedLinesAreAnsweredWithoutACrash) {
  const std::string alphabet = "{}[]\",:0123456789.eE+-truefalsn \\u\n\x80\xff";
  std::mt19937 random(42);
  int accepted = 0;
  const int cases = ScaledCases(20000);
  for (int i = 0; i < cases; ++i) {
    std::string line(kEveryField);
    for (int mutations = 1 + static_cast<int>(random() % 4); mutations > 0; --mutations) {
      const size_t place = random() % line.size();
      const char byte = alphabet[random() % alphabet.size()];
      switch (random() % 4) {
        case 0:
          line[place] = byte;
          break;
        case 1:
          line.insert(place, 1, byte);
          break;
        case 2:
          line.erase(place, 1 + random() % 8);
          break;
        default:
          line.insert(place, line.substr(random() % line.size(), random() % 30));
          break;
      }
      if (line.empty()) line = "{";
    }
    const auto parsed = Parse(line, i % 2 == 0 ? RequestKind::kGenerate : RequestKind::kScore);
    if (parsed.ok()) {
      ++accepted;
    } else {
      ASSERT_THAT(parsed.error().message, testing::StartsWith("line 3")) << line;
    }
  }
  EXPECT_GT(accepted, cases / 200);  // else the mutations would only test the JSON library
}

}  // namespace
}  // namespace vexact
