// The law of the engine: an answer is a pure function of weights, prompt, parameters, seed and
// sample index. Random models, requests and options; every answer has the bits of the same request
// alone, and of a straight line that knows no batch.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>

#include "engine/attention_choice.h"
#include "support/backends.h"
#include "support/engine_runs.h"
#include "support/property.h"
#include "support/random_model.h"
#include "support/straight_line.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

constexpr int32_t kVocabSize = 96;
constexpr int32_t kEos = kVocabSize - 1;
constexpr int32_t kMaxModelLen = 320;

template <typename T>
T Pick(std::initializer_list<T> values) {
  return *rc::gen::elementOf(std::vector<T>(values));
}

RandomModelSpec AnyModel(MaskKind mask) {
  RandomModelSpec spec;
  if (mask == MaskKind::kSlidingWindow) spec.sliding_window = Pick({1, 5, 60, 128, 200});
  spec.family =
      Pick({ModelFamily::kLlama, ModelFamily::kQwen2, ModelFamily::kQwen3, ModelFamily::kQwen3Moe});
  spec.hidden_size = Pick({32, 48});
  spec.num_layers = Between(1, 2);
  spec.num_kv_heads = Between(1, 2);
  spec.num_heads = spec.num_kv_heads * Between(1, 3);
  spec.head_dim = Pick({16, 32});
  spec.intermediate_size = Pick({32, 40});
  spec.vocab_size = kVocabSize;
  spec.max_positions = kMaxModelLen;
  spec.tie_word_embeddings = OneIn(2);
  spec.seed = Between(1, 1000000);
  if (OneIn(4)) spec.nan_token = 5;
  return spec;
}

SamplingParams AnyParams() {
  SamplingParams params;
  params.max_tokens = OneIn(3) ? Between(17, 40) : Between(1, 16);
  params.min_tokens = Between(0, params.max_tokens);
  params.temperature = Pick({0.0, 0.7, 1.0, 1.5});
  params.top_p = Pick({1.0, 0.9, 0.3});
  params.top_k = Pick({0, 1, 7});
  params.min_p = Pick({0.0, 0.0, 0.1});
  params.seed = Between(0, 100000);
  params.n = OneIn(4) ? 3 : 1;
  params.presence_penalty = Pick({0.0, 0.0, 0.5});
  params.frequency_penalty = Pick({0.0, 0.0, 0.7});
  params.repetition_penalty = Pick({1.0, 1.0, 1.3});
  if (OneIn(4)) params.logit_bias = {{kEos, 4.0}};
  if (OneIn(4)) params.bad_word_ids = {{3}, {4, 6}};
  if (OneIn(3)) params.stop_token_ids = {1, 2, 3, 4, 5, 6, 7, 8};
  params.ignore_eos = OneIn(3);
  params.logprobs = Between(0, 2);
  if (OneIn(3)) params.prompt_logprobs = Between(0, 2);
  params.logprobs_mode = Pick({LogprobsMode::kRaw, LogprobsMode::kProcessed});
  return params;
}

// Lengths around tiles of 128 and segments of 256 positions; prompts that share beginnings.
std::vector<int32_t> AnyPrompt() {
  const int32_t length = OneIn(3) ? Pick({120, 127, 128, 129, 250, 256, 257}) : Between(1, 60);
  const int32_t salt = Between(0, 1);
  const int32_t shared = Between(0, length);
  const int32_t tail = Between(0, 1000);
  std::vector<int32_t> ids(length);
  for (int32_t i = 0; i < length; ++i) {
    ids[i] = i < shared ? 6 + (i * 31 + salt * 17 + i * i) % 80 : (i * 7 + tail) % (kVocabSize - 1);
  }
  return ids;
}

// Documents that prompts of a shared beginning share.
std::vector<int32_t> AnyDocuments(int32_t prompt) {
  const int32_t length = Pick({1, 7, 40, 150});
  std::vector<int32_t> ids(prompt);
  for (int32_t i = 0; i < prompt; ++i) ids[i] = i / length;
  return ids;
}

Request AnyRequest(MaskKind mask) {
  Request request;
  request.prompt_token_ids = AnyPrompt();
  request.sampling = AnyParams();
  if (OneIn(5)) {
    request.sampling.n = 1;
    request.completion_token_ids = AnyPrompt();
    request.completion_token_ids->resize(Between(1, 30), 9);
  }
  request.cache_salt = Pick({"", "", "salt"});
  const auto prompt = static_cast<int32_t>(request.prompt_token_ids->size());
  if (mask == MaskKind::kPrefixLm && !OneIn(5)) {
    request.prefix_len = std::min(prompt, Pick({1, 3, 30, 70, kMaxModelLen}));
  }
  if (mask == MaskKind::kDocument && !OneIn(5)) request.document_ids = AnyDocuments(prompt);
  return request;
}

