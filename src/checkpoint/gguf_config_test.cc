#include "checkpoint/gguf_config.h"

#include <gtest/gtest.h>

#include <functional>
#include <span>
#include <string>

#include "support/gguf_writer.h"

namespace vexact {
namespace {

// A llama of 2 layers, enough for its config.
GgufWriter LlamaFile() {
  GgufWriter writer;
  writer.SetString("general.architecture", "llama");
  writer.SetUint32("llama.context_length", 2048);
  writer.SetUint32("llama.embedding_length", 128);
  writer.SetUint32("llama.block_count", 2);
  writer.SetUint32("llama.feed_forward_length", 256);
  writer.SetUint32("llama.attention.head_count", 2);
  writer.SetUint32("llama.attention.head_count_kv", 1);
  writer.SetFloat32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  writer.SetFloat32("llama.rope.freq_base", 100000.0f);
  writer.SetUint32("tokenizer.ggml.bos_token_id", 1);
  writer.SetUint32("tokenizer.ggml.eos_token_id", 2);
  writer.tensors() = {{"token_embd.weight", kGgufBf16, {10, 128}, std::string(2560, '\0')}};
  return writer;
}

GgufWriter MoeFile() {
  GgufWriter writer = LlamaFile();
  writer.SetString("general.architecture", "qwen3moe");
  for (const char* key : {"context_length", "embedding_length", "block_count",
                          "attention.head_count", "attention.head_count_kv"}) {
    writer.SetUint32(std::string("qwen3moe.") + key, 2);
  }
  writer.SetUint32("qwen3moe.embedding_length", 128);
  writer.SetFloat32("qwen3moe.attention.layer_norm_rms_epsilon", 1e-6f);
  writer.SetUint32("qwen3moe.expert_count", 8);
  writer.SetUint32("qwen3moe.expert_used_count", 3);
  writer.SetUint32("qwen3moe.expert_feed_forward_length", 48);
  return writer;
}

Result<ModelConfig> Read(const GgufWriter& writer) {
  const std::string bytes = writer.Bytes();
  VX_ASSIGN_OR_RETURN(
      const GgufFile file,
      ParseGguf({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, "m.gguf"));
  return ReadGgufConfig(file);
}

Result<GgufTokenizer> ReadTokenizer(const GgufWriter& writer, int32_t vocab_size) {
  const std::string bytes = writer.Bytes();
  VX_ASSIGN_OR_RETURN(
      const GgufFile file,
      ParseGguf({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, "m.gguf"));
  return ReadGgufTokenizer(file.metadata, vocab_size);
}

TEST(ReadGgufConfig, ReadsLlama) {
  const auto config = Read(LlamaFile());
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->family, ModelFamily::kLlama);
  EXPECT_EQ(config->hidden_size, 128);
  EXPECT_EQ(config->num_layers, 2);
  EXPECT_EQ(config->num_heads, 2);
  EXPECT_EQ(config->num_kv_heads, 1);
  EXPECT_EQ(config->head_dim, 64);
  EXPECT_EQ(config->intermediate_size, 256);
  EXPECT_EQ(config->vocab_size, 10);
  EXPECT_EQ(config->max_position_embeddings, 2048);
  EXPECT_EQ(config->rms_norm_eps, 1e-5f);
  EXPECT_EQ(config->rope.theta, 100000.0);
  EXPECT_EQ(config->rope.rotary_dim, 64);
  EXPECT_TRUE(config->tie_word_embeddings);
  EXPECT_EQ(config->stop_token_ids, std::vector<int32_t>{2});
  EXPECT_EQ(config->bos_token_id, 1);
}

TEST(ReadGgufConfig, AnOutputTensorUntiesTheEmbeddings) {
  GgufWriter writer = LlamaFile();
  writer.tensors().push_back({"output.weight", kGgufBf16, {10, 128}, std::string(2560, '\0')});
  EXPECT_FALSE(Read(writer)->tie_word_embeddings);
}

TEST(ReadGgufConfig, RopeBaseIsTheFilesFp32Word) {
  GgufWriter writer = LlamaFile();
  writer.SetFloat32("llama.rope.freq_base", 0.1f);
  EXPECT_EQ(Read(writer)->rope.theta, static_cast<double>(0.1f));
}

TEST(ReadGgufConfig, StopsAreEosEotAndEom) {
  GgufWriter writer = LlamaFile();
  writer.SetUint32("tokenizer.ggml.eot_token_id", 7);
  writer.SetUint32("tokenizer.ggml.eom_token_id", 5);
  EXPECT_EQ(Read(writer)->stop_token_ids, (std::vector<int32_t>{2, 5, 7}));
}

TEST(ReadGgufConfig, ReadsLinearScalingUnderBothNames) {
  GgufWriter writer = LlamaFile();
  writer.SetString("llama.rope.scaling.type", "linear");
  writer.SetFloat32("llama.rope.scaling.factor", 4.0f);
  EXPECT_EQ(Read(writer)->rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(Read(writer)->rope.factor, 4.0);
  writer = LlamaFile();
  writer.SetFloat32("llama.rope.scale_linear", 2.0f);
  EXPECT_EQ(Read(writer)->rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(Read(writer)->rope.factor, 2.0);
  writer.SetString("llama.rope.scaling.type", "none");
  EXPECT_EQ(Read(writer)->rope.scaling, RopeScaling::kNone);
}

TEST(ReadGgufConfig, ReadsASlidingWindow) {
  GgufWriter writer = LlamaFile();
  EXPECT_EQ(Read(writer)->sliding_window, 0);
  writer.SetUint32("llama.attention.sliding_window", 512);
  EXPECT_EQ(Read(writer)->sliding_window, 512);
}

TEST(ReadGgufConfig, ReadsMixturesOfExperts) {
  const auto config = Read(MoeFile());
  ASSERT_TRUE(config.ok()) << config.error().message;
  EXPECT_EQ(config->family, ModelFamily::kQwen3Moe);
  EXPECT_EQ(config->moe.num_experts, 8);
  EXPECT_EQ(config->moe.num_experts_per_tok, 3);
  EXPECT_EQ(config->moe.moe_intermediate_size, 48);
  EXPECT_TRUE(config->moe.norm_topk_prob);
}

struct Refusal {
  const char* name;
  std::function<void(GgufWriter&)> change;
  const char* message;
};

// Makes every change on a llama of its own and compares the error.
void ExpectRefusals(std::span<const Refusal> refusals) {
  for (const Refusal& refusal : refusals) {
    GgufWriter writer = LlamaFile();
    refusal.change(writer);
    const auto config = Read(writer);
    EXPECT_EQ(config.ok() ? "" : config.error().message, std::string("m.gguf: ") + refusal.message)
        << refusal.name;
  }
}

TEST(ReadGgufConfig, RefusesOtherFeaturesByKeyExpectedAndFound) {
  const Refusal refusals[] = {
      {"architecture", [](GgufWriter& w) { w.SetString("general.architecture", "gemma"); },
       "\"general.architecture\": expected \"llama\", \"qwen2\", \"qwen3\" or \"qwen3moe\", found "
       "\"gemma\""},
      {"unknown key", [](GgufWriter& w) { w.SetFloat32("llama.logit_scale", 2.0f); },
       "\"llama.logit_scale\": expected no key of this name, found 2"},
      {"not causal", [](GgufWriter& w) { w.SetBool("llama.attention.causal", false); },
       "\"llama.attention.causal\": expected true, found false"},
      {"yarn", [](GgufWriter& w) { w.SetString("llama.rope.scaling.type", "yarn"); },
       "\"llama.rope.scaling.type\": expected \"none\" or \"linear\", found \"yarn\""},
      {"linear without factor",
       [](GgufWriter& w) { w.SetString("llama.rope.scaling.type", "linear"); },
       "\"llama.rope.scaling.factor\": expected a number above 0, found nothing"},
      {"partial rotary", [](GgufWriter& w) { w.SetUint32("llama.rope.dimension_count", 32); },
       "\"llama.rope.dimension_count\": expected the head size, 64, found 32"},
      {"value size", [](GgufWriter& w) { w.SetUint32("llama.attention.value_length", 32); },
       "\"llama.attention.value_length\": expected the key length, 64, found 32"},
      {"experts", [](GgufWriter& w) { w.SetUint32("llama.expert_count", 8); },
       "\"llama.expert_count\": expected 0 for this architecture, found 8"},
  };
  ExpectRefusals(refusals);
}

TEST(ReadGgufConfig, RefusesWrongSizesByKeyExpectedAndFound) {
  const Refusal refusals[] = {
      {"missing size", [](GgufWriter& w) { w.Remove("llama.block_count"); },
       "\"llama.block_count\": expected an integer from 1 to 1024, found nothing"},
      {"giant size", [](GgufWriter& w) { w.SetUint32("llama.embedding_length", UINT32_MAX); },
       "\"llama.embedding_length\": expected an integer from 1 to 65536, found 4294967295"},
      {"missing eps", [](GgufWriter& w) { w.Remove("llama.attention.layer_norm_rms_epsilon"); },
       "\"llama.attention.layer_norm_rms_epsilon\": expected a float32, found nothing"},
      {"head size",
       [](GgufWriter& w) {
         w.SetUint32("llama.attention.head_count", 3);
         w.SetUint32("llama.attention.head_count_kv", 3);
       },
       "\"llama.attention.key_length\": expected a value, because embedding_length / head_count is "
       "not a head size, found nothing"},
      {"kv heads", [](GgufWriter& w) { w.SetUint32("llama.attention.head_count_kv", 4); },
       "\"llama.attention.head_count_kv\": expected a divisor of llama.attention.head_count = 2, "
       "found 4"},
      {"heads by layer",
       [](GgufWriter& w) {
         w.SetInt32s("llama.attention.head_count", {2, 2});
       },
       "\"llama.attention.head_count\": expected an integer from 1 to 1024, found an array of 2 "
       "values of type 5"},
      {"vocabulary", [](GgufWriter& w) { w.SetUint32("llama.vocab_size", 11); },
       "\"llama.vocab_size\": expected the rows of token_embd.weight, 10, found 11"},
      {"stop id", [](GgufWriter& w) { w.SetUint32("tokenizer.ggml.eos_token_id", 10); },
       "\"tokenizer.ggml.eos_token_id\": expected an integer from 0 to 9, found 10"},
      {"no embedding", [](GgufWriter& w) { w.tensors().clear(); },
       "tensor \"token_embd.weight\": expected [1 to 262144, 128], found no such tensor"},
      {"split file", [](GgufWriter& w) { w.SetRaw("split.count", 2, BytesOf(uint16_t{3})); },
       "\"split.count\": expected one file, found 3"},
  };
  ExpectRefusals(refusals);
}

TEST(ReadGgufConfig, RefusesMoreChosenExpertsThanThereAre) {
  GgufWriter writer = MoeFile();
  writer.SetUint32("qwen3moe.expert_used_count", 9);
  EXPECT_EQ(Read(writer).error().message,
            "m.gguf: \"qwen3moe.expert_used_count\": expected at most the number of experts, 8, "
            "found 9");
}

TEST(ReadGgufTokenizer, ReadsEveryField) {
  GgufWriter writer = LlamaFile();
  writer.SetString("tokenizer.ggml.model", "gpt2");
  writer.SetString("tokenizer.ggml.pre", "smollm");
  writer.SetString("tokenizer.chat_template", "{{ messages }}");
  writer.SetStrings("tokenizer.ggml.tokens", {"a", "b", "ab"});
  writer.SetStrings("tokenizer.ggml.merges", {"a b"});
  writer.SetInt32s("tokenizer.ggml.token_type", {1, 1, 3});
  writer.SetFloat32s("tokenizer.ggml.scores", {0.0f, -1.0f, -2.0f});
  writer.SetUint32("tokenizer.ggml.unknown_token_id", 0);
  writer.SetBool("tokenizer.ggml.add_bos_token", true);
  writer.SetBool("tokenizer.ggml.add_space_prefix", false);
  const auto tokenizer = ReadTokenizer(writer, 3);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.error().message;
  EXPECT_EQ(tokenizer->model, "gpt2");
  EXPECT_EQ(tokenizer->pre, "smollm");
  EXPECT_EQ(tokenizer->chat_template, "{{ messages }}");
  EXPECT_EQ(tokenizer->tokens, (std::vector<std::string>{"a", "b", "ab"}));
  EXPECT_EQ(tokenizer->merges, std::vector<std::string>{"a b"});
  EXPECT_EQ(tokenizer->token_types, (std::vector<int32_t>{1, 1, 3}));
  EXPECT_EQ(tokenizer->scores, (std::vector<float>{0.0f, -1.0f, -2.0f}));
  EXPECT_EQ(tokenizer->bos_token_id, 1);
  EXPECT_EQ(tokenizer->eos_token_id, 2);
  EXPECT_EQ(tokenizer->eot_token_id, std::nullopt);
  EXPECT_EQ(tokenizer->unknown_token_id, 0);
  EXPECT_EQ(tokenizer->add_bos_token, true);
  EXPECT_EQ(tokenizer->add_eos_token, std::nullopt);
  EXPECT_EQ(tokenizer->add_space_prefix, false);
}

TEST(ReadGgufTokenizer, RefusesListsAndIdsThatDoNotFit) {
  GgufWriter writer = LlamaFile();
  writer.SetStrings("tokenizer.ggml.tokens", {"a", "b", "ab"});
  EXPECT_EQ(ReadTokenizer(writer, 2).error().message,
            "m.gguf: \"tokenizer.ggml.tokens\": expected at most vocab_size = 2 tokens, found an "
            "array of 3 values of type 8");
  writer.SetInt32s("tokenizer.ggml.token_type", {1});
  EXPECT_EQ(ReadTokenizer(writer, 3).error().message,
            "m.gguf: \"tokenizer.ggml.token_type\": expected one value for each of 3 tokens, found "
            "an array of 1 values of type 5");
  writer.Remove("tokenizer.ggml.token_type");
  writer.SetFloat32s("tokenizer.ggml.scores", {1.0f});
  EXPECT_EQ(ReadTokenizer(writer, 3).error().message,
            "m.gguf: \"tokenizer.ggml.scores\": expected one value for each of 3 tokens, found an "
            "array of 1 values of type 6");
  writer.Remove("tokenizer.ggml.scores");
  writer.SetUint32("tokenizer.ggml.unknown_token_id", 3);
  EXPECT_EQ(ReadTokenizer(writer, 3).error().message,
            "m.gguf: \"tokenizer.ggml.unknown_token_id\": expected an integer from 0 to 2, found "
            "3");
}

}  // namespace
}  // namespace vexact
