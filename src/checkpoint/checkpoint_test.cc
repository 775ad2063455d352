#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "checkpoint/expected_tensors.h"
#include "support/paths.h"
#include "support/safetensors_writer.h"
#include "support/temp_dir.h"

namespace vexact {
namespace {

std::string TinyModel(const std::string& name) { return SourceDir() + "/models/" + name; }

std::string ErrorOf(const std::string& path) {
  const auto checkpoint = Checkpoint::Open(path);
  return checkpoint.ok() ? "" : checkpoint.error().message;
}

class TinyModels : public testing::TestWithParam<const char*> {};

TEST_P(TinyModels, LoadEveryExpectedTensorFromTheMapping) {
  const auto checkpoint = Checkpoint::Open(TinyModel(GetParam()));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_FALSE(checkpoint->gguf_tokenizer().has_value());
  EXPECT_TRUE(checkpoint->hf_tokenizer_files().has_value());
  size_t count = 0;
  const auto load = [&](const ExpectedTensor& expected) -> Status {
    VX_ASSIGN_OR_RETURN(const Bf16Tensor tensor, checkpoint->Load(expected.name));
    EXPECT_TRUE(tensor.is_mapped) << expected.name;
    EXPECT_EQ(tensor.shape, expected.shape);
    ++count;
    return {};
  };
  const Status status = VisitExpectedTensors(checkpoint->config(), load);
  EXPECT_TRUE(status.ok()) << status.error().message;
  EXPECT_EQ(count, checkpoint->tensors().size());
}

INSTANTIATE_TEST_SUITE_P(All, TinyModels,
                         testing::Values("tiny-llama", "tiny-qwen2", "tiny-qwen3",
                                         "tiny-qwen3-moe"));

TEST(TinyModelConfigs, AreWhatTheirMakerAskedFor) {
  const auto config = [](const char* name) {
    return Checkpoint::Open(TinyModel(name)).value().config();
  };
  const ModelConfig llama = config("tiny-llama");
  EXPECT_EQ(llama.rope.scaling, RopeScaling::kLlama3);
  EXPECT_EQ(llama.rope.theta, 500000.0);
  EXPECT_EQ(llama.rope.original_max_position_embeddings, 512.0);
  EXPECT_EQ(llama.stop_token_ids, (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(llama.generation.temperature, 0.6);
  EXPECT_FALSE(llama.tie_word_embeddings);
  EXPECT_TRUE(config("tiny-qwen2").attention_bias);
  EXPECT_EQ(config("tiny-qwen2").head_dim, 64);
  EXPECT_EQ(config("tiny-qwen3").head_dim, 128);
  EXPECT_TRUE(config("tiny-qwen3").tie_word_embeddings);
  EXPECT_EQ(config("tiny-qwen3-moe").moe.num_experts, 8);
  EXPECT_EQ(config("tiny-qwen3-moe").moe.num_experts_per_tok, 3);
}

// A writable copy of tiny-qwen2 (tied, one file) whose tensors a test changes.
class CheckpointErrors : public testing::Test {
 protected:
  CheckpointErrors() {
    const std::string model = TinyModel("tiny-qwen2");
    dir_.Write("config.json", ReadFileOrDie(model + "/config.json"));
    entries_ = SafetensorsEntries(ReadFileOrDie(model + "/model.safetensors"));
  }

  SafetensorsEntry& Entry(const std::string& name) {
    return *std::find_if(entries_.begin(), entries_.end(),
                         [&name](const SafetensorsEntry& entry) { return entry.name == name; });
  }
  std::string Write() { return dir_.Write("model.safetensors", SafetensorsBytes(entries_)); }

  TempDir dir_;
  std::vector<SafetensorsEntry> entries_;
};

constexpr char kGate[] = "model.layers.1.mlp.gate_proj.weight";  // [192, 128]

TEST_F(CheckpointErrors, UnchangedCopyOpens) {
  Write();
  EXPECT_EQ(ErrorOf(dir_.path()), "");
}

TEST_F(CheckpointErrors, MissingTensor) {
  entries_.erase(entries_.begin() + (&Entry(kGate) - entries_.data()));
  Write();
  EXPECT_EQ(ErrorOf(dir_.path()), dir_.path() + ": tensor \"" + kGate +
                                      "\": expected bf16 [192, 128], found no such tensor");
}

TEST_F(CheckpointErrors, ExtraTensor) {
  entries_.push_back({"model.layers.0.extra.weight", "F16", {2}, "abcd"});
  const std::string file = Write();
  EXPECT_EQ(ErrorOf(dir_.path()), file +
                                      ": tensor \"model.layers.0.extra.weight\": expected no "
                                      "such tensor in a qwen2 model, found f16 [2]");
}

TEST_F(CheckpointErrors, MisshapenTensor) {
  Entry(kGate).shape = {128, 192};
  const std::string file = Write();
  EXPECT_EQ(ErrorOf(dir_.path()),
            file + ": tensor \"" + kGate + "\": expected bf16 [192, 128], found bf16 [128, 192]");
  Entry(kGate).dtype = "F16";
  Entry(kGate).shape = {192 * 128};
  Write();
  EXPECT_EQ(ErrorOf(dir_.path()),
            file + ": tensor \"" + kGate + "\": expected bf16 [192, 128], found f16 [24576]");
}

TEST_F(CheckpointErrors, TruncatedFile) {
  const std::string bytes = SafetensorsBytes(entries_);
  const std::string file =
      dir_.Write("model.safetensors", std::string_view(bytes).substr(0, bytes.size() - 1));
  const std::string error = ErrorOf(dir_.path());
  EXPECT_TRUE(error.starts_with(file + ": tensor \"")) << error;
  EXPECT_NE(error.find("\"data_offsets\": expected [begin, end] within "), std::string::npos)
      << error;
}

TEST_F(CheckpointErrors, RotaryBuffersArePassedOver) {
  entries_.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {1}, "abcd"});
  Write();
  const auto checkpoint = Checkpoint::Open(dir_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->tensors().size(), entries_.size() - 1);
}

TEST_F(CheckpointErrors, TiedHeadMayRepeatTheEmbeddingButNotContradictIt) {
  SafetensorsEntry head = Entry("model.embed_tokens.weight");
  head.name = "lm_head.weight";
  entries_.push_back(head);
  Write();
  const auto checkpoint = Checkpoint::Open(dir_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  EXPECT_FALSE(checkpoint->Load("lm_head.weight").ok());
  entries_.back().data[1000] ^= 1;
  const std::string file = Write();
  EXPECT_EQ(ErrorOf(dir_.path()),
            file +
                ": tensor \"lm_head.weight\": expected none, or the words of the tied "
                "model.embed_tokens.weight, found bf16 [320, 128] with other words");
}

TEST_F(CheckpointErrors, ConfigThatLiesAboutItsSizeStopsAtTheFirstMissingTensor) {
  std::string config = ReadFileOrDie(TinyModel("tiny-qwen3-moe") + "/config.json");
  for (const auto& [from, to] :
       {std::pair{"\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1024"},
        {"\"num_local_experts\": 8", "\"num_local_experts\": 1024"}}) {
    const size_t at = config.find(from);
    ASSERT_NE(at, std::string::npos);
    config.replace(at, std::string_view(from).size(), to);
  }
  dir_.Write("config.json", config);
  dir_.Write("model.safetensors", SafetensorsBytes(std::vector<SafetensorsEntry>()));
  EXPECT_EQ(ErrorOf(dir_.path()),
            dir_.path() +
                ": tensor \"model.embed_tokens.weight\": expected bf16 [320, 64], found "
                "no such tensor");
}

TEST_F(CheckpointErrors, NoWeightsAndNoModel) {
  EXPECT_EQ(ErrorOf(dir_.path()),
            dir_.path() +
                ": expected model.safetensors or model.safetensors.index.json, found "
                "neither");
  EXPECT_EQ(ErrorOf(dir_.path() + "/none"),
            dir_.path() + "/none: expected a model directory or a GGUF file, found nothing");
}

TEST_F(CheckpointErrors, ShardsMustAgreeWithTheIndex) {
  const SafetensorsEntry gate = Entry(kGate);
  entries_.erase(entries_.begin() + (&Entry(kGate) - entries_.data()));
  const std::string first = dir_.Write("1.safetensors", SafetensorsBytes(entries_));
  const std::string second = dir_.Write("2.safetensors", SafetensorsBytes({gate}));
  std::string map;
  for (const SafetensorsEntry& entry : entries_) {
    map += "\"" + entry.name + "\": \"1.safetensors\", ";
  }
  const auto write_index = [&](const std::string& last) {
    dir_.Write("model.safetensors.index.json", "{\"weight_map\": {" + map + last + "}}");
  };
  const std::string gate_in = "\"" + std::string(kGate) + "\": ";
  write_index(gate_in + "\"2.safetensors\"");
  EXPECT_EQ(ErrorOf(dir_.path()), "");
  write_index(gate_in + "\"1.safetensors\"");
  EXPECT_EQ(ErrorOf(dir_.path()), first + ": tensor \"" + kGate +
                                      "\": expected here, as the index says, found no such tensor");
  write_index(gate_in + "\"1.safetensors\", \"other\": \"2.safetensors\"");
  EXPECT_EQ(ErrorOf(dir_.path()), first + ": tensor \"" + kGate +
                                      "\": expected here, as the index says, found in " + second);
  write_index(gate_in + "\"3.safetensors\"");
  EXPECT_EQ(ErrorOf(dir_.path()), dir_.path() +
                                      "/3.safetensors: expected a readable file, found: "
                                      "No such file or directory");
  dir_.Write("2.safetensors", SafetensorsBytes({gate, {"other", "F16", {1}, "ab"}}));
  write_index(gate_in + "\"2.safetensors\"");
  EXPECT_EQ(ErrorOf(dir_.path()),
            second + ": tensor \"other\": expected in the index's weight_map, found nothing");
}

TEST_F(CheckpointErrors, LoadNamesATensorThatTheConfigDoesNotHave) {
  Write();
  const auto checkpoint = Checkpoint::Open(dir_.path());
  ASSERT_TRUE(checkpoint.ok());
  EXPECT_EQ(checkpoint->Load("none").error().message,
            dir_.path() +
                ": tensor \"none\": expected one of the config's tensors, found no such "
                "tensor");
}

TEST_F(CheckpointErrors, OtherDtypesAreRoundedAndSayIt) {
  const std::string words = Entry(kGate).data;
  std::string as_f32;
  for (size_t i = 0; i < words.size(); i += 2) as_f32 += std::string(2, '\0') + words.substr(i, 2);
  Entry(kGate).dtype = "F32";
  Entry(kGate).data = as_f32;
  Write();
  const auto checkpoint = Checkpoint::Open(dir_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const auto info = std::find_if(checkpoint->tensors().begin(), checkpoint->tensors().end(),
                                 [](const TensorInfo& i) { return i.name == kGate; });
  EXPECT_EQ(info->conversion, "f32 to bf16");
  EXPECT_EQ(info->file_bytes, as_f32.size());
  const Bf16Tensor tensor = checkpoint->Load(kGate).value();
  EXPECT_FALSE(tensor.is_mapped);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(tensor.data), words.size()), words);
}

TEST_F(CheckpointErrors, MisalignedWordsAreCopied) {
  const std::string words = Entry(kGate).data;
  std::string bytes = SafetensorsBytes(entries_);
  bytes.insert(bytes.find('{'), " ");  // a header of one byte more
  ++bytes[0];
  dir_.Write("model.safetensors", bytes);
  const auto checkpoint = Checkpoint::Open(dir_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.error().message;
  const Bf16Tensor tensor = checkpoint->Load(kGate).value();
  EXPECT_FALSE(tensor.is_mapped);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(tensor.data), words.size()), words);
}

TEST(Checkpoint, TensorsOutliveItAndLoadFromManyThreads) {
  std::vector<Bf16Tensor> tensors(4);
  {
    const Checkpoint checkpoint = Checkpoint::Open(TinyModel("tiny-qwen3")).value();
    std::vector<std::thread> threads;
    for (Bf16Tensor& tensor : tensors) {
      threads.emplace_back([&checkpoint, &tensor] {
        tensor = checkpoint.Load("model.embed_tokens.weight").value();
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  for (const Bf16Tensor& tensor : tensors) {
    EXPECT_TRUE(std::equal(tensor.data, tensor.data + 320 * 128, tensors[0].data));
  }
}

}  // namespace
}  // namespace vexact
