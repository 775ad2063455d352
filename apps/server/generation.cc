#include "server/generation.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

namespace vexact {
namespace {

using Clock = std::chrono::steady_clock;

// A connection that could do without for now is woken for more: for every token of an answer that
// is not streamed it took 10 us of an I/O thread.
constexpr int64_t kLittleBytes = 16 << 10;

// About what an output takes while it waits.
int64_t BytesOf(const Output& output) {
  size_t bytes = sizeof(Output) + output.text.size() +
                 (output.token_ids.size() + output.redrawn_token_ids.size()) * sizeof(int32_t);
  for (const auto* tokens : {&output.logprobs, &output.prompt_logprobs}) {
    for (const TokenLogprob& token : *tokens) {
      bytes += sizeof(TokenLogprob) + token.top.size() * sizeof(TopLogprob);
    }
  }
  return static_cast<int64_t>(bytes);
}

template <typename T>
void Append(const std::vector<T>& items, std::vector<T>& list) {
  list.insert(list.end(), items.begin(), items.end());
}

// Both outputs of one sample as one.
Output Joined(Output first, Output next) {
  first.text += next.text;
  Append(next.token_ids, first.token_ids);
  Append(next.logprobs, first.logprobs);
  Append(next.redrawn_token_ids, first.redrawn_token_ids);
  Append(next.prompt_logprobs, first.prompt_logprobs);
  next.text = std::move(first.text);
  next.token_ids = std::move(first.token_ids);
  next.logprobs = std::move(first.logprobs);
  next.redrawn_token_ids = std::move(first.redrawn_token_ids);
  next.prompt_logprobs = std::move(first.prompt_logprobs);
  return next;
}

// A request that cannot be answered as it was asked is its client's to change.
ApiError OutputError(const Output& output) {
  if (output.fault_cause == FaultCause::kRequest) {
    return RequestError(InvalidArgument("{}", output.error));
  }
  return {.status = 500, .message = output.error};
}

// A nonsensical n is the engine's to refuse.
int64_t SamplesOf(const Request& request) { return std::max(request.sampling.n, 1); }

}  // namespace

// One call: outputs come in on the engine's thread, news go out on the connection's.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  Generation(Generator& generator, AnswerWriter writer, Wake wake)
      : generator_(generator), writer_(std::move(writer)), wake_(std::move(wake)) {}

  // The error of the first request that the engine does not take; then it has none of them.
  Status Submit(std::vector<Request> requests, bool needs_logprobs);
  AnswerNews Next();
  void Cancel();

 private:
  struct Pending {
    size_t request = 0;
    Output output;
  };

  // For Cancel to abort. False if that has come already: a stream may overflow before all of its
  // requests are the engine's.
  bool Keep(RequestId id);
  void Post(size_t request, const Output& output);
  bool IsWorthAWake(size_t request, const Output& output);
  static std::vector<Pending> JoinSamples(std::vector<Pending> pending);
  double SecondsSinceLast(size_t request, const Output& output);
  void AppendNews(const Pending& pending, AnswerNews& news);
  void Fail(const ApiError& error, AnswerNews& news);
  bool AllFinished() const;

  Generator& generator_;
  const AnswerWriter writer_;
  const Wake wake_;

  // The connection's thread's.
  std::vector<RequestResult> results_;
  bool has_begun_ = false;  // the head of a stream is sent

  // The engine's thread's, of each sample: when it last had tokens, and how many its connection was
  // not woken for.
  struct SampleNews {
    Clock::time_point last;
    size_t num_unsaid = 0;
  };
  std::vector<std::vector<SampleNews>> news_;

  std::mutex mutex_;  // guards everything below
  std::vector<Pending> pending_;
  int64_t pending_bytes_ = 0;
  std::vector<RequestId> ids_;
  bool is_cancelled_ = false;
  bool is_too_slow_ = false;
};

