// Where chat templates come from.
#include "chat/template_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vexact {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

Result<ChatTemplateSource> Read(std::string_view config, std::string_view jinja = "") {
  return ChatTemplateFromHf(config, jinja, "tokenizer_config.json");
}

TEST(ChatTemplateSource, ATextWithTheTokensThatItMayName) {
  const ChatTemplateSource source =
      Read(R"({"chat_template": "a", "bos_token": "<s>", "eos_token": {"content": "</s>"},
               "pad_token": null, "unk_token": 5})")
          .value();
  EXPECT_EQ(source.text, "a");
  EXPECT_EQ(source.tool_use_text, "");
  EXPECT_THAT(source.special_tokens,
              ElementsAre(Pair("bos_token", "<s>"), Pair("eos_token", "</s>")));
}

TEST(ChatTemplateSource, NamedOnes) {
  const ChatTemplateSource source = Read(R"({"chat_template": [
      {"name": "default", "template": "a"}, {"name": "rag", "template": "b"},
      {"name": "tool_use", "template": "c"}]})")
                                        .value();
  EXPECT_EQ(source.text, "a");
  EXPECT_EQ(source.tool_use_text, "c");
}

TEST(ChatTemplateSource, AFileOfItsOwnCountsFirst) {
  EXPECT_EQ(Read(R"({"chat_template": "a"})", "b").value().text, "b");
  EXPECT_EQ(Read("", "b").value().text, "b");
}

TEST(ChatTemplateSource, ErrorsSayWhatWasFound) {
  EXPECT_EQ(Read("{}").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(Read("").error().code, ErrorCode::kNotFound);
  EXPECT_THAT(Read(R"({"chat_template": [{"name": "rag", "template": "b"}]})").error().message,
              HasSubstr("expected a chat template"));
  EXPECT_THAT(Read(R"({"chat_template": 5})").error().message,
              HasSubstr("\"chat_template\": expected a string or a list"));
  EXPECT_THAT(Read(R"({"chat_template": [5]})").error().message, HasSubstr("found list"));
  EXPECT_THAT(Read("[]").error().message, HasSubstr("expected an object, found list"));
  EXPECT_THAT(Read("{").error().message, HasSubstr("tokenizer_config.json: expected JSON"));
}

}  // namespace
}  // namespace vexact
