// The tiny models written as GGUF are the same words as their safetensors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/expected_tensors.h"
#include "support/gguf_writer.h"
#include "support/paths.h"
#include "support/temp_dir.h"

namespace vexact {
namespace {

Checkpoint OpenTiny(const std::string& name) {
  return Checkpoint::Open(SourceDir() + "/models/" + name).value();
}

std::string ErrorOf(const TempDir& dir, const GgufWriter& writer) {
  const auto checkpoint = Checkpoint::Open(dir.Write("m.gguf", writer.Bytes()));
  return checkpoint.ok() ? "" : checkpoint.error().message;
}

std::vector<bf16> Words(const Checkpoint& checkpoint, const ExpectedTensor& expected) {
  const Bf16Tensor tensor = checkpoint.Load(expected.name).value();
  size_t elements = 1;
  for (const int64_t size : expected.shape) elements *= size;
  return {tensor.data, tensor.data + elements};
}

// What a word becomes in a file of `type`, one of the types that are not blocks, and back.
bf16 Through(uint32_t type, bf16 word) {
  return type == kGgufF16 ? Bf16FromFloat(FloatFromF16(F16FromFloat(FloatFromBf16(word)))) : word;
}

using FamilyAndType = std::tuple<const char*, uint32_t>;
class GgufOfTinyModels : public testing::TestWithParam<FamilyAndType> {};

TEST_P(GgufOfTinyModels, HasTheSafetensorsWords) {
  const auto& [name, type] = GetParam();
  const Checkpoint original = OpenTiny(name);
  const TempDir dir;
  const std::string path = dir.Write("m.gguf", GgufFromCheckpoint(original, type).Bytes());
  const auto gguf = Checkpoint::Open(path);
  ASSERT_TRUE(gguf.ok()) << gguf.error().message;
  EXPECT_EQ(gguf->tensors().size(), original.tensors().size());
  EXPECT_EQ(gguf->config().family, original.config().family);
  EXPECT_EQ(gguf->config().stop_token_ids, original.config().stop_token_ids);
  EXPECT_EQ(gguf->config().moe.num_experts_per_tok, original.config().moe.num_experts_per_tok);
  const auto compare = [&](const ExpectedTensor& expected) -> Status {
    std::vector<bf16> words = Words(original, expected);
    const bool is_f32 = expected.shape.size() == 1 || expected.name.ends_with("mlp.gate.weight");
    for (bf16& word : words) word = is_f32 ? word : Through(type, word);
    EXPECT_EQ(Words(*gguf, expected), words) << expected.name;
    return {};
  };
  EXPECT_TRUE(VisitExpectedTensors(original.config(), compare).ok());
}

INSTANTIATE_TEST_SUITE_P(All, GgufOfTinyModels,
                         testing::Combine(testing::Values("tiny-llama", "tiny-qwen2", "tiny-qwen3",
                                                          "tiny-qwen3-moe"),
                                          testing::Values(kGgufF32, kGgufF16, kGgufBf16)));

class QuantisedGguf : public testing::TestWithParam<uint32_t> {};

TEST_P(QuantisedGguf, IsNearTheOriginalInEveryTensor) {
  const Checkpoint original = OpenTiny("tiny-llama");
  const TempDir dir;
  const std::string path = dir.Write("m.gguf", GgufFromCheckpoint(original, GetParam()).Bytes());
  const auto gguf = Checkpoint::Open(path);
  ASSERT_TRUE(gguf.ok()) << gguf.error().message;
  // Half a level of the widest block, which spans at most about 8 standard deviations: for Q8_0
  // 4/127/2, for 4 bits 8/15/2, of the tensor's deviation; twice that for fp16 scales and bf16.
  const double tolerance = GetParam() == kGgufQ8_0 ? 0.04 : 0.55;
  const auto compare = [&](const ExpectedTensor& expected) -> Status {
    const std::vector<bf16> from = Words(original, expected);
    const std::vector<bf16> to = Words(*gguf, expected);
    double squares = 0.0;
    for (const bf16 word : from) squares += FloatFromBf16(word) * FloatFromBf16(word);
    const double bound = tolerance * std::sqrt(squares / static_cast<double>(from.size()));
    for (size_t i = 0; i < from.size(); ++i) {
      EXPECT_NEAR(FloatFromBf16(to[i]), FloatFromBf16(from[i]), bound) << expected.name;
    }
    return {};
  };
  EXPECT_TRUE(VisitExpectedTensors(original.config(), compare).ok());
}

INSTANTIATE_TEST_SUITE_P(All, QuantisedGguf, testing::Values(kGgufQ8_0, kGgufQ4_0, kGgufQ4_1));

TEST(GgufCheckpoint, MapsBf16MatricesAndSaysWhatIsConverted) {
  const TempDir dir;
  const std::string path =
      dir.Write("m.gguf", GgufFromCheckpoint(OpenTiny("tiny-llama"), kGgufBf16).Bytes());
  const Checkpoint gguf = Checkpoint::Open(path).value();
  const auto conversion = [&gguf](std::string_view name) {
    return std::find_if(gguf.tensors().begin(), gguf.tensors().end(),
                        [name](const TensorInfo& info) { return info.name == name; })
        ->conversion;
  };
  EXPECT_EQ(conversion("model.layers.0.self_attn.v_proj.weight"), "");
  EXPECT_EQ(conversion("model.layers.0.self_attn.q_proj.weight"), "rotary rows reordered");
  EXPECT_EQ(conversion("model.norm.weight"), "f32 to bf16");
  EXPECT_TRUE(gguf.Load("lm_head.weight")->is_mapped);
  EXPECT_FALSE(gguf.Load("model.layers.0.self_attn.q_proj.weight")->is_mapped);
  EXPECT_TRUE(gguf.gguf_tokenizer().has_value());
  EXPECT_FALSE(gguf.hf_tokenizer_files().has_value());
}

TEST(GgufCheckpoint, TensorErrorsNameFileTensorExpectedAndFound) {
  const TempDir dir;
  const std::string file = dir.path() + "/m.gguf: tensor ";
  const GgufWriter original = GgufFromCheckpoint(OpenTiny("tiny-llama"), kGgufBf16);

  GgufWriter writer = original;
  writer.tensors().push_back({"rope_freqs.weight", kGgufF32, {32}, std::string(128, '\0')});
  EXPECT_EQ(ErrorOf(dir, writer),
            file + "\"rope_freqs.weight\": expected no rotary frequency factors, found f32 [32]");

  writer = original;
  writer.tensors().push_back({"blk.0.attn_sinks", kGgufF32, {8}, std::string(32, '\0')});
  EXPECT_EQ(ErrorOf(dir, writer), file +
                                      "\"blk.0.attn_sinks\": expected no such tensor in a llama "
                                      "model, found f32 [8]");

  writer = original;
  writer.tensors().push_back({"blk.3.attn_norm.weight", kGgufF32, {96}, std::string(384, '\0')});
  EXPECT_EQ(ErrorOf(dir, writer), file +
                                      "\"model.layers.3.input_layernorm.weight\": expected no "
                                      "such tensor in a llama model, found f32 [96]");

  writer = original;
  writer.TensorNamed("blk.1.ffn_up.weight").name = "blk.01.ffn_up.weight";
  EXPECT_EQ(ErrorOf(dir, writer), file +
                                      "\"model.layers.1.mlp.up_proj.weight\": expected bf16 "
                                      "[160, 96], found no such tensor");

  writer = original;
  writer.TensorNamed("blk.1.ffn_up.weight").name = "blk.1.ffn_gate.weight";
  EXPECT_EQ(ErrorOf(dir, writer), file.substr(0, file.size() - 8) +
                                      " tensor \"model.layers.1.mlp.gate_proj.weight\": expected "
                                      "once, found again in " +
                                      dir.path() + "/m.gguf");

  writer = original;
  writer.TensorNamed("blk.2.attn_k.weight").shape = {64, 192};
  EXPECT_EQ(ErrorOf(dir, writer), file +
                                      "\"model.layers.2.self_attn.k_proj.weight\": expected "
                                      "bf16 [128, 96], found bf16 [64, 192]");
}

TEST(GgufCheckpoint, MergedExpertsMustCountTheExperts) {
  const TempDir dir;
  GgufWriter writer = GgufFromCheckpoint(OpenTiny("tiny-qwen3-moe"), kGgufBf16);
  writer.TensorNamed("blk.1.ffn_up_exps.weight").shape = {4, 96, 64};
  EXPECT_EQ(ErrorOf(dir, writer),
            dir.path() +
                "/m.gguf: tensor \"blk.1.ffn_up_exps.weight\": expected [8 experts, "
                "outputs, inputs], found bf16 [4, 96, 64]");
}

TEST(GgufCheckpoint, AnyOtherFileIsRefused) {
  const TempDir dir;
  const std::string path = dir.Write("weights.bin", "not a model");
  EXPECT_EQ(Checkpoint::Open(path).error().message,
            path + ": expected a GGUF file, found other first bytes");
}

}  // namespace
}  // namespace vexact