Status Generation::Submit(std::vector<Request> requests, bool needs_logprobs) {
  results_.resize(requests.size());
  int64_t samples_left = 0;  // admitted, and not yet the engine's
  for (const Request& request : requests) {
    news_.emplace_back(static_cast<size_t>(SamplesOf(request)));
    samples_left += SamplesOf(request);
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    Request& request = requests[i];
    const int64_t samples = SamplesOf(request);
    RequestResult& result = results_[i];
    result.index = static_cast<int64_t>(i);
    result.show_logprobs = request.sampling.logprobs.has_value();
    result.show_prompt_logprobs = request.sampling.prompt_logprobs.has_value();
    result.request = std::make_shared<const Request>(request);
    if (needs_logprobs && !request.sampling.logprobs) request.sampling.logprobs = 0;
    const Result<RequestId> id = generator_.front_.Submit(
        std::move(request),
        [self = shared_from_this(), i](const Output& output) { self->Post(i, output); });
    if (!id.ok()) {
      generator_.open_samples_ -= samples_left;
      Cancel();
      return id.error();
    }
    samples_left -= samples;
    if (!Keep(*id)) generator_.front_.Abort(*id);
  }
  return {};
}

bool Generation::Keep(RequestId id) {
  const std::lock_guard lock(mutex_);
  if (!is_cancelled_) ids_.push_back(id);
  return !is_cancelled_;
}

double Generation::SecondsSinceLast(size_t request, const Output& output) {
  if (output.token_ids.empty()) return -1.0;
  Clock::time_point& last = news_[request][static_cast<size_t>(output.sample_index)].last;
  const Clock::time_point before = std::exchange(last, Clock::now());
  if (before == Clock::time_point()) return -1.0;
  return std::chrono::duration<double>(last - before).count();
}

bool Generation::IsWorthAWake(size_t request, const Output& output) {
  if (!writer_.streams || output.finished()) return output.finished();
  size_t& num_unsaid = news_[request][static_cast<size_t>(output.sample_index)].num_unsaid;
  num_unsaid += output.token_ids.size();
  const bool is_first = output.num_output_tokens == static_cast<int32_t>(output.token_ids.size());
  if (!is_first && num_unsaid < static_cast<size_t>(generator_.limits_.stream_interval)) {
    return false;
  }
  num_unsaid = 0;
  return true;
}

// Each sample's outputs become one, but for an error, which is its own event.
std::vector<Generation::Pending> Generation::JoinSamples(std::vector<Pending> pending) {
  std::vector<Pending> joined;
  std::map<std::pair<size_t, int32_t>, size_t> places;
  for (Pending& item : pending) {
    const auto [place, is_new] =
        places.try_emplace({item.request, item.output.sample_index}, joined.size());
    if (is_new || item.output.finish_reason == FinishReason::kError) {
      joined.push_back(std::move(item));
    } else {
      Output& output = joined[place->second].output;
      output = Joined(std::move(output), std::move(item.output));
    }
  }
  return joined;
}

void Generation::Post(size_t request, const Output& output) {
  generator_.Count(output, SecondsSinceLast(request, output));
  bool overflows = false;
  bool is_news = IsWorthAWake(request, output);
  {
    const std::lock_guard lock(mutex_);
    if (is_cancelled_) return;
    pending_.push_back({request, output});
    const bool was_little = pending_bytes_ <= kLittleBytes;
    pending_bytes_ += BytesOf(output);
    overflows = writer_.streams && pending_bytes_ > generator_.limits_.max_pending_bytes;
    is_too_slow_ = overflows;
    is_news = is_news || (was_little && pending_bytes_ > kLittleBytes);
  }
  if (overflows) Cancel();
  if (is_news) wake_();
}

void Generation::Cancel() {
  std::vector<RequestId> ids;
  {
    const std::lock_guard lock(mutex_);
    is_cancelled_ = true;
    pending_.clear();
    ids.swap(ids_);
  }
  for (const RequestId id : ids) generator_.front_.Abort(id);
}

bool Generation::AllFinished() const {
  return std::all_of(results_.begin(), results_.end(),
                     [](const RequestResult& result) { return result.finished(); });
}

void Generation::Fail(const ApiError& error, AnswerNews& news) {
  if (has_begun_) {
    news.bytes += SseEvent(ErrorJson(error));
  } else {
    news.head = ErrorResponse(error);
    news.bytes.clear();
  }
  news.end = true;
  Cancel();
}

