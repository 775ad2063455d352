// /generate: answers in SGLang's words. A stream's events hold the whole answer so far, as there.

#include <memory>
#include <optional>
#include <utility>

#include "common/float_text.h"
#include "server/token_json.h"
#include "server/writers.h"

namespace vexact {
namespace {

using Results = AnswerWriter::Results;

void AppendFinishReason(const SampleResult& sample, std::string& json) {
  switch (sample.finish_reason) {
    case FinishReason::kNone:
      json += "null";
      return;
    case FinishReason::kLength:
      json += fmt::format("{{\"type\":\"length\",\"length\":{}}}", sample.token_ids.size());
      return;
    default:
      break;
  }
  json += fmt::format("{{\"type\":\"{}\"", FinishReasonName(sample.finish_reason));
  if (const auto* id = std::get_if<int32_t>(&sample.stop_reason)) {
    json += fmt::format(",\"matched\":{}", *id);
  } else if (const auto* text = std::get_if<std::string>(&sample.stop_reason)) {
    json += ",\"matched\":";
    AppendJsonString(*text, json);
  } else if (sample.finish_reason == FinishReason::kStop && !sample.token_ids.empty()) {
    json += fmt::format(",\"matched\":{}", sample.token_ids.back());  // the end of a sequence
  }
  json += '}';
}

// Items of `tokens` from `begin` on, each written by append(token), behind what the list has.
template <typename F>
void AppendItems(const std::vector<TokenLogprob>& tokens, size_t begin, std::string& json,
                 F append) {
  for (size_t i = begin; i < tokens.size(); ++i) {
    if (json.back() != '[') json += ',';
    append(tokens[i]);
  }
}

// Of a call that hides its output.
SampleResult WithoutOutput(const SampleResult& drawn) {
  SampleResult shown = drawn;
  shown.text.clear();
  shown.token_ids.clear();
  shown.logprobs.clear();
  return shown;
}

class Writer {
 public:
  Writer(const AnswerOptions& options, WriterContext context)
      : options_(options), context_(std::move(context)) {}

  std::string Whole(const Results& results) const {
    const bool is_list = options_.is_batch || results[0].samples.size() > 1;
    std::string json = is_list ? "[" : "";
    for (size_t request = 0; request < results.size(); ++request) {
      for (size_t sample = 0; sample < results[request].samples.size(); ++sample) {
        if (json.size() > 1) json += ',';
        json += Sample(results, request, sample) + "}";
      }
    }
    return is_list ? json + "]" : json;
  }

  std::string Piece(const Results& results, size_t request, const Output& output) const {
    if (output.token_ids.empty() && !output.finished()) return "";
    std::string json = Sample(results, request, static_cast<size_t>(output.sample_index));
    return SseEvent(fmt::format(
        "{},\"index\":{}}}", json,
        request * results[request].samples.size() + static_cast<size_t>(output.sample_index)));
  }

 private:
  // Without the closing brace.
  std::string Sample(const Results& results, size_t request, size_t index) const {
    const RequestResult& result = results[request];
    const SampleResult& drawn = result.samples[index];
    const auto hidden = options_.hides_output ? std::optional(WithoutOutput(drawn)) : std::nullopt;
    const SampleResult& sample = hidden ? *hidden : drawn;
    std::string json = "{\"text\":";
    AppendJsonString(sample.text, json);
    json += ",\"output_ids\":";
    AppendJsonIds(sample.token_ids, json);
    json += ",\"meta_info\":{\"id\":";
    AppendJsonString(
        fmt::format("{}-{}", context_.head.id, request * result.samples.size() + index), json);
    json += ",\"finish_reason\":";
    AppendFinishReason(sample, json);
    json += fmt::format(
        ",\"prompt_tokens\":{},\"completion_tokens\":{},\"cached_tokens\":{},\"seed\":{}",
        result.prompt_token_ids->size(), sample.token_ids.size(), sample.num_cached_tokens,
        *sample.seed);
    if (sample.timings.total_s >= 0.0) {
      json += ",\"e2e_latency\":";
      AppendJsonDouble(sample.timings.total_s, json);
    }
    if (result.show_logprobs) AppendReports(result, sample, json);
    return json + "}";
  }

  void AppendItem(std::optional<float> logprob, int32_t id, std::string& json) const {
    AppendSglangLogprob(options_.text_in_logprobs ? context_.tokenizer : nullptr, logprob, id,
                        json);
  }

  void AppendTop(const TokenLogprob& token, std::string& json) const {
    json += '[';
    for (const TopLogprob& top : token.top) {
      if (json.back() != '[') json += ',';
      AppendItem(top.logprob, top.token_id, json);
    }
    json += ']';
  }

  // "NAME_token_logprobs" and "NAME_top_logprobs" from tokens[begin] on; `first_id`: a token before
  // them of which nothing is known.
  void AppendLists(std::string_view name, const std::vector<TokenLogprob>& tokens, size_t begin,
                   std::optional<int32_t> first_id, std::string& json) const {
    json += fmt::format(",\"{}_token_logprobs\":[", name);
    if (first_id) AppendItem(std::nullopt, *first_id, json);
    AppendItems(tokens, begin, json, [this, &json](const TokenLogprob& token) {
      AppendItem(token.logprob, token.token_id, json);
    });
    json += fmt::format("],\"{}_top_logprobs\":[", name);
    if (first_id) json += "null";
    AppendItems(tokens, begin, json,
                [this, &json](const TokenLogprob& token) { AppendTop(token, json); });
    json += ']';
  }

  void AppendReports(const RequestResult& result, const SampleResult& sample,
                     std::string& json) const {
    if (!result.show_prompt_logprobs) {
      // Clients read the list in any case. As in SGLang it has the last token, without a value.
      AppendLists("input", {}, 0, result.prompt_token_ids->back(), json);
    } else {
      const auto start = static_cast<size_t>(options_.logprob_start);
      // prompt_logprobs[i] is of prompt token i + 1.
      std::optional<int32_t> first;
      if (start == 0) first = result.prompt_token_ids->front();
      AppendLists("input", result.prompt_logprobs, start == 0 ? 0 : start - 1, first, json);
    }
    AppendLists("output", sample.logprobs, 0, std::nullopt, json);
  }

  const AnswerOptions options_;
  const WriterContext context_;
};

}  // namespace

AnswerWriter SglangWriter(const AnswerOptions& options, WriterContext context) {
  const auto writer = std::make_shared<Writer>(options, std::move(context));
  return {
      .streams = options.stream,
      .whole = [writer](const Results& results) { return writer->Whole(results); },
      .piece = [writer](const Results& results, size_t request,
                        const Output& output) { return writer->Piece(results, request, output); },
      .last = [](const Results& /*results*/) { return SseEvent("[DONE]"); }};
}

}  // namespace vexact
