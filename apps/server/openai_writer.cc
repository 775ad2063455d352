// /v1/completions and /v1/chat/completions: answers. A streamed piece and a whole answer are
// written by the same code, over a part of the sample's tokens or over all of them.

#include <memory>
#include <utility>

#include "common/float_text.h"
#include "server/token_json.h"
#include "server/writers.h"

namespace vexact {
namespace {

using Results = AnswerWriter::Results;

// News of one sample, or all of it.
struct Part {
  const std::string& text;
  const std::vector<int32_t>& token_ids;
  const std::vector<TokenLogprob>& logprobs;
  FinishReason finish_reason = FinishReason::kNone;
  const StopReason& stop_reason;
};

Part PartOf(const Output& output) {
  return {output.text, output.token_ids, output.logprobs, output.finish_reason, output.stop_reason};
}

Part PartOf(const SampleResult& sample) {
  return {sample.text, sample.token_ids, sample.logprobs, sample.finish_reason, sample.stop_reason};
}

// How far the answer of one sample was written.
struct ChoiceState {
  bool has_begun = false;
  int64_t num_characters = 0;  // of the tokens so far, for text_offset
};

int64_t CharactersOf(std::string_view bytes) {
  int64_t characters = 0;
  for (const char byte : bytes) characters += (static_cast<uint8_t>(byte) & 0xc0u) != 0x80u ? 1 : 0;
  return characters;
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

// [null, {...}, ...]: the first token of a prompt has none.
void AppendPromptLogprobs(const Tokenizer* tokenizer, const RequestResult& result,
                          std::string& json) {
  json += ",\"prompt_logprobs\":[null";
  for (const TokenLogprob& token : result.prompt_logprobs) {
    json += ',';
    AppendPromptLogprob(tokenizer, token, json);
  }
  json += ']';
}

void AppendReasons(const Part& part, std::string& json) {
  json += ",\"finish_reason\":";
  if (part.finish_reason == FinishReason::kNone) {
    json += "null";
  } else {
    json += fmt::format("\"{}\"", FinishReasonName(part.finish_reason));
  }
  json += ",\"stop_reason\":";
  AppendStopReason(part.stop_reason, json);
}

// The columns of /v1/completions' "logprobs".
class LogprobColumns {
 public:
  LogprobColumns(const Tokenizer* tokenizer, ChoiceState& state)
      : tokenizer_(tokenizer), state_(state) {}

  // The first token of a prompt: nothing is known about it.
  void AddUnknown(int32_t id) {
    AddToken(id);
    values_ += "null";
    tops_ += "null";
  }

  void Add(const TokenLogprob& token) {
    AddToken(token.token_id);
    AppendLogprob(token.logprob, values_);
    AppendTopObject(tokenizer_, token, tops_);
  }

  std::string Json() const {
    return fmt::format(
        "{{\"tokens\":[{}],\"token_logprobs\":[{}],\"top_logprobs\":[{}],\"text_offset\":[{}]}}",
        tokens_, values_, tops_, offsets_);
  }

 private:
  void AddToken(int32_t id) {
    if (!tokens_.empty()) {
      for (std::string* column : {&tokens_, &values_, &tops_, &offsets_}) *column += ',';
    }
    AppendJsonString(TokenName(tokenizer_, id), tokens_);
    offsets_ += fmt::format("{}", state_.num_characters);
    state_.num_characters += CharactersOf(BytesOfToken(tokenizer_, id));
  }

  const Tokenizer* const tokenizer_;
  ChoiceState& state_;
  std::string tokens_, values_, tops_, offsets_;
};

// An answer, or an event of one, up to its first choice.
std::string Head(const AnswerOptions& options, const AnswerHead& head, bool is_chat) {
  const std::string_view object = !is_chat         ? "text_completion"
                                  : options.stream ? "chat.completion.chunk"
                                                   : "chat.completion";
  std::string json = "{\"id\":";
  AppendJsonString(head.id, json);
  json += fmt::format(",\"object\":\"{}\",\"created\":{},\"model\":", object, head.created);
  AppendJsonString(head.model, json);
  json += ",\"system_fingerprint\":";
  AppendJsonString(head.system_fingerprint, json);
  return json + ",\"choices\":[";
}

// Shared by both endpoints: head, choices, usage, receipts.
class OpenAiWriter {
 public:
  OpenAiWriter(const AnswerOptions& options, WriterContext context, bool is_chat)
      : options_(options),
        context_(std::move(context)),
        is_chat_(is_chat),
        head_(Head(options_, context_.head, is_chat)) {}

  std::string Whole(const Results& results) {
    std::string json = head_;
    for (size_t request = 0; request < results.size(); ++request) {
      for (size_t sample = 0; sample < results[request].samples.size(); ++sample) {
        if (json.back() != '[') json += ',';
        AppendChoice(results, request, sample, PartOf(results[request].samples[sample]), json);
      }
    }
    json += "],\"usage\":";
    AppendUsage(results, json);
    AppendReceipts(results, json);
    return json + "}";
  }

  std::string Piece(const Results& results, size_t request, const Output& output) {
    if (output.token_ids.empty() && output.text.empty() && !output.finished()) return "";
    std::string json = head_;
    AppendChoice(results, request, static_cast<size_t>(output.sample_index), PartOf(output), json);
    return SseEvent(json + "]}");
  }

  std::string Last(const Results& results) const {
    std::string events;
    if (options_.include_usage || options_.return_receipt) {
      std::string json = head_ + "]";
      if (options_.include_usage) {
        json += ",\"usage\":";
        AppendUsage(results, json);
      }
      AppendReceipts(results, json);
      events = SseEvent(json + "}");
    }
    return events + SseEvent("[DONE]");
  }

 private:
  void AppendChoice(const Results& results, size_t request, size_t sample, const Part& part,
                    std::string& json) {
    const RequestResult& result = results[request];
    const size_t n = result.samples.size();
    states_.resize(results.size());
    states_[request].resize(n);
    ChoiceState& state = states_[request][sample];
    const bool is_first = !std::exchange(state.has_begun, true);
    json += fmt::format("{{\"index\":{}", request * n + sample);
    if (is_chat_) {
      AppendMessage(result, part, is_first, json);
    } else {
      AppendText(result, part, is_first, state, json);
    }
    AppendReasons(part, json);
    json += fmt::format(",\"seed\":{}", *result.samples[sample].seed);
    if (options_.return_token_ids) {
      json += ",\"token_ids\":";
      AppendJsonIds(options_.hides_output ? std::vector<int32_t>() : part.token_ids, json);
      if (is_first) {
        json += ",\"prompt_token_ids\":";
        AppendJsonIds(*result.prompt_token_ids, json);
      }
    }
    if (is_first && result.show_prompt_logprobs) {
      AppendPromptLogprobs(context_.tokenizer, result, json);
    }
    json += '}';
  }

  void AppendText(const RequestResult& result, const Part& part, bool is_first, ChoiceState& state,
                  std::string& json) const {
    const bool echoes = options_.echo && is_first;
    json += ",\"text\":";
    AppendJsonString((echoes ? PromptText(result) : "") + (options_.hides_output ? "" : part.text),
                     json);
    json += ",\"logprobs\":";
    if (!result.show_logprobs) {
      json += "null";
      return;
    }
    LogprobColumns columns(context_.tokenizer, state);
    if (echoes) {
      columns.AddUnknown(result.prompt_token_ids->front());
      for (const TokenLogprob& token : result.prompt_logprobs) columns.Add(token);
    }
    if (!options_.hides_output) {
      for (const TokenLogprob& token : part.logprobs) columns.Add(token);
    }
    json += columns.Json();
  }

  void AppendMessage(const RequestResult& result, const Part& part, bool is_first,
                     std::string& json) const {
    json += options_.stream ? ",\"delta\":{" : ",\"message\":{";
    if (is_first) json += "\"role\":\"assistant\",";
    json += "\"content\":";
    AppendJsonString(part.text, json);
    json += "},\"logprobs\":";
    if (!result.show_logprobs) {
      json += "null";
      return;
    }
    json += "{\"content\":[";
    for (size_t i = 0; i < part.logprobs.size(); ++i) {
      if (i > 0) json += ',';
      AppendChatLogprob(context_.tokenizer, part.logprobs[i], json);
    }
    json += "]}";
  }

  // As it was given, or its ids' text.
  std::string PromptText(const RequestResult& result) const {
    if (!result.request->prompt_token_ids) return result.request->prompt;
    if (context_.tokenizer == nullptr) return "";
    const Result<std::string> text = context_.tokenizer->Decode(
        *result.prompt_token_ids, result.request->sampling.skip_special_tokens);
    return text.ok() ? *text : "";  // a model may have more ids than its tokenizer has tokens
  }

  void AppendUsage(const Results& results, std::string& json) const {
    size_t prompt = 0;
    size_t output = 0;
    int64_t cached = 0;
    for (const RequestResult& result : results) {
      prompt += result.prompt_token_ids->size();
      cached += result.samples.at(0).num_cached_tokens;
      for (const SampleResult& sample : result.samples) output += sample.token_ids.size();
    }
    if (options_.hides_output) output = 0;
    json += fmt::format(
        "{{\"prompt_tokens\":{},\"completion_tokens\":{},\"total_tokens\":{},"
        "\"prompt_tokens_details\":{{\"cached_tokens\":{}}}}}",
        prompt, output, prompt + output, cached);
  }

  void AppendReceipts(const Results& results, std::string& json) const {
    if (!options_.return_receipt) return;
    json += ",\"receipts\":[";
    for (size_t i = 0; i < results.size(); ++i) {
      if (i > 0) json += ',';
      json += context_.receipt(results[i]);
    }
    json += ']';
  }

  const AnswerOptions options_;
  const WriterContext context_;
  const bool is_chat_;
  const std::string head_;                        // of every event
  std::vector<std::vector<ChoiceState>> states_;  // [request][sample]
};

AnswerWriter WriterOf(const AnswerOptions& options, WriterContext context, bool is_chat) {
  const auto writer = std::make_shared<OpenAiWriter>(options, std::move(context), is_chat);
  return {
      .streams = options.stream,
      .whole = [writer](const Results& results) { return writer->Whole(results); },
      .piece = [writer](const Results& results, size_t request,
                        const Output& output) { return writer->Piece(results, request, output); },
      .last = [writer](const Results& results) { return writer->Last(results); }};
}

}  // namespace

AnswerWriter CompletionWriter(const AnswerOptions& options, WriterContext context) {
  return WriterOf(options, std::move(context), /*is_chat=*/false);
}

AnswerWriter ChatWriter(const AnswerOptions& options, WriterContext context) {
  return WriterOf(options, std::move(context), /*is_chat=*/true);
}

}  // namespace vexact
