#include "checkpoint/hf_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "support/temp_dir.h"

namespace vexact {
namespace {

using nlohmann::json;

// SmolLM2-135M-Instruct's config.json as transformers 4 wrote it, the fields that matter.
json LlamaConfig() {
  return json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false,
    "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 576,
    "intermediate_size": 1536, "max_position_embeddings": 8192, "mlp_bias": false,
    "num_attention_heads": 9, "num_hidden_layers": 30, "num_key_value_heads": 3,
    "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 100000,
    "tie_word_embeddings": true, "torch_dtype": "bfloat16", "vocab_size": 49152})");
}

json Qwen3Config() {
  json config = LlamaConfig();
  config["model_type"] = "qwen3";
  config["architectures"] = {"Qwen3ForCausalLM"};
  config["head_dim"] = 128;
  config["use_sliding_window"] = false;
  config["sliding_window"] = nullptr;
  config["layer_types"] = json::array({"full_attention", "full_attention"});
  return config;
}

json MoeConfigJson() {
  json config = Qwen3Config();
  config["model_type"] = "qwen3_moe";
  config["architectures"] = {"Qwen3MoeForCausalLM"};
  config["num_experts"] = 128;
  config["num_experts_per_tok"] = 8;
  config["moe_intermediate_size"] = 768;
  config["norm_topk_prob"] = true;
  config["decoder_sparse_step"] = 1;
  config["mlp_only_layers"] = json::array();
  return config;
}

ModelConfig Parse(const json& config) {
  auto parsed = ParseHfConfig(config.dump(), "config.json");
  EXPECT_TRUE(parsed.ok()) << parsed.error().message;
  return parsed.ok() ? *parsed : ModelConfig();
}

std::string ErrorOf(const json& config) {
  const auto parsed = ParseHfConfig(config.dump(), "config.json");
  return parsed.ok() ? "" : parsed.error().message;
}

TEST(ParseHfConfig, ReadsLlamaOfTransformers4) {
  const ModelConfig config = Parse(LlamaConfig());
  EXPECT_EQ(config.family, ModelFamily::kLlama);
  EXPECT_EQ(config.hidden_size, 576);
  EXPECT_EQ(config.num_layers, 30);
  EXPECT_EQ(config.num_heads, 9);
  EXPECT_EQ(config.num_kv_heads, 3);
  EXPECT_EQ(config.head_dim, 64);  // hidden_size / num_attention_heads
  EXPECT_EQ(config.intermediate_size, 1536);
  EXPECT_EQ(config.vocab_size, 49152);
  EXPECT_EQ(config.max_position_embeddings, 8192);
  EXPECT_EQ(config.rms_norm_eps, 1e-5f);
  EXPECT_EQ(config.rope.theta, 100000.0);
  EXPECT_EQ(config.rope.rotary_dim, 64);
  EXPECT_EQ(config.rope.scaling, RopeScaling::kNone);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_FALSE(config.attention_bias);
  EXPECT_EQ(config.stop_token_ids, std::vector<int32_t>{2});
  EXPECT_EQ(config.bos_token_id, 1);
}

TEST(ParseHfConfig, ReadsRopeScalingOfTransformers4And5Alike) {
  json old_form = LlamaConfig();
  old_form["rope_theta"] = 500000.0;
  old_form["rope_scaling"] = {{"rope_type", "llama3"},
                              {"factor", 32.0},
                              {"low_freq_factor", 1.0},
                              {"high_freq_factor", 4.0},
                              {"original_max_position_embeddings", 8192}};
  json new_form = LlamaConfig();
  new_form.erase("rope_theta");
  new_form.erase("rope_scaling");
  new_form["rope_parameters"] = old_form["rope_scaling"];
  new_form["rope_parameters"]["rope_theta"] = 500000.0;
  for (const json& form : {old_form, new_form}) {
    const RopeConfig rope = Parse(form).rope;
    EXPECT_EQ(rope.theta, 500000.0);
    EXPECT_EQ(rope.scaling, RopeScaling::kLlama3);
    EXPECT_EQ(rope.factor, 32.0);
    EXPECT_EQ(rope.low_freq_factor, 1.0);
    EXPECT_EQ(rope.high_freq_factor, 4.0);
    EXPECT_EQ(rope.original_max_position_embeddings, 8192.0);
  }
}

