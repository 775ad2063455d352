#include "engine/engine.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <limits>
#include <map>
#include <set>
#include <span>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/stopwatch.h"
#include "engine/make_runner.h"
#include "engine/model_runner.h"
#include "engine/prepare.h"
#include "model/model.h"
#include "numerics/profile.h"
#include "output/output_processor.h"
#include "request/token_ids.h"
#include "scheduler/scheduler.h"
#include "tokenizer/tokenizer.h"

namespace vexact {
namespace {

// Engine clock; negative: not yet.
struct SampleState {
  double launched = -1.0;
  double first_token = -1.0;
};

struct RequestState {
  PreparedRequest request;
  SequenceId first_sequence = 0;  // sample i is sequence first_sequence + i
  std::vector<SampleState> samples;
  int32_t num_unfinished = 0;
  bool has_siblings_waiting = false;  // samples 1... are not in the scheduler yet
  double arrival = 0.0;               // engine clock
  double deadline = std::numeric_limits<double>::infinity();
};

struct InFlightStep {
  std::shared_ptr<const StepPlan> plan;
  StepStats stats;
  StepTicket ticket;
};

SchedulerOptions SchedulerOptionsOf(const ResolvedConfig& resolved) {
  const EngineConfig& config = resolved.config;
  return {.max_num_batched_tokens = config.max_num_batched_tokens,
          .max_num_seqs = config.max_num_seqs,
          .enable_chunked_prefill = config.enable_chunked_prefill,
          .blocks = {.num_blocks = resolved.num_blocks,
                     .block_size = config.block_size,
                     .enable_prefix_caching = config.enable_prefix_caching}};
}

bool HaveEqualShapes(const ModelConfig& a, const ModelConfig& b) {
  const auto shape = [](const ModelConfig& c) {
    return std::tuple(c.family, c.hidden_size, c.num_layers, c.num_heads, c.num_kv_heads,
                      c.head_dim, c.intermediate_size, c.vocab_size, c.moe.num_experts,
                      c.moe.num_experts_per_tok, c.moe.moe_intermediate_size, c.sliding_window);
  };
  return shape(a) == shape(b);
}

// What keys and values depend on beside the tokens before them: a mask's parameters, and all tokens
// of a prefix. (Documents begin at tokens: Sequence::CacheKeyAt.)
std::string MaskText(const EngineConfig& config, const ModelConfig& model,
                     const PreparedRequest& request) {
  switch (request.mask.kind) {
    case MaskKind::kCausal:
    case MaskKind::kDocument:
      return config.mask;
    case MaskKind::kSlidingWindow:
      return fmt::format("{} {}", config.mask, model.sliding_window);
    case MaskKind::kPrefixLm: {
      const std::span prefix = std::span(*request.prompt_token_ids).first(request.mask.prefix_len);
      return fmt::format("{} [{}]", config.mask, fmt::join(prefix, " "));
    }
  }
  VX_CHECK(false, "a MaskKind");
  return "";
}

}  // namespace

struct Engine::Impl {
  Impl(ResolvedConfig r, std::shared_ptr<const Model> m, std::shared_ptr<const Tokenizer> t)
      : resolved(std::move(r)),
        model(std::move(m)),
        vocab_size(model->config().vocab_size),
        tokenizer(std::move(t)),
        scheduler(SchedulerOptionsOf(resolved)),
        output(tokenizer) {}

  void LaunchStep();
  void CollectStep(std::vector<Output>* outputs);
  void ExpireRequests();
  // Ends all samples that have not ended.
  void EndRequest(RequestState* state, FinishReason reason, const std::string& error,
                  std::vector<Output>* outputs);
  void AddSequence(const RequestState& state, int32_t sample_index);
  SampleSpec SampleSpecOf(const RequestState& state, int32_t sample_index) const;
  std::vector<int32_t> StopIds(const SamplingParams& params) const;
  // Adds the request's times to an output, and forgets the request with its last sample.
  void Finalize(RequestState* state, Output* output);
  // Samples 1... follow the first one's prompt, to find it in the prefix cache.
  void ReleaseSiblings(RequestState* state, const Output& first, std::vector<Output>* outputs);

