#include "demo/ways.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "demo/requests.h"

namespace vexact {
namespace {

constexpr int32_t kBlockSize = 16;
// 704 tokens: the largest request fits twice, all of them not by far.
constexpr int32_t kFewBlocks = 44;
constexpr int kNumTogether = kNumProofRequests + kNumStrangers;

// Rounds up, so that the whole request and a spare token fit.
constexpr int32_t kMaxModelLen = (kLongestRequest / kBlockSize + 2) * kBlockSize;

bool SameWords(const TokenLogprob& a, const TokenLogprob& b) {
  return a.token_id == b.token_id && CanonicalWord(a.logprob) == CanonicalWord(b.logprob);
}

bool SameWords(const TopLogprob& a, const TopLogprob& b) {
  return a.token_id == b.token_id && CanonicalWord(a.logprob) == CanonicalWord(b.logprob);
}

void CompareTokens(const TokenLogprob& expected, const TokenLogprob& found,
                   Comparison& comparison) {
  comparison.logprobs += 1 + static_cast<int64_t>(expected.top.size());
  comparison.differing += SameWords(expected, found) ? 0 : 1;
  if (expected.top.size() != found.top.size()) ++comparison.differing;
  for (size_t i = 0; i < std::min(expected.top.size(), found.top.size()); ++i) {
    comparison.differing += SameWords(expected.top[i], found.top[i]) ? 0 : 1;
  }
}

void CompareSamples(const SampleResult& expected, const SampleResult& found,
                    Comparison& comparison) {
  const size_t length = std::max(expected.token_ids.size(), found.token_ids.size());
  for (size_t t = 0; t < length; ++t) {
    if (t >= expected.logprobs.size() || t >= found.logprobs.size()) {
      ++comparison.differing;
    } else {
      CompareTokens(expected.logprobs[t], found.logprobs[t], comparison);
    }
  }
}

}  // namespace

std::vector<Way> InvariantWays() {
  const Way together{.name = "32 shuffled, budget 2048",
                     .with_strangers = true,
                     .least_batch = kNumTogether,
                     .most_batch = kNumTogether};
  Way budget64 = together;
  budget64.name = "32 shuffled, budget 64, one thread";
  budget64.max_num_batched_tokens = 64;
  budget64.num_threads = 1;
  budget64.least_batch = 0;
  budget64.splits_prompts = true;
  Way budget16 = budget64;
  budget16.name = "32 shuffled, budget 16";
  budget16.max_num_batched_tokens = 16;
  budget16.num_threads = 0;
  Way few_blocks = together;
  few_blocks.name = fmt::format("32 shuffled, {} KV blocks", kFewBlocks);
  few_blocks.kv_blocks = kFewBlocks;
  few_blocks.least_batch = 0;
  few_blocks.preempts = true;
  return {
      {.name = "alone", .one_at_a_time = true, .least_batch = 1, .most_batch = 1},
      together,
      budget64,
      budget16,
      few_blocks,
      {.name = "prefix cache, cold", .prefix_caching = true},
      {.name = "prefix cache, warm",
       .prefix_caching = true,
       .repeats_last = true,
       .reads_cache = true},
  };
}

std::vector<Way> VariantWays() {
  std::vector<Way> ways = InvariantWays();
  // Alone, together, and in chunks of prompts by all threads: three batches that differ.
  ways = {ways[0], ways[1], ways[3]};
  for (Way& way : ways) way.mode = Mode::kVariant;
  return ways;
}

Comparison Compare(const std::vector<RequestResult>& expected,
                   const std::vector<RequestResult>& found) {
  Comparison comparison;
  if (expected.size() != found.size()) ++comparison.differing;
  for (size_t i = 0; i < std::min(expected.size(), found.size()); ++i) {
    CompareSamples(expected[i].samples[0], found[i].samples[0], comparison);
  }
  return comparison;
}

std::string BrokenClaim(const Way& way, const WayReport& report) {
  const auto expected = [](const char* what, int64_t least, int64_t found) {
    return fmt::format("expected {} {}, found {}", what, least, found);
  };
  if (report.largest_batch < way.least_batch) {
    return expected("a step with a batch of", way.least_batch, report.largest_batch);
  }
  if (way.most_batch > 0 && report.largest_batch > way.most_batch) {
    return expected("no step with a batch above", way.most_batch, report.largest_batch);
  }
  if (way.splits_prompts && report.prefill_chunks <= report.num_requests) {
    return expected("more prompt chunks than", report.num_requests, report.prefill_chunks);
  }
  if (way.preempts && report.preemptions == 0) return "expected preemptions, found none";
  if (way.reads_cache && report.cached_tokens == 0) return "expected cached tokens, found none";
  if (!way.reads_cache && report.cached_tokens != 0) {
    return expected("cached tokens:", 0, report.cached_tokens);
  }
  if (way.num_threads > 0 && report.num_threads != way.num_threads) {
    return expected("threads:", way.num_threads, report.num_threads);
  }
  return "";
}

WayRunner::WayRunner(LoadedModel model, std::shared_ptr<const Model> variant)
    : model_(std::move(model)), variant_(std::move(variant)) {}

Status WayRunner::MakeEngine(const Way& way) {
  engine_.reset();  // frees its KV cache first
  EngineConfig config;
  config.max_num_batched_tokens = way.max_num_batched_tokens;
  config.max_num_seqs = 64;
  config.max_model_len = kMaxModelLen;
  config.block_size = kBlockSize;
  const int32_t blocks = way.kv_blocks > 0 ? way.kv_blocks : 256;
  config.kv_cache_memory_bytes = model_.model->KvBytesPerToken() * kBlockSize * blocks;
  config.enable_prefix_caching = way.prefix_caching;
  config.num_threads = way.num_threads;
  config.eos_token_ids = model_.eos_token_ids;
  config.on_step = [this](const StepStats& stats) { steps_.push_back(stats); };
  config.mode = way.mode;
  const auto& model = way.mode == Mode::kInvariant ? model_.model : variant_;
  VX_ASSIGN_OR_RETURN(engine_, Engine::Create(std::move(config), model, model_.tokenizer));
  return {};
}

Status WayRunner::AddRequest(Request request, int index) {
  VX_ASSIGN_OR_RETURN(const RequestId id, engine_->Add(std::move(request)));
  if (index_of_id_.size() <= static_cast<size_t>(id)) index_of_id_.resize(id + 1, -1);
  index_of_id_[id] = index;
  return {};
}

Result<WayReport> WayRunner::Run(const Way& way, FunctionRef<void(int64_t)> progress) {
  if (!way.repeats_last || engine_ == nullptr) VX_RETURN_IF_ERROR(MakeEngine(way));
  steps_.clear();
  index_of_id_.clear();
  results_.assign(kNumProofRequests, RequestResult());
  WayReport report;
  report.num_threads = engine_->config().num_threads;
  const auto start = std::chrono::steady_clock::now();
  VX_RETURN_IF_ERROR(RunAll(way, progress, report));
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  report.seconds = elapsed.count();
  AnswerDigest digest;
  for (const RequestResult& result : results_) {
    if (result.failed()) return InvalidArgument("{}: {}", way.name, result.samples[0].error);
    digest.Add(result);
  }
  report.digest = digest.Finish();
  for (const StepStats& step : steps_) {
    report.largest_batch = std::max(report.largest_batch, step.num_requests);
    // A sequence that decodes computes one token; every other one computes a piece of its prompt.
    report.prefill_chunks += step.num_requests - step.num_decode_tokens;
    report.preemptions += step.num_preempted;
    report.cached_tokens += step.num_cached_tokens;
    report.computed_tokens += step.num_prefill_tokens + step.num_decode_tokens;
  }
  report.results = std::move(results_);
  return report;
}

Status WayRunner::RunAll(const Way& way, FunctionRef<void(int64_t)> progress, WayReport& report) {
  const int32_t vocab_size = model_.model->config().vocab_size;
  std::vector<Request> requests = ProofRequests(model_.tokenizer.get(), vocab_size);
  if (way.with_strangers) {
    for (Request& stranger : Strangers(vocab_size)) requests.push_back(std::move(stranger));
  }
  report.num_requests = static_cast<int32_t>(requests.size());
  for (const int index : ShuffledOrder(report.num_requests)) {
    VX_RETURN_IF_ERROR(
        AddRequest(std::move(requests[index]), index < kNumProofRequests ? index : -1));
    if (way.one_at_a_time) StepUntilDone(progress);
  }
  StepUntilDone(progress);
  return {};
}

void WayRunner::StepUntilDone(FunctionRef<void(int64_t)> progress) {
  while (engine_->HasWork()) {
    for (const Output& output : engine_->Step()) {
      const int index = index_of_id_[output.request_id];
      if (index >= 0) AppendOutput(output, results_[index]);
    }
    int64_t computed = 0;
    for (const StepStats& step : steps_) {
      computed += step.num_prefill_tokens + step.num_decode_tokens;
    }
    progress(computed);
  }
}

}  // namespace vexact