TEST(ParseHfConfig, ReadsLinearScalingUnderItsOldKey) {
  json config = LlamaConfig();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 2.5}};
  const RopeConfig rope = Parse(config).rope;
  EXPECT_EQ(rope.scaling, RopeScaling::kLinear);
  EXPECT_EQ(rope.factor, 2.5);
}

TEST(ParseHfConfig, ReadsTheQwenFamilies) {
  json qwen2 = LlamaConfig();
  qwen2["model_type"] = "qwen2";
  qwen2["architectures"] = {"Qwen2ForCausalLM"};
  qwen2["use_sliding_window"] = false;
  qwen2["sliding_window"] = 32768;  // as Qwen2.5 states it, inactive
  EXPECT_EQ(Parse(qwen2).family, ModelFamily::kQwen2);
  EXPECT_TRUE(Parse(qwen2).attention_bias);
  EXPECT_EQ(Parse(Qwen3Config()).family, ModelFamily::kQwen3);
  EXPECT_EQ(Parse(Qwen3Config()).head_dim, 128);
  const ModelConfig moe = Parse(MoeConfigJson());
  EXPECT_EQ(moe.family, ModelFamily::kQwen3Moe);
  EXPECT_EQ(moe.moe.num_experts, 128);
  EXPECT_EQ(moe.moe.num_experts_per_tok, 8);
  EXPECT_EQ(moe.moe.moe_intermediate_size, 768);
  EXPECT_TRUE(moe.moe.norm_topk_prob);
}

TEST(ParseHfConfig, ReadsASlidingWindowOfAllLayers) {
  json config = LlamaConfig();
  EXPECT_EQ(Parse(config).sliding_window, 0);
  config["sliding_window"] = 4096;
  EXPECT_EQ(Parse(config).sliding_window, 4096);
  json qwen = Qwen3Config();
  qwen["sliding_window"] = 64;
  qwen["use_sliding_window"] = false;
  EXPECT_EQ(Parse(qwen).sliding_window, 0);
  qwen["use_sliding_window"] = true;
  qwen["max_window_layers"] = 0;
  qwen["layer_types"] = json::array({"sliding_attention", "sliding_attention"});
  EXPECT_EQ(Parse(qwen).sliding_window, 64);
}

TEST(ParseHfConfig, TakesTheNumberOfExpertsUnderTransformers5sName) {
  json config = MoeConfigJson();
  config.erase("num_experts");
  config["num_local_experts"] = 16;
  EXPECT_EQ(Parse(config).moe.num_experts, 16);
  config["num_experts"] = 17;
  EXPECT_EQ(ErrorOf(config),
            "config.json: \"num_experts\": expected the same as num_local_experts, 16, found 17");
}

TEST(ParseHfConfig, ReadsAListOfStopIds) {
  json config = LlamaConfig();
  config["eos_token_id"] = {7, 2, 7};
  EXPECT_EQ(Parse(config).stop_token_ids, (std::vector<int32_t>{2, 7}));
  config["eos_token_id"] = nullptr;
  EXPECT_TRUE(Parse(config).stop_token_ids.empty());
}

struct Refusal {
  const char* family;  // "llama", "qwen3" or "moe"
  const char* patch;   // merged into the config
  const char* message;
};

class Refusals : public testing::TestWithParam<Refusal> {};