  ResolvedConfig resolved;
  std::shared_ptr<const Model> model;
  const int64_t vocab_size;
  std::shared_ptr<const Tokenizer> tokenizer;
  std::unique_ptr<ModelRunner> runner;
  Scheduler scheduler;
  OutputProcessor output;
  std::deque<InFlightStep> in_flight;
  std::vector<Output> ready;  // aborted since the last Step
  std::map<RequestId, RequestState> requests;
  std::unordered_map<SequenceId, RequestState*> request_of;  // of samples that have not ended
  std::set<std::pair<double, RequestId>> deadlines;
  SequenceId next_sequence = 0;
  std::atomic<RequestId> next_request = 0;
  int64_t weights_generation = 0;
  EngineStats stats;
};

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::Create(EngineConfig config,
                                               std::shared_ptr<const Model> model,
                                               std::shared_ptr<const Tokenizer> tokenizer) {
  VX_RETURN_IF_ERROR(
      CheckTokenIds("eos_token_ids", config.eos_token_ids, model->config().vocab_size));
  VX_ASSIGN_OR_RETURN(ReadyRunner ready, MakeRunner(std::move(config), model));
  auto impl =
      std::make_unique<Impl>(std::move(ready.resolved), std::move(model), std::move(tokenizer));
  impl->runner = std::move(ready.runner);
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

Result<PreparedRequest> Engine::Prepare(Request request) const {
  return PrepareRequest(std::move(request), impl_->next_request++,
                        {impl_->resolved, impl_->vocab_size, impl_->tokenizer.get()});
}

Result<RequestId> Engine::Add(Request request) {
  VX_ASSIGN_OR_RETURN(PreparedRequest prepared, Prepare(std::move(request)));
  const RequestId id = prepared.id;
  Add(std::move(prepared));
  return id;
}

void Engine::Add(PreparedRequest request) {
  Impl& impl = *impl_;
  const RequestId id = request.id;
  const auto [it, is_new] = impl.requests.try_emplace(id);
  VX_CHECK(is_new, "a PreparedRequest is added twice");
  RequestState& state = it->second;
  state.request = std::move(request);
  state.num_unfinished = state.request.sampling->n;
  state.samples.resize(state.num_unfinished);
  state.has_siblings_waiting = state.num_unfinished > 1;
  state.first_sequence = impl.next_sequence;
  impl.next_sequence += state.num_unfinished;
  state.arrival = impl.resolved.config.clock();
  if (state.request.timeout_s > 0.0) {
    state.deadline = state.arrival + state.request.timeout_s;
    impl.deadlines.emplace(state.deadline, id);
  }
  for (int32_t i = 0; i < state.num_unfinished; ++i) {
    impl.request_of.emplace(state.first_sequence + i, &state);
    impl.output.Add(impl.SampleSpecOf(state, i));
  }
  impl.AddSequence(state, 0);
}

std::vector<Output> Engine::Step() {
  const Stopwatch stopwatch;
  Impl& impl = *impl_;
  impl.ExpireRequests();
  std::vector<Output> outputs = std::exchange(impl.ready, {});
  const size_t launched_before = impl.in_flight.size();
  impl.LaunchStep();
  const bool launched = impl.in_flight.size() > launched_before;
  const auto depth = static_cast<size_t>(impl.resolved.config.pipeline_depth);
  // With nothing more to launch, what is in flight is waited for.
  if (impl.in_flight.size() > depth || (!launched && launched_before > 0)) {
    impl.CollectStep(&outputs);
  }
  impl.stats.busy_ms += stopwatch.milliseconds();
  return outputs;
}

void Engine::Abort(RequestId id) {
  const auto it = impl_->requests.find(id);
  if (it == impl_->requests.end()) return;
  impl_->EndRequest(&it->second, FinishReason::kAbort, "", &impl_->ready);
}

bool Engine::HasWork() const {
  return !impl_->requests.empty() || !impl_->ready.empty() || !impl_->in_flight.empty();
}

Status Engine::UpdateWeights(std::shared_ptr<const Model> model) {
  if (HasWork()) {
    return InvalidArgument("update of weights: expected an idle engine, found {} requests",
                           impl_->requests.size());
  }
  if (!HaveEqualShapes(model->config(), impl_->model->config()) ||
      model->max_positions() < impl_->resolved.config.max_model_len ||
      &model->backend() != &impl_->model->backend()) {
    return InvalidArgument(
        "update of weights: expected a model of the same shapes on the same backend, found "
        "another");
  }
  VX_RETURN_IF_ERROR(impl_->runner->SetModel(model));
  impl_->model = std::move(model);
  ++impl_->weights_generation;
  impl_->scheduler.ResetPrefixCache();
  return {};
}

void Engine::ResetPrefixCache() { impl_->scheduler.ResetPrefixCache(); }

EngineStats Engine::Stats() const {
  EngineStats stats = impl_->stats;
  const Scheduler& scheduler = impl_->scheduler;
  stats.num_waiting = scheduler.num_waiting();
  stats.num_running = scheduler.num_running();
  stats.kv_blocks_total = scheduler.blocks().num_blocks();
  stats.kv_blocks_used = scheduler.blocks().num_used();
  stats.num_preempted = scheduler.num_preempted();
  stats.prefix_cache_queries = scheduler.prefix_cache_queries();
  stats.prefix_cache_hits = scheduler.prefix_cache_hits();
  return stats;
}

Status Engine::CheckInvariants() const { return impl_->scheduler.CheckInvariants(); }

const EngineConfig& Engine::config() const { return impl_->resolved.config; }

void Engine::Impl::LaunchStep() {
  const Stopwatch stopwatch;
  auto plan = std::make_shared<const StepPlan>(scheduler.PlanStep());
  if (plan->empty()) return;
  const double now = resolved.config.clock();
  for (const StartedSequence& started : plan->started) {
    // Not sample_index: a score request that redraws has one sample, of any index.
    RequestState& request = *request_of.at(started.id);
    SampleState& sample = request.samples.at(started.id - request.first_sequence);
    if (sample.launched < 0.0) sample.launched = now;
  }
  StepTicket ticket = runner->Launch(plan, BuildBatch(*plan, resolved.config.block_size));
  in_flight.push_back({std::move(plan), scheduler.plan_stats(), std::move(ticket)});
  in_flight.back().stats.host_ms = stopwatch.milliseconds();
}

void Engine::Impl::CollectStep(std::vector<Output>* outputs) {
  InFlightStep step = std::move(in_flight.front());
  in_flight.pop_front();
  const StepResult result = step.ticket.Collect();
  const Stopwatch stopwatch;
  std::vector<SequenceOutput> news;
  const Stops stops = output.Append(*step.plan, result, &news);
  for (SequenceOutput& item : news) {
    item.output.num_cached_tokens = scheduler.NumCachedTokens(item.sequence_id);
  }
  scheduler.Commit(result, stops);
  std::ranges::sort(news, {}, [](const SequenceOutput& item) {
    return std::pair(item.output.request_id, item.output.sample_index);
  });
  for (SequenceOutput& item : news) {
    RequestState* state = request_of.at(item.sequence_id);
    const bool lets_siblings_go =
        state->has_siblings_waiting && (item.output.finished() || !item.output.token_ids.empty());
    Finalize(state, &item.output);
    outputs->push_back(std::move(item.output));
    if (lets_siblings_go) ReleaseSiblings(state, outputs->back(), outputs);
  }
  step.stats.milliseconds = result.milliseconds;
  step.stats.idle_ms = result.idle_ms;
  step.stats.host_ms += result.host_ms + stopwatch.milliseconds();
  stats.calls = result.calls;
  ++stats.num_steps;
  stats.host_ms += step.stats.host_ms;
  stats.idle_ms += step.stats.idle_ms;
  stats.num_prefill_tokens += step.stats.num_prefill_tokens;
  stats.num_decode_tokens += step.stats.num_decode_tokens;
  if (resolved.config.on_step) resolved.config.on_step(step.stats);
}

void Engine::Impl::ReleaseSiblings(RequestState* state, const Output& first,
                                   std::vector<Output>* outputs) {
  state->has_siblings_waiting = false;
  if (first.finish_reason == FinishReason::kError && first.num_output_tokens == 0) {
    // What fails before the first token fails for every sample: the prompt is the same.
    const std::string error = first.error;
    EndRequest(state, FinishReason::kError, error, outputs);
    return;
  }
  for (int32_t i = 1; i < static_cast<int32_t>(state->samples.size()); ++i) AddSequence(*state, i);
}

void Engine::Impl::ExpireRequests() {
  if (deadlines.empty()) return;
  const double now = resolved.config.clock();
  while (!deadlines.empty() && deadlines.begin()->first <= now) {
    EndRequest(&requests.at(deadlines.begin()->second), FinishReason::kTimeout, "", &ready);
  }
}

void Engine::Impl::EndRequest(RequestState* state, FinishReason reason, const std::string& error,
                              std::vector<Output>* outputs) {
  const SequenceId first = state->first_sequence;
  const auto num_samples = static_cast<SequenceId>(state->samples.size());
  for (SequenceId id = first; id < first + num_samples; ++id) {
    // Erased as samples end; the state goes with the last.
    if (!request_of.contains(id)) continue;
    const int32_t num_cached_tokens = scheduler.NumCachedTokens(id);
    scheduler.Abort(id);
    Output ended = output.End(id, reason);
    ended.error = error;
    ended.num_cached_tokens = num_cached_tokens;
    Finalize(state, &ended);
    outputs->push_back(std::move(ended));
  }
}

void Engine::Impl::Finalize(RequestState* state, Output* output) {
  SampleState& sample = state->samples[output->sample_index];
  const double now = resolved.config.clock();
  if (sample.first_token < 0.0 && !output->token_ids.empty()) sample.first_token = now;
  if (sample.launched >= 0.0) output->timings.queued_s = sample.launched - state->arrival;
  if (sample.first_token >= 0.0)
    output->timings.first_token_s = sample.first_token - state->arrival;
  if (!output->finished()) return;
  output->timings.total_s = now - state->arrival;
  request_of.erase(state->first_sequence + output->sample_index);
  if (--state->num_unfinished > 0) return;
  const RequestId id = state->request.id;
  deadlines.erase({state->deadline, id});
  requests.erase(id);
}

std::vector<int32_t> Engine::Impl::StopIds(const SamplingParams& params) const {
  std::vector<int32_t> ids = params.stop_token_ids;
  const std::vector<int32_t>& eos_ids = resolved.config.eos_token_ids;
  if (!params.ignore_eos) ids.insert(ids.end(), eos_ids.begin(), eos_ids.end());
  return ids;
}

SampleSpec Engine::Impl::SampleSpecOf(const RequestState& state, int32_t sample_index) const {
  const PreparedRequest& request = state.request;
  return {.sequence_id = state.first_sequence + sample_index,
          .request_id = request.id,
          .sample_index = sample_index,
          .params = request.sampling,
          .prompt_ids = request.prompt_token_ids,
          .eos_ids = resolved.config.eos_token_ids,
          .seed = *request.sampling->seed,
          .max_output_tokens = MaxOutputTokens(request, resolved.config.max_model_len)};
}

void Engine::Impl::AddSequence(const RequestState& state, int32_t sample_index) {
  const PreparedRequest& request = state.request;
  SequenceSpec spec;
  spec.id = state.first_sequence + sample_index;
  spec.prompt_ids = request.prompt_token_ids;
  spec.completion_ids = request.completion_token_ids.value_or(std::vector<int32_t>());
  spec.params = request.sampling;
  spec.seed = *request.sampling->seed;
  spec.sample_index = request.redraw_sample_index.value_or(sample_index);
  spec.redraws = request.redraw_sample_index.has_value();
  spec.stop_ids = StopIds(*request.sampling);
  spec.max_output_tokens = MaxOutputTokens(request, resolved.config.max_model_len);
  const auto prompt_len = static_cast<int32_t>(request.prompt_token_ids->size());
  const bool wants_prompt = request.sampling->prompt_logprobs && sample_index == 0;
  spec.targets_begin = wants_prompt ? 1 : prompt_len;
  spec.targets_end = prompt_len + static_cast<int32_t>(spec.completion_ids.size());
  spec.mask = request.mask;
  spec.prefix_root = std::make_shared<const PrefixRoot>(
      fmt::format("weights {}, profile {}, mode {}, mask {}, salt {}", weights_generation,
                  kNumericsProfile, ModeName(resolved.config.mode),
                  MaskText(resolved.config, model->config(), request), request.cache_salt));
  scheduler.Add(std::move(spec));
}

}  // namespace vexact
