#include "common/request_result.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "common/float_text.h"

namespace vexact {
namespace {

// A list of `values`, each written by append(value).
template <typename T, typename F>
void AppendList(const std::vector<T>& values, std::string& json, F append) {
  json += '[';
  bool first = true;
  for (const T& value : values) {
    if (!std::exchange(first, false)) json += ',';
    append(value);
  }
  json += ']';
}

void AppendTokenLogprob(const TokenLogprob& token, std::string& json) {
  json += fmt::format("{{\"token_id\":{},\"logprob\":", token.token_id);
  AppendJsonFloat(token.logprob, json);
  json += fmt::format(",\"rank\":{},\"top\":", token.rank);
  AppendList(token.top, json, [&json](const TopLogprob& top) {
    json += fmt::format("{{\"token_id\":{},\"logprob\":", top.token_id);
    AppendJsonFloat(top.logprob, json);
    json += '}';
  });
  json += '}';
}

void AppendLogprobs(const std::vector<TokenLogprob>& logprobs, std::string& json) {
  AppendList(logprobs, json,
             [&json](const TokenLogprob& token) { AppendTokenLogprob(token, json); });
}

void AppendStopReason(const StopReason& reason, std::string& json) {
  if (const auto* id = std::get_if<int32_t>(&reason)) {
    json += fmt::format("{}", *id);
  } else if (const auto* text = std::get_if<std::string>(&reason)) {
    AppendJsonString(*text, json);
  } else {
    json += "null";
  }
}

// Negative means that it did not come to that.
void AppendSeconds(double seconds, std::string& json) {
  if (seconds < 0) {
    json += "null";
  } else {
    AppendJsonDouble(seconds, json);
  }
}

void AppendSample(size_t index, const SampleResult& sample, bool show_logprobs, std::string& json) {
  json += fmt::format("{{\"index\":{},\"text\":", index);
  AppendJsonString(sample.text, json);
  json += ",\"token_ids\":";
  AppendJsonIds(sample.token_ids, json);
  json += ",\"logprobs\":";
  if (show_logprobs) {
    AppendLogprobs(sample.logprobs, json);
    json += ",\"cumulative_logprob\":";
    AppendJsonDouble(sample.cumulative_logprob, json);
  } else {
    json += "null,\"cumulative_logprob\":null";
  }
  json += fmt::format(",\"finish_reason\":\"{}\",\"stop_reason\":",
                      FinishReasonName(sample.finish_reason));
  AppendStopReason(sample.stop_reason, json);
  json +=
      fmt::format(",\"seed\":{},\"num_cached_tokens\":{},\"timings\":{{\"queued_s\":",
                  sample.seed ? fmt::format("{}", *sample.seed) : "null", sample.num_cached_tokens);
  AppendSeconds(sample.timings.queued_s, json);
  json += ",\"first_token_s\":";
  AppendSeconds(sample.timings.first_token_s, json);
  json += ",\"total_s\":";
  AppendSeconds(sample.timings.total_s, json);
  json += '}';
  if (sample.finish_reason == FinishReason::kError) {
    json += ",\"error\":";
    AppendJsonString(sample.error, json);
  }
  json += '}';
}

}  // namespace

bool RequestResult::finished() const {
  return !samples.empty() && std::all_of(samples.begin(), samples.end(), [](const auto& sample) {
    return sample.finish_reason != FinishReason::kNone;
  });
}

bool RequestResult::failed() const {
  return std::any_of(samples.begin(), samples.end(), [](const auto& sample) {
    return sample.finish_reason == FinishReason::kError;
  });
}

RequestResult RefusedResult(int64_t index, std::string error) {
  RequestResult result;
  result.index = index;
  SampleResult& sample = result.samples.emplace_back();
  sample.finish_reason = FinishReason::kError;
  sample.error = std::move(error);
  return result;
}

void AppendOutput(const Output& output, RequestResult& result) {
  result.samples.resize(std::max<size_t>(result.samples.size(), output.num_samples));
  VX_CHECK(output.sample_index < output.num_samples);
  SampleResult& sample = result.samples[output.sample_index];
  sample.text += output.text;
  sample.token_ids.insert(sample.token_ids.end(), output.token_ids.begin(), output.token_ids.end());
  sample.logprobs.insert(sample.logprobs.end(), output.logprobs.begin(), output.logprobs.end());
  sample.redrawn_token_ids.insert(sample.redrawn_token_ids.end(), output.redrawn_token_ids.begin(),
                                  output.redrawn_token_ids.end());
  result.prompt_logprobs.insert(result.prompt_logprobs.end(), output.prompt_logprobs.begin(),
                                output.prompt_logprobs.end());
  if (output.prompt_token_ids) result.prompt_token_ids = output.prompt_token_ids;
  sample.cumulative_logprob = output.cumulative_logprob;
  sample.finish_reason = output.finish_reason;
  sample.stop_reason = output.stop_reason;
  sample.error = output.error;
  sample.seed = output.seed;
  sample.num_cached_tokens = output.num_cached_tokens;
  sample.timings = output.timings;
}

void AppendJsonString(const std::string& text, std::string& json) {
  json += nlohmann::json(text).dump(-1, ' ', /*ensure_ascii=*/false,
                                    nlohmann::json::error_handler_t::replace);
}

void AppendJsonIds(const std::vector<int32_t>& ids, std::string& json) {
  AppendList(ids, json, [&json](int32_t id) { json += fmt::format("{}", id); });
}

std::string ResultJson(const RequestResult& result) {
  std::string json = fmt::format("{{\"index\":{},\"prompt_token_ids\":", result.index);
  if (result.prompt_token_ids) {
    AppendJsonIds(*result.prompt_token_ids, json);
  } else {
    json += "null";
  }
  json += ",\"prompt_logprobs\":";
  if (result.show_prompt_logprobs && result.prompt_token_ids && !result.failed()) {
    json += "[null";
    for (const TokenLogprob& token : result.prompt_logprobs) {
      json += ',';
      AppendTokenLogprob(token, json);
    }
    json += ']';
  } else {
    json += "null";
  }
  json += ",\"outputs\":[";
  for (size_t i = 0; i < result.samples.size(); ++i) {
    if (i > 0) json += ',';
    AppendSample(i, result.samples[i], result.show_logprobs, json);
  }
  json += "]}";
  return json;
}

std::string DeltaJson(int64_t request_index, const Output& output, bool show_logprobs) {
  std::string json = fmt::format("{{\"index\":{},\"delta\":{{\"index\":{},\"text\":", request_index,
                                 output.sample_index);
  AppendJsonString(output.text, json);
  json += ",\"token_ids\":";
  AppendJsonIds(output.token_ids, json);
  json += ",\"logprobs\":";
  if (show_logprobs) {
    AppendLogprobs(output.logprobs, json);
  } else {
    json += "null";
  }
  json += "}}";
  return json;
}

uint32_t CanonicalWord(float value) {
  if (std::isnan(value)) return 0x7fffffffu;
  return value == 0.0f ? 0u : std::bit_cast<uint32_t>(value);
}

void AnswerDigest::AddLogprobs(const std::vector<TokenLogprob>& logprobs) {
  sha256_.UpdateValue(static_cast<uint64_t>(logprobs.size()));
  for (const TokenLogprob& token : logprobs) sha256_.UpdateValue(CanonicalWord(token.logprob));
  num_logprobs_ += static_cast<int64_t>(logprobs.size());
}

void AnswerDigest::Add(const RequestResult& result) {
  ++num_requests_;
  sha256_.UpdateValue(static_cast<uint64_t>(result.samples.size()));
  for (const SampleResult& sample : result.samples) {
    sha256_.UpdateValue(static_cast<uint64_t>(sample.token_ids.size()));
    for (const int32_t id : sample.token_ids) sha256_.UpdateValue(id);
    num_tokens_ += static_cast<int64_t>(sample.token_ids.size());
    AddLogprobs(sample.logprobs);
  }
  AddLogprobs(result.prompt_logprobs);
}

}  // namespace vexact