TEST_P(Refusals, NameFieldExpectedAndFound) {
  const std::string family = GetParam().family;
  json config = family == "llama"   ? LlamaConfig()
                : family == "qwen3" ? Qwen3Config()
                                    : MoeConfigJson();
  config.merge_patch(json::parse(GetParam().patch));
  EXPECT_EQ(ErrorOf(config), std::string("config.json: ") + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Architecture, Refusals,
    testing::Values(
        Refusal{"llama", R"({"model_type": "mistral"})",
                "\"model_type\": expected \"llama\", \"qwen2\", \"qwen3\" or \"qwen3_moe\", found "
                "\"mistral\""},
        Refusal{"llama", R"({"model_type": null})",
                "\"model_type\": expected \"llama\", \"qwen2\", \"qwen3\" or \"qwen3_moe\", found "
                "nothing"},
        Refusal{"llama", R"({"architectures": ["LlamaForSequenceClassification"]})",
                "\"architectures\": expected [\"LlamaForCausalLM\"], found "
                "[\"LlamaForSequenceClassification\"]"},
        Refusal{"llama", R"({"quantization_config": {"bits": 4}})",
                "\"quantization_config\": expected an unquantised model, bf16, f16 or f32, found "
                "{\"bits\":4}"},
        Refusal{"llama", R"({"hidden_act": "gelu"})",
                "\"hidden_act\": expected \"silu\", found \"gelu\""},
        Refusal{"llama", R"({"attention_bias": true})",
                "\"attention_bias\": expected false, found true"},
        Refusal{"llama", R"({"mlp_bias": true})", "\"mlp_bias\": expected false, found true"},
        Refusal{"qwen3", R"({"use_sliding_window": true})",
                "\"sliding_window\": expected an integer, found nothing"},
        Refusal{"qwen3", R"({"use_sliding_window": true, "sliding_window": 64})",
                "\"max_window_layers\": expected 0, a window in every layer, found nothing"},
        Refusal{"qwen3",
                R"({"use_sliding_window": true, "sliding_window": 64, "max_window_layers": 3})",
                "\"max_window_layers\": expected 0, a window in every layer, found 3"},
        Refusal{"llama", R"({"sliding_window": 64, "layer_types": ["full_attention"]})",
                "\"layer_types\": expected \"sliding_attention\" for every layer, found "
                "[\"full_attention\"]"},
        Refusal{"qwen3", R"({"layer_types": ["full_attention", "sliding_attention"]})",
                "\"layer_types\": expected \"full_attention\" for every layer, found "
                "[\"full_attention\",\"sliding_attention\"]"},
        Refusal{"moe", R"({"mlp_only_layers": [0]})",
                "\"mlp_only_layers\": expected [], experts in every layer, found [0]"},
        Refusal{"moe", R"({"decoder_sparse_step": 2})",
                "\"decoder_sparse_step\": expected 1, experts in every layer, found 2"}));

INSTANTIATE_TEST_SUITE_P(
    Rope, Refusals,
    testing::Values(
        Refusal{"llama", R"({"rope_scaling": {"type": "yarn", "factor": 4}})",
                "\"rope_scaling.type\": expected \"default\", \"linear\" or \"llama3\", found "
                "\"yarn\""},
        Refusal{"llama", R"({"rope_parameters": {"rope_type": "dynamic", "factor": 4}})",
                "\"rope_parameters.rope_type\": expected \"default\", \"linear\" or \"llama3\", "
                "found \"dynamic\""},
        Refusal{"llama", R"({"rope_scaling": {"type": "default", "mrope_section": [16, 24]}})",
                "\"rope_scaling.mrope_section\": expected no field of this name, found [16,24]"},
        Refusal{"llama", R"({"rope_scaling": {"rope_type": "linear"}})",
                "\"rope_scaling.factor\": expected a finite number, found nothing"},
        Refusal{"llama", R"({"rope_scaling": {"rope_type": "linear", "factor": 0}})",
                "\"rope_scaling.factor\": expected a number above 0, found 0"},
        Refusal{"llama",
                R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                    "high_freq_factor": 4, "original_max_position_embeddings": 8192}})",
                "\"rope_scaling.high_freq_factor\": expected more than low_freq_factor, 4, found "
                "4"},
        Refusal{"llama", R"({"rope_parameters": {"rope_theta": 7}})",
                "\"rope_theta\": expected rope_parameters' 7, found 100000"},
        Refusal{"llama", R"({"rope_theta": -1})",
                "\"rope_theta\": expected a number above 0, found -1"},
        Refusal{"llama", R"({"partial_rotary_factor": 0.5})",
                "\"partial_rotary_factor\": expected 1, found 0.5"}));

