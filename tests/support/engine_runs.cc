#include "support/engine_runs.h"

#include <bit>
#include <map>

namespace vexact {
namespace {

bool SameBits(float a, float b) { return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b); }

std::string Difference(const TokenLogprob& a, const TokenLogprob& b) {
  if (a.token_id != b.token_id) return fmt::format("token {} and {}", a.token_id, b.token_id);
  if (!SameBits(a.logprob, b.logprob)) {
    return fmt::format("token {}: logprob {} and {}", a.token_id, a.logprob, b.logprob);
  }
  if (a.rank != b.rank) return fmt::format("token {}: rank {} and {}", a.token_id, a.rank, b.rank);
  if (a.top.size() != b.top.size()) return fmt::format("top {} and {}", a.top.size(), b.top.size());
  for (size_t i = 0; i < a.top.size(); ++i) {
    if (a.top[i].token_id != b.top[i].token_id || !SameBits(a.top[i].logprob, b.top[i].logprob)) {
      return fmt::format("token {}: top {}", a.token_id, i);
    }
  }
  return "";
}

std::string Difference(const std::vector<TokenLogprob>& a, const std::vector<TokenLogprob>& b) {
  if (a.size() != b.size()) return fmt::format("{} and {} log-probabilities", a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    const std::string difference = Difference(a[i], b[i]);
    if (!difference.empty()) return fmt::format("at {}: {}", i, difference);
  }
  return "";
}

}  // namespace

void Answer::Append(const Output& output) {
  VX_CHECK(finish_reason == FinishReason::kNone, "an output after the last");
  text += output.text;
  token_ids.insert(token_ids.end(), output.token_ids.begin(), output.token_ids.end());
  redrawn_token_ids.insert(redrawn_token_ids.end(), output.redrawn_token_ids.begin(),
                           output.redrawn_token_ids.end());
  logprobs.insert(logprobs.end(), output.logprobs.begin(), output.logprobs.end());
  prompt_logprobs.insert(prompt_logprobs.end(), output.prompt_logprobs.begin(),
                         output.prompt_logprobs.end());
  finish_reason = output.finish_reason;
  stop_reason = output.stop_reason;
  error = output.error;
  cumulative_logprob = output.cumulative_logprob;
  seed = output.seed;
  num_output_tokens = output.num_output_tokens;
  num_cached_tokens = output.num_cached_tokens;
}

std::string Difference(const Answer& a, const Answer& b) {
  if (a.token_ids != b.token_ids) {
    size_t i = 0;
    while (i < a.token_ids.size() && i < b.token_ids.size() && a.token_ids[i] == b.token_ids[i])
      ++i;
    return fmt::format("token ids from {} on ({} and {} tokens)", i, a.token_ids.size(),
                       b.token_ids.size());
  }
  if (a.text != b.text) return fmt::format("text \"{}\" and \"{}\"", a.text, b.text);
  if (a.finish_reason != b.finish_reason || a.stop_reason != b.stop_reason || a.error != b.error) {
    return fmt::format("ends: {} \"{}\" and {} \"{}\"", FinishReasonName(a.finish_reason), a.error,
                       FinishReasonName(b.finish_reason), b.error);
  }
  if (a.num_output_tokens != b.num_output_tokens || a.seed != b.seed ||
      std::bit_cast<uint64_t>(a.cumulative_logprob) !=
          std::bit_cast<uint64_t>(b.cumulative_logprob)) {
    return "usage, seed or cumulative log-probability";
  }
  const std::string output = Difference(a.logprobs, b.logprobs);
  return output.empty() ? Difference(a.prompt_logprobs, b.prompt_logprobs) : output;
}

std::vector<std::vector<Answer>> RunArrivals(Engine* engine, const std::vector<Arrival>& arrivals) {
  std::vector<std::vector<Answer>> answers;
  for (const Arrival& arrival : arrivals) answers.emplace_back(arrival.request.sampling.n);
  std::map<RequestId, size_t> index_of;
  std::vector<RequestId> ids(arrivals.size(), -1);
  size_t num_added = 0;
  for (int step = 0; num_added < arrivals.size() || engine->HasWork(); ++step) {
    VX_CHECK(step < 1000000, "the engine makes no progress");
    for (size_t i = 0; i < arrivals.size(); ++i) {
      if (arrivals[i].step == step) {
        ids[i] = engine->Add(arrivals[i].request).value();
        index_of[ids[i]] = i;
        ++num_added;
      }
      if (arrivals[i].abort_step == step && ids[i] >= 0) engine->Abort(ids[i]);
    }
    for (const Output& output : engine->Step()) {
      answers[index_of.at(output.request_id)].at(output.sample_index).Append(output);
    }
    const Status status = engine->CheckInvariants();
    VX_CHECK(status.ok(), status.ok() ? "" : status.error().message);
  }
  VX_CHECK(engine->Stats().kv_blocks_used == 0, "blocks are in use after the last answer");
  return answers;
}

std::vector<std::vector<Answer>> RunAll(Engine* engine, const std::vector<Request>& requests) {
  std::vector<Arrival> arrivals;
  for (const Request& request : requests) arrivals.push_back({request});
  return RunArrivals(engine, arrivals);
}

Answer RunAlone(Engine* engine, const Request& request) {
  return RunAll(engine, {request}).at(0).at(0);
}

}  // namespace vexact
