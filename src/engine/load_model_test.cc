// Where a model's chat template is looked for.
#include "engine/load_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "chat/json.h"
#include "support/paths.h"
#include "support/smollm2.h"
#include "support/temp_dir.h"

namespace vexact {
namespace {

using testing::HasSubstr;

std::string Render(const ChatTemplate& chat) {
  ChatInput input;
  input.messages = ParseChatJson(R"([{"role": "user", "content": "hi"}])", "messages").value();
  return chat.Render(input).value();
}

// A directory with a config and what the test writes beside it.
class ModelFolder {
 public:
  ModelFolder() {
    folder_.Write("config.json", ReadFileOrDie(SourceDir() + "/models/tiny-llama/config.json"));
  }
  void Write(std::string_view name, std::string_view content) { folder_.Write(name, content); }
  Result<ChatTemplate> Load() const {
    return LoadChatTemplate(Checkpoint::OpenDummy(folder_.path(), 0, nullptr).value(), nullptr);
  }

 private:
  const TempDir folder_;
};

TEST(LoadChatTemplate, OfADirectory) {
  ModelFolder folder;
  EXPECT_EQ(folder.Load().error().code, ErrorCode::kNotFound);
  folder.Write("tokenizer.json", "{}");
  EXPECT_EQ(folder.Load().error().code, ErrorCode::kNotFound);
  folder.Write("tokenizer_config.json", R"({"chat_template": "config {{ bos_token }}",
                                            "bos_token": "<s>"})");
  EXPECT_EQ(Render(folder.Load().value()), "config <s>");
  folder.Write("chat_template.jinja", "file {{ bos_token }}\n");
  EXPECT_EQ(Render(folder.Load().value()), "file <s>");
  folder.Write("chat_template.jinja", "{{ 1 | nonsense }}");
  EXPECT_THAT(folder.Load().error().message, HasSubstr("filter \"nonsense\": not supported"));
}

TEST(LoadChatTemplate, OfAGgufFile) {
  const std::string path = test::SmolLm2Path();
  if (path.empty()) GTEST_SKIP() << "the model is not in the cache: run scripts/fetch_model";
  const Checkpoint checkpoint = Checkpoint::Open(path).value();
  const auto tokenizer = LoadTokenizer(checkpoint).value();
  EXPECT_EQ(Render(LoadChatTemplate(checkpoint, tokenizer.get()).value()),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n");
}

}  // namespace
}  // namespace vexact