void Generation::AppendNews(const Pending& pending, AnswerNews& news) {
  const Output& output = pending.output;
  AppendOutput(output, results_[pending.request]);
  if (output.finish_reason == FinishReason::kError) {
    Fail(OutputError(output), news);
  } else if (writer_.streams) {
    news.bytes += writer_.piece(results_, pending.request, output);
  }
}

AnswerNews Generation::Next() {
  std::vector<Pending> pending;
  bool is_too_slow = false;
  {
    const std::lock_guard lock(mutex_);
    pending.swap(pending_);
    pending_bytes_ = 0;
    is_too_slow = is_too_slow_;
  }
  AnswerNews news;
  if (is_too_slow) {
    Fail({.status = 500, .message = "the client took too long to read its answer"}, news);
    return news;
  }
  if (generator_.limits_.stream_interval > 1) pending = JoinSamples(std::move(pending));
  for (const Pending& item : pending) {
    AppendNews(item, news);
    if (news.end) return news;
  }
  news.end = AllFinished();
  if (!writer_.streams) {
    if (news.end) news.head = HttpResponse{.body = writer_.whole(results_)};
    return news;
  }
  if (news.end) news.bytes += writer_.last(results_);
  if (!has_begun_ && !news.bytes.empty()) {
    has_begun_ = true;
    news.head = HttpResponse{.content_type = "text/event-stream",
                             .headers = {{"Cache-Control", "no-cache"}}};
    if (news.end) news.head->body.swap(news.bytes);
  }
  return news;
}

Generator::Generator(EngineFront& front, Metrics& metrics, GeneratorLimits limits)
    : front_(front), metrics_(metrics), limits_(limits) {}

Generator::~Generator() { front_.Drain(); }

bool Generator::Admit(int64_t samples) {
  int64_t open = open_samples_;
  while (open + samples <= limits_.max_open_samples) {
    if (open_samples_.compare_exchange_weak(open, open + samples)) return true;
  }
  return false;
}

void Generator::Count(const Output& output, double since_last_s) {
  if (output.sample_index == 0 && !output.token_ids.empty() && since_last_s < 0.0) {
    metrics_.CountPromptTokens(static_cast<int64_t>(output.prompt_token_ids->size()));
  }
  metrics_.CountOutput(output, since_last_s);
  if (output.finish_reason == FinishReason::kError && output.fault_cause == FaultCause::kEngine) {
    const std::lock_guard lock(mutex_);
    if (fault_.empty()) fault_ = output.error;
  }
  if (output.finished()) --open_samples_;
}

std::string Generator::fault() const {
  const std::lock_guard lock(mutex_);
  return fault_;
}

PendingAnswer Generator::Start(GenerationCall call, Wake wake) {
  const auto refuse = [](const ApiError& error) { return ReadyAnswer(ErrorResponse(error)); };
  if (const std::string reason = fault(); !reason.empty()) {
    return refuse({.status = 503, .message = "the engine has failed: " + reason});
  }
  int64_t samples = 0;
  for (const Request& request : call.requests) samples += SamplesOf(request);
  if (samples > limits_.max_open_samples) {
    return refuse({.status = 400,
                   .message = fmt::format("n: expected at most {} samples of all prompts, found {}",
                                          limits_.max_open_samples, samples),
                   .param = "n"});
  }
  if (!Admit(samples)) {
    return refuse({.status = 429,
                   .message = fmt::format("expected at most {} samples at once, found {} more; try "
                                          "again later",
                                          limits_.max_open_samples, samples),
                   .code = "queue_full"});
  }
  const auto generation =
      std::make_shared<Generation>(*this, std::move(call.writer), std::move(wake));
  const Status status = generation->Submit(std::move(call.requests), call.needs_logprobs);
  if (!status.ok()) {
    return refuse(RequestError(InBodysWords(status.error(), call.field_names)));
  }
  return {.next = [generation] { return generation->Next(); },
          .cancel = [generation] { generation->Cancel(); }};
}

std::string SseEvent(std::string_view data) { return fmt::format("data: {}\n\n", data); }

}  // namespace vexact