EngineConfig AnyConfig(const Model& model, const std::vector<Arrival>& arrivals, MaskKind mask) {
  EngineConfig config;
  config.mask = AttentionMasks()[static_cast<size_t>(mask)];
  config.max_model_len = kMaxModelLen;
  config.max_num_batched_tokens = Pick({3, 16, 64, 300, 2048});
  const bool is_tight = OneIn(2);  // room for the prompts alone: answers preempt one another
  config.max_num_seqs = is_tight ? 32 : Pick({1, 2, 5, 32});
  config.block_size = is_tight ? 16 : Pick({16, 32, 64});
  config.enable_prefix_caching = OneIn(2);
  config.enable_chunked_prefill = config.max_num_batched_tokens < 2048 || OneIn(2);
  config.num_threads = Between(1, 3);
  config.pipeline_depth = Between(0, 1);
  config.eos_token_ids = {kEos};
  const auto blocks_of = [&config](int64_t tokens) {
    return (tokens + config.block_size - 1) / config.block_size;
  };
  int64_t largest = 1;
  int64_t prompts = 0;
  for (const Arrival& arrival : arrivals) {
    const Request& request = arrival.request;
    const size_t output = request.completion_token_ids ? request.completion_token_ids->size()
                                                       : request.sampling.max_tokens;
    const size_t prompt = request.prompt_token_ids->size();
    largest = std::max(largest, blocks_of(static_cast<int64_t>(prompt + output)));
    prompts += blocks_of(static_cast<int64_t>(prompt));
  }
  const int64_t blocks = is_tight ? std::max(largest, prompts) : largest + Pick({0, 1, 3, 30});
  config.kv_cache_memory_bytes = blocks * config.block_size * model.KvBytesPerToken();
  return config;
}

// Everything that could change bits is off.
EngineConfig PlainConfig(MaskKind mask) {
  EngineConfig config;
  config.mask = AttentionMasks()[static_cast<size_t>(mask)];
  config.max_model_len = kMaxModelLen;
  config.kv_cache_memory_bytes = 4 << 20;
  config.enable_prefix_caching = false;
  config.num_threads = 1;
  config.pipeline_depth = 0;
  config.max_num_seqs = 1;
  config.eos_token_ids = {kEos};
  return config;
}

bool IsPrefix(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  return a.size() <= b.size() && std::equal(a.begin(), a.end(), b.begin());
}

// What the straight line says about an answer that has not failed; "" if it is its own.
std::string DifferenceFromStraightLine(const StraightLine& line, const Request& request,
                                       MaskKind mask, int32_t sample_index, const Answer& answer) {
  ClaimedAnswer claim;
  claim.mask.kind = mask;
  claim.mask.prefix_len = request.prefix_len.value_or(0);
  for (size_t i = 1; request.document_ids && i < request.document_ids->size(); ++i) {
    if (request.document_ids->at(i) != request.document_ids->at(i - 1)) {
      claim.mask.document_starts.push_back(static_cast<int32_t>(i));
    }
  }
  claim.prompt = *request.prompt_token_ids;
  claim.output = answer.token_ids;
  claim.params = request.sampling;
  claim.sample_index = sample_index;
  claim.stop_ids = request.sampling.stop_token_ids;
  if (!request.sampling.ignore_eos) claim.stop_ids.push_back(kEos);
  claim.is_score = request.completion_token_ids.has_value();
  const StraightLineAnswer expected = line.Answer(claim);
  if (!expected.fault.empty()) return expected.fault;
  Answer reference = answer;
  reference.logprobs = expected.output;
  if (sample_index == 0) reference.prompt_logprobs = expected.prompt;
  for (size_t i = 0; i < answer.token_ids.size(); ++i) {
    if (answer.token_ids[i] != expected.output[i].token_id) return fmt::format("token {}", i);
  }
  return Difference(answer, reference);
}

std::string Describe(const EngineConfig& c) {
  return fmt::format(
      "budget {}, seqs {}, block {}, kv bytes {}, prefix {}, chunked {}, threads {}, depth {}",
      c.max_num_batched_tokens, c.max_num_seqs, c.block_size, c.kv_cache_memory_bytes,
      c.enable_prefix_caching, c.enable_chunked_prefill, c.num_threads, c.pipeline_depth);
}