INSTANTIATE_TEST_SUITE_P(
    Sizes, Refusals,
    testing::Values(
        Refusal{"llama", R"({"hidden_size": null})",
                "\"hidden_size\": expected an integer from 1 to 65536, found nothing"},
        Refusal{"llama", R"({"hidden_size": 18446744073709551615})",
                "\"hidden_size\": expected an integer from 1 to 65536, found "
                "18446744073709551615"},
        Refusal{"llama", R"({"num_hidden_layers": 0})",
                "\"num_hidden_layers\": expected an integer from 1 to 1024, found 0"},
        Refusal{"llama", R"({"num_attention_heads": "9"})",
                "\"num_attention_heads\": expected an integer from 1 to 1024, found \"9\""},
        Refusal{"llama", R"({"vocab_size": 262145})",
                "\"vocab_size\": expected an integer from 1 to 262144, found 262145"},
        Refusal{"llama", R"({"num_key_value_heads": 4})",
                "\"num_key_value_heads\": expected a divisor of num_attention_heads = 9, found 4"},
        Refusal{"llama", R"({"head_dim": 63})", "\"head_dim\": expected an even number, found 63"},
        Refusal{"llama", R"({"num_attention_heads": 7, "num_key_value_heads": 7})",
                "\"head_dim\": expected an integer from 2 to 1024, found nothing"},
        Refusal{"qwen3", R"({"head_dim": null})",
                "\"head_dim\": expected an integer from 2 to 1024, found nothing"},
        Refusal{"llama", R"({"rms_norm_eps": 0})",
                "\"rms_norm_eps\": expected a number above 0 and below 1, found 0"},
        Refusal{"moe", R"({"num_experts_per_tok": 129})",
                "\"num_experts_per_tok\": expected at most the number of experts, 128, found 129"},
        Refusal{"llama", R"({"eos_token_id": 49152})",
                "\"eos_token_id\": expected an id, or a list of ids, from 0 to 49151, found "
                "49152"},
        Refusal{"llama", R"({"eos_token_id": [2, -1]})",
                "\"eos_token_id\": expected an id, or a list of ids, from 0 to 49151, found "
                "[2,-1]"}));

TEST(ParseGenerationConfig, ReplacesStopIdsAndReadsSamplingDefaults) {
  ModelConfig config = Parse(LlamaConfig());
  const Status status = ParseGenerationConfig(
      R"({"eos_token_id": [5, 3], "temperature": 0.6, "top_p": 0.95, "top_k": 20, "min_p": 0.1,
          "repetition_penalty": 1.05, "do_sample": true})",
      "generation_config.json", config);
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_EQ(config.stop_token_ids, (std::vector<int32_t>{3, 5}));
  EXPECT_EQ(config.generation.temperature, 0.6);
  EXPECT_EQ(config.generation.top_p, 0.95);
  EXPECT_EQ(config.generation.top_k, 20);
  EXPECT_EQ(config.generation.min_p, 0.1);
  EXPECT_EQ(config.generation.repetition_penalty, 1.05);
}

TEST(ParseGenerationConfig, SilenceKeepsConfigsStopIds) {
  ModelConfig config = Parse(LlamaConfig());
  ASSERT_TRUE(ParseGenerationConfig("{}", "generation_config.json", config).ok());
  EXPECT_EQ(config.stop_token_ids, std::vector<int32_t>{2});
  EXPECT_EQ(config.generation.temperature, std::nullopt);
  EXPECT_EQ(config.generation.top_k, std::nullopt);
}

TEST(ReadHfConfig, DoesWithoutAGenerationConfigButNotWithABrokenOne) {
  const TempDir dir;
  dir.Write("config.json", LlamaConfig().dump());
  EXPECT_TRUE(ReadHfConfig(dir.path()).ok());
  dir.Write("generation_config.json", R"({"temperature": "hot"})");
  const auto config = ReadHfConfig(dir.path());
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.error().message,
            dir.path() +
                "/generation_config.json: \"temperature\": expected a finite number, "
                "found \"hot\"");
}

TEST(ReadHfConfig, NamesAMissingConfig) {
  const TempDir dir;
  const auto config = ReadHfConfig(dir.path());
  ASSERT_FALSE(config.ok());
  EXPECT_EQ(config.error().message,
            dir.path() +
                "/config.json: expected a readable file, found: No such file or "
                "directory");
}

}  // namespace
}  // namespace vexact
