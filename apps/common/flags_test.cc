#include "common/flags.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/engine_flags.h"
#include "common/progress.h"
#include "common/sampling_flags.h"

namespace vexact {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

// Parses `arguments` with the flags of `app`; "" or what the user would read.
std::string ParseInto(CLI::App& app, std::vector<std::string> arguments) {
  std::reverse(arguments.begin(), arguments.end());  // CLI11 takes them from the back
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  return "";
}

struct Sampling {
  std::string error;
  SamplingParams params;
};

Sampling ParseSampling(const std::vector<std::string>& arguments,
                       const GenerationDefaults& model = {}) {
  CLI::App app;
  SamplingFlags flags;
  flags.AddForGenerate(app);
  std::string error = ParseInto(app, arguments);
  return {std::move(error), flags.Defaults(model)};
}

TEST(ParseNumber, TakesTheWholeTextAsDecimal) {
  EXPECT_EQ(*ParseNumber<int32_t>("010"), 10);
  EXPECT_EQ(*ParseNumber<double>(".7"), 0.7);
  for (const char* text : {"", "1x", " 1", "0x10", "1.5", "2147483648", "--1"}) {
    EXPECT_FALSE(ParseNumber<int32_t>(text).ok()) << text;
  }
  for (const char* text : {"", "inf", "nan", "1e999", "1,5", "0x1p3"}) {
    EXPECT_FALSE(ParseNumber<double>(text).ok()) << text;
  }
}

TEST(ParseNumber, RoundsOnceToTheNearestDouble) {
  // Just above the middle of 1 and the next double: a detour through long double ties down to 1.
  EXPECT_EQ(*ParseNumber<double>("1.00000000000000011102230246251565405"), 1.0000000000000002);
}

TEST(SamplingFlags, AreNeutralUnlessGiven) {
  const SamplingParams params = ParseSampling({}).params;
  EXPECT_EQ(params.temperature, 1.0);
  EXPECT_EQ(params.max_tokens, 16);
  EXPECT_FALSE(params.seed.has_value());
  EXPECT_FALSE(params.logprobs.has_value());
}

TEST(SamplingFlags, EveryParameterHasAFlag) {
  const Sampling parsed = ParseSampling({"--max-tokens",
                                         "5",
                                         "--min-tokens=2",
                                         "--temperature",
                                         "0.7",
                                         "--top-p",
                                         "0.9",
                                         "--top-k",
                                         "40",
                                         "--min-p",
                                         "0.05",
                                         "--sampling-seed",
                                         "-7",
                                         "-n",
                                         "3",
                                         "--stop",
                                         "a",
                                         "--stop",
                                         "b",
                                         "--stop-token-ids",
                                         "4,5",
                                         "--include-stop-str-in-output",
                                         "--ignore-eos",
                                         "--no-skip-special-tokens",
                                         "--no-detokenize",
                                         "--logprobs",
                                         "2",
                                         "--prompt-logprobs",
                                         "0",
                                         "--presence-penalty",
                                         "0.5",
                                         "--frequency-penalty",
                                         "-0.5",
                                         "--repetition-penalty",
                                         "1.1",
                                         "--logit-bias",
                                         "12:-3.5,3:1",
                                         "--allowed-token-ids",
                                         "1,2,3",
                                         "--bad-words",
                                         "x",
                                         "--logprobs-mode",
                                         "processed_logprobs"});
  ASSERT_EQ(parsed.error, "");
  const SamplingParams& params = parsed.params;
  EXPECT_EQ(params.max_tokens, 5);
  EXPECT_EQ(params.min_tokens, 2);
  EXPECT_EQ(params.temperature, 0.7);
  EXPECT_EQ(params.top_p, 0.9);
  EXPECT_EQ(params.top_k, 40);
  EXPECT_EQ(params.min_p, 0.05);
  EXPECT_EQ(params.seed, -7);
  EXPECT_EQ(params.n, 3);
  EXPECT_THAT(params.stop, ElementsAre("a", "b"));
  EXPECT_THAT(params.stop_token_ids, ElementsAre(4, 5));
  EXPECT_TRUE(params.include_stop_str_in_output);
  EXPECT_TRUE(params.ignore_eos);
  EXPECT_FALSE(params.skip_special_tokens);
  EXPECT_FALSE(params.detokenize);
  EXPECT_EQ(params.logprobs, 2);
  EXPECT_EQ(params.prompt_logprobs, 0);
  EXPECT_EQ(params.presence_penalty, 0.5);
  EXPECT_EQ(params.frequency_penalty, -0.5);
  EXPECT_EQ(params.repetition_penalty, 1.1);
  EXPECT_THAT(params.logit_bias, ElementsAre(Pair(12, -3.5), Pair(3, 1.0)));
  EXPECT_THAT(params.allowed_token_ids.value(), ElementsAre(1, 2, 3));
  EXPECT_THAT(params.bad_words, ElementsAre("x"));
  EXPECT_EQ(params.logprobs_mode, LogprobsMode::kProcessed);
}

TEST(SamplingFlags, TheModelsDefaultsCountOnlyWhenAskedForAndFlagsWin) {
  const GenerationDefaults model{
      .temperature = 0.6, .top_p = 0.95, .top_k = 20, .min_p = {}, .repetition_penalty = 1.05};
  EXPECT_EQ(ParseSampling({}, model).params.temperature, 1.0);
  const SamplingParams params =
      ParseSampling({"--top-k", "7", "--generation-config", "auto"}, model).params;
  EXPECT_EQ(params.temperature, 0.6);
  EXPECT_EQ(params.top_p, 0.95);
  EXPECT_EQ(params.top_k, 7);
  EXPECT_EQ(params.repetition_penalty, 1.05);
  EXPECT_THAT(ParseSampling({"--generation-config", "file.json"}).error,
              HasSubstr("--generation-config"));
}

TEST(SamplingFlags, WrongValuesAreWrongUsageThatNamesTheFlag) {
  EXPECT_THAT(ParseSampling({"--temperature", "hot"}).error, HasSubstr("--temperature"));
  EXPECT_THAT(ParseSampling({"--top-k", "1.5"}).error, HasSubstr("--top-k"));
  EXPECT_THAT(ParseSampling({"--logit-bias", "5"}).error, HasSubstr("ID:BIAS"));
  EXPECT_THAT(ParseSampling({"--allowed-token-ids", "1,,2"}).error, HasSubstr("integer"));
  EXPECT_THAT(ParseSampling({"--beam-width", "2"}).error, HasSubstr("--beam-width"));
}

TEST(SamplingFlags, RangesAreCheckedWithoutAModel) {
  CLI::App app;
  SamplingFlags flags;
  flags.AddForGenerate(app);
  ASSERT_EQ(ParseInto(app, {"--temperature", "-1"}), "");
  ASSERT_FALSE(flags.Check().ok());
  EXPECT_THAT(flags.Check().error().message, HasSubstr("temperature"));
}

TEST(SamplingFlags, MinTokensMayExceedTheDefaultMaxTokens) {
  CLI::App app;
  SamplingFlags flags;
  flags.AddForGenerate(app);
  ASSERT_EQ(ParseInto(app, {"--min-tokens", "40"}), "");
  EXPECT_TRUE(flags.Check().ok()) << flags.Check().error().message;
}

struct Engine {
  std::string error;
  EngineFlags flags;
};

Engine ParseEngine(const std::vector<std::string>& arguments) {
  CLI::App app;
  Engine parsed;
  AddEngineFlags(app, parsed.flags);
  parsed.error = ParseInto(app, arguments);
  return parsed;
}

TEST(EngineFlags, HaveVllmsNames) {
  const Engine parsed = ParseEngine({"--model-path",
                                     "m",
                                     "--max-num-batched-tokens",
                                     "64",
                                     "--max-num-seqs",
                                     "8",
                                     "--max-model-len",
                                     "100",
                                     "--block-size",
                                     "32",
                                     "--kv-cache-memory-bytes",
                                     "5000000000",
                                     "--disable-chunked-prefill",
                                     "--no-enable-prefix-caching",
                                     "--threads",
                                     "3",
                                     "--request-timeout-s",
                                     "1.5",
                                     "--pipeline-depth",
                                     "0",
                                     "--seed",
                                     "-9",
                                     "--mode",
                                     "variant",
                                     "--attn-impl",
                                     "fa-variant",
                                     "--mask",
                                     "document",
                                     "--device",
                                     "cpu",
                                     "--load-format",
                                     "dummy",
                                     "--dummy-seed",
                                     "12",
                                     "--batch-probe",
                                     "f"});
  ASSERT_EQ(parsed.error, "");
  const EngineConfig& config = parsed.flags.config;
  EXPECT_EQ(parsed.flags.model.path, "m");
  EXPECT_EQ(parsed.flags.model.load_format, LoadFormat::kDummy);
  EXPECT_EQ(parsed.flags.model.dummy_seed, 12);
  EXPECT_EQ(parsed.flags.batch_probe, "f");
  EXPECT_EQ(config.max_num_batched_tokens, 64);
  EXPECT_EQ(config.max_num_seqs, 8);
  EXPECT_EQ(config.max_model_len, 100);
  EXPECT_EQ(config.block_size, 32);
  EXPECT_EQ(config.kv_cache_memory_bytes, 5000000000);
  EXPECT_FALSE(config.enable_chunked_prefill);
  EXPECT_FALSE(config.enable_prefix_caching);
  EXPECT_EQ(config.num_threads, 3);
  EXPECT_EQ(config.request_timeout_s, 1.5);
  EXPECT_EQ(config.pipeline_depth, 0);
  EXPECT_EQ(config.seed, -9);
  EXPECT_EQ(config.mode, Mode::kVariant);
  EXPECT_EQ(config.attn_impl, "fa-variant");
  EXPECT_EQ(config.mask, "document");
  EXPECT_EQ(parsed.flags.device, "cpu");
  EXPECT_FALSE(ParseEngine({"--model", "m", "--no-enable-chunked-prefill"})
                   .flags.config.enable_chunked_prefill);
}

TEST(EngineFlags, UnknownModesAndDevicesAreRefused) {
  EXPECT_THAT(ParseEngine({"--model", "m", "--mode", "fast"}).error,
              HasSubstr("expected invariant or variant, found \"fast\""));
  EXPECT_THAT(ParseEngine({"--model", "m", "--device", "tpu"}).error, HasSubstr("--device"));
}

TEST(EngineFlags, WhatPromisesBitsRefusesModeVariant) {
  EngineConfig config;
  EXPECT_TRUE(RequireInvariant(config, "--receipts").ok());
  config.mode = Mode::kVariant;
  EXPECT_THAT(RequireInvariant(config, "--receipts").error().message,
              HasSubstr("--receipts contradicts mode variant"));
}

TEST(EngineFlags, NeedAModel) { EXPECT_THAT(ParseEngine({}).error, HasSubstr("--model")); }

TEST(EngineFlags, AProbeLineHasEveryFigureOfAStep) {
  EXPECT_EQ(
      StepStatsJson({.step = 3,
                     .num_requests = 2,
                     .num_prefill_tokens = 10,
                     .num_decode_tokens = 1,
                     .num_waiting = 4,
                     .kv_blocks_used = 5,
                     .num_preempted = 6,
                     .num_cached_tokens = 7,
                     .milliseconds = 1.5,
                     .host_ms = 0.25,
                     .idle_ms = 0.5}),
      R"({"step":3,"requests":2,"prefill_tokens":10,"decode_tokens":1,"waiting":4,)"
      R"("kv_blocks_used":5,"preempted":6,"cached_tokens":7,"ms":1.5,"host_ms":0.25,"idle_ms":0.5})");
}

TEST(Progress, ShowsRateAndTimeLeft) {
  EXPECT_EQ(ProgressText({.done = 6, .total = 24, .tokens = 415}, 5.0),
            "[######..................] 6/24 requests  83.0 tokens/s  ETA 0:15");
  EXPECT_EQ(ProgressText({.done = 1, .total = 2, .tokens = 0, .total_is_final = false}, 1.0),
            "[############............] 1/2+ requests  0.0 tokens/s");
}

}  // namespace
}  // namespace vexact