// What the cases met, to know that they met everything.
struct Coverage {
  int64_t preempted = 0, cached = 0, failed = 0, aborted = 0, scored = 0, stopped = 0;
};

void CheckCase(MaskKind mask, Coverage* coverage) {
  const Checkpoint checkpoint = MakeRandomCheckpoint(AnyModel(mask));
  const auto model = LoadModelOf(checkpoint, BestDevice());
  std::vector<Arrival> arrivals(Between(1, 8));
  for (Arrival& arrival : arrivals) {
    arrival.request = AnyRequest(mask);
    arrival.step = Between(0, 8);
    if (OneIn(6)) arrival.abort_step = arrival.step + Between(0, 12);
  }
  const EngineConfig config = AnyConfig(*model, arrivals, mask);
  for (Arrival& arrival : arrivals) {
    std::optional<int32_t>& prefix = arrival.request.prefix_len;
    if (prefix) prefix = std::min(*prefix, config.max_num_batched_tokens);
  }
  const auto engine = Engine::Create(config, model, nullptr).value();
  const auto plain = Engine::Create(PlainConfig(mask), model, nullptr).value();
  const auto answers = RunArrivals(engine.get(), arrivals);
  RC_LOG() << Describe(config) << std::endl;
  for (size_t i = 0; i < arrivals.size(); ++i) {
    const auto alone = RunAll(plain.get(), {arrivals[i].request}).at(0);
    for (size_t s = 0; s < alone.size(); ++s) {
      const Answer& answer = answers[i][s];
      coverage->failed += answer.finish_reason == FinishReason::kError ? 1 : 0;
      coverage->stopped += answer.finish_reason == FinishReason::kStop ? 1 : 0;
      if (answer.finish_reason == FinishReason::kAbort) {
        ++coverage->aborted;
        RC_ASSERT(IsPrefix(answer.token_ids, alone[s].token_ids));
        continue;
      }
      const std::string difference = Difference(answer, alone[s]);
      if (!difference.empty()) RC_LOG() << "request " << i << " sample " << s << ": " << difference;
      RC_ASSERT(difference == "");
    }
    coverage->scored += arrivals[i].request.completion_token_ids ? 1 : 0;
  }
  const EngineStats stats = engine->Stats();
  coverage->preempted += stats.num_preempted;
  coverage->cached += stats.prefix_cache_hits;
  // The first one that ended by itself, by the plain functions of docs/numerics.md.
  const StraightLine line(checkpoint, MakeReferenceBackend());
  for (size_t i = 0; i < arrivals.size(); ++i) {
    const Answer& answer = answers[i].back();
    if (answer.finish_reason != FinishReason::kStop &&
        answer.finish_reason != FinishReason::kLength) {
      continue;
    }
    const auto sample = static_cast<int32_t>(answers[i].size()) - 1;
    const std::string difference =
        DifferenceFromStraightLine(line, arrivals[i].request, mask, sample, answer);
    if (!difference.empty()) RC_LOG() << "request " << i << " straight line: " << difference;
    RC_ASSERT(difference == "");
    break;
  }
}

TEST(EngineInvariance, AnswersUnderEveryMaskAreThoseOfEachRequestAloneAndOfAStraightLine) {
  int64_t preempted = 0;  // of one mask's cases it may be none
  for (const MaskKind mask : {MaskKind::kSlidingWindow, MaskKind::kPrefixLm, MaskKind::kDocument}) {
    SCOPED_TRACE(AttentionMasks()[static_cast<size_t>(mask)]);
    Coverage coverage;
    EXPECT_TRUE(Holds(ScaledCases(50), [&coverage, mask] { CheckCase(mask, &coverage); }));
    preempted += coverage.preempted;
    if (kSanitized) continue;
    EXPECT_GT(coverage.cached, 0);
    EXPECT_GT(coverage.scored, 0);
  }
  if (kSanitized) return;
  EXPECT_GT(preempted, 0);
}

TEST(EngineInvariance, AnswersAreThoseOfEachRequestAloneAndOfAStraightLine) {
  Coverage coverage;
  EXPECT_TRUE(Holds(ScaledCases(100), [&coverage] { CheckCase(MaskKind::kCausal, &coverage); }));
  if (kSanitized) return;
  EXPECT_GT(coverage.preempted, 0);
  EXPECT_GT(coverage.cached, 0);
  EXPECT_GT(coverage.failed, 0);
  EXPECT_GT(coverage.aborted, 0);
  EXPECT_GT(coverage.scored, 0);
  EXPECT_GT(coverage.stopped, 0);
}

}  // namespace
}  // namespace vexact
