#include "common/receipt.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "checkpoint/json_fields.h"
#include "common/request_json.h"

namespace vexact {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr IntegerRange kInt32{0, std::numeric_limits<int32_t>::max()};
constexpr std::array<std::string_view, 11> kFields{
    "engine_version", "profile", "weights_id",      "tokenizer_id", "eos_token_ids", "index",
    "logprobs_mode",  "request", "prompt_logprobs", "outputs",      "mask"};

std::string DumpJson(const ordered_json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace);
}

std::string_view LogprobsModeName(LogprobsMode mode) {
  return mode == LogprobsMode::kRaw ? "raw_logprobs" : "processed_logprobs";
}

template <typename T>
ordered_json NullOr(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json(nullptr);
}

// A line that ParseRequest reads back to the same request.
ordered_json RequestJson(const Request& request) {
  const SamplingParams& params = request.sampling;
  ordered_json biases = ordered_json::object();
  for (const auto& [id, bias] : params.logit_bias) biases[std::to_string(id)] = bias;
  ordered_json json = {
      {"prompt_token_ids", *request.prompt_token_ids},
      {"max_tokens", params.max_tokens},
      {"min_tokens", params.min_tokens},
      {"temperature", params.temperature},
      {"top_p", params.top_p},
      {"top_k", params.top_k},
      {"min_p", params.min_p},
      {"seed", *params.seed},
      {"n", params.n},
      {"stop", params.stop},
      {"stop_token_ids", params.stop_token_ids},
      {"include_stop_str_in_output", params.include_stop_str_in_output},
      {"ignore_eos", params.ignore_eos},
      {"skip_special_tokens", params.skip_special_tokens},
      {"detokenize", params.detokenize},
      {"logprobs", NullOr(params.logprobs)},
      {"prompt_logprobs", NullOr(params.prompt_logprobs)},
      {"presence_penalty", params.presence_penalty},
      {"frequency_penalty", params.frequency_penalty},
      {"repetition_penalty", params.repetition_penalty},
      {"logit_bias", std::move(biases)},
      {"allowed_token_ids", NullOr(params.allowed_token_ids)},
      {"bad_words", params.bad_words},
  };
  if (request.prefix_len) json["prefix_len"] = *request.prefix_len;
  if (request.document_ids) json["document_ids"] = *request.document_ids;
  if (!request.cache_salt.empty()) json["cache_salt"] = request.cache_salt;
  return json;
}

void AppendTokens(const std::vector<TokenLogprob>& tokens, std::string& text) {
  text += '[';
  for (size_t i = 0; i < tokens.size(); ++i) {
    const TokenLogprob& token = tokens[i];
    text +=
        fmt::format("{}{{\"token_id\":{},\"logprob\":\"{:08x}\",\"rank\":{},\"top\":[",
                    i == 0 ? "" : ",", token.token_id, CanonicalWord(token.logprob), token.rank);
    for (size_t k = 0; k < token.top.size(); ++k) {
      text += fmt::format("{}{{\"token_id\":{},\"logprob\":\"{:08x}\"}}", k == 0 ? "" : ",",
                          token.top[k].token_id, CanonicalWord(token.top[k].logprob));
    }
    text += "]}";
  }
  text += ']';
}

ordered_json StopReasonJson(const StopReason& reason) {
  if (const auto* id = std::get_if<int32_t>(&reason)) return *id;
  if (const auto* stop = std::get_if<std::string>(&reason)) return *stop;
  return nullptr;
}

void AppendOutputs(const std::vector<SampleResult>& samples, std::string& text) {
  text += '[';
  for (size_t i = 0; i < samples.size(); ++i) {
    const SampleResult& sample = samples[i];
    text += i == 0 ? "{\"tokens\":" : ",{\"tokens\":";
    AppendTokens(sample.logprobs, text);
    text += fmt::format(",\"finish_reason\":\"{}\",\"stop_reason\":{}",
                        FinishReasonName(sample.finish_reason),
                        DumpJson(StopReasonJson(sample.stop_reason)));
    if (sample.finish_reason == FinishReason::kError) {
      text += ",\"error\":" + DumpJson(sample.error);
    }
    text += '}';
  }
  text += ']';
}

Result<std::string> ReadText(const JsonFields& fields, std::string_view key) {
  VX_ASSIGN_OR_RETURN(std::optional<std::string> text, fields.OptionalString(key));
  if (!text) return fields.Expected(key, "a string");
  return std::move(*text);
}

Result<const json*> ReadList(const JsonFields& fields, std::string_view key) {
  const json* list = fields.Find(key);
  if (list == nullptr || !list->is_array()) return fields.Expected(key, "a list");
  return list;
}

// 8 hexadecimal digits.
Result<float> ReadWord(const JsonFields& fields, std::string_view key) {
  VX_ASSIGN_OR_RETURN(const std::string text, ReadText(fields, key));
  uint32_t word = 0;
  const char* const text_end = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), text_end, word, 16);
  if (text.size() != 8 || error != std::errc() || end != text_end) {
    return fields.Expected(key, "a word in 8 hexadecimal digits");
  }
  return std::bit_cast<float>(word);
}

Result<int32_t> ReadCount(const JsonFields& fields, std::string_view key) {
  VX_ASSIGN_OR_RETURN(const int64_t value, fields.Integer(key, kInt32));
  return static_cast<int32_t>(value);
}

// Calls read(fields of the item) for every object of a list.
template <typename F>
Status ReadObjects(const JsonFields& parent, std::string_view key, const std::string& where,
                   F read) {
  VX_ASSIGN_OR_RETURN(const json* list, ReadList(parent, key));
  for (size_t i = 0; i < list->size(); ++i) {
    const json& item = (*list)[i];
    if (!item.is_object()) return parent.Expected(key, "a list of objects");
    VX_RETURN_IF_ERROR(read(JsonFields(item, where, fmt::format("{}[{}].", key, i))));
  }
  return {};
}

Result<std::vector<TokenLogprob>> ReadTokens(const JsonFields& parent, std::string_view key,
                                             const std::string& where) {
  std::vector<TokenLogprob> tokens;
  const auto read_token = [&](const JsonFields& fields) -> Status {
    TokenLogprob& token = tokens.emplace_back();
    VX_ASSIGN_OR_RETURN(token.token_id, ReadCount(fields, "token_id"));
    VX_ASSIGN_OR_RETURN(token.logprob, ReadWord(fields, "logprob"));
    VX_ASSIGN_OR_RETURN(token.rank, ReadCount(fields, "rank"));
    return ReadObjects(fields, "top", where, [&](const JsonFields& entry) -> Status {
      TopLogprob& top = token.top.emplace_back();
      VX_ASSIGN_OR_RETURN(top.token_id, ReadCount(entry, "token_id"));
      VX_ASSIGN_OR_RETURN(top.logprob, ReadWord(entry, "logprob"));
      return {};
    });
  };
  VX_RETURN_IF_ERROR(ReadObjects(parent, key, where, read_token));
  return tokens;
}

Result<FinishReason> ReadFinishReason(const JsonFields& fields) {
  VX_ASSIGN_OR_RETURN(const std::string name, ReadText(fields, "finish_reason"));
  for (const FinishReason reason :
       {FinishReason::kStop, FinishReason::kLength, FinishReason::kAbort, FinishReason::kTimeout,
        FinishReason::kError}) {
    if (name == FinishReasonName(reason)) return reason;
  }
  return fields.Expected("finish_reason", "stop, length, abort, timeout or error");
}

Status ReadOutput(const JsonFields& fields, const std::string& where, SampleResult& sample) {
  VX_ASSIGN_OR_RETURN(sample.logprobs, ReadTokens(fields, "tokens", where));
  for (const TokenLogprob& token : sample.logprobs) sample.token_ids.push_back(token.token_id);
  VX_ASSIGN_OR_RETURN(sample.finish_reason, ReadFinishReason(fields));
  if (const json* reason = fields.Find("stop_reason"); reason != nullptr) {
    if (reason->is_string()) {
      sample.stop_reason = reason->get<std::string>();
    } else {
      VX_ASSIGN_OR_RETURN(sample.stop_reason, ReadCount(fields, "stop_reason"));
    }
  }
  VX_ASSIGN_OR_RETURN(const std::optional<std::string> error, fields.OptionalString("error"));
  sample.error = error.value_or("");
  return {};
}

Status ReadModel(const JsonFields& fields, ModelIdentity& model) {
  VX_ASSIGN_OR_RETURN(model.engine_version, ReadText(fields, "engine_version"));
  VX_ASSIGN_OR_RETURN(model.profile, ReadText(fields, "profile"));
  VX_ASSIGN_OR_RETURN(model.weights_id, ReadText(fields, "weights_id"));
  VX_ASSIGN_OR_RETURN(const auto tokenizer_id, fields.OptionalString("tokenizer_id"));
  model.tokenizer_id = tokenizer_id.value_or("");
  VX_ASSIGN_OR_RETURN(const auto mask, fields.OptionalString("mask"));
  model.mask = mask.value_or(model.mask);
  VX_ASSIGN_OR_RETURN(const json* ids, ReadList(fields, "eos_token_ids"));
  for (const json& id : *ids) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > static_cast<uint64_t>(kInt32.max)) {
      return fields.Expected("eos_token_ids", "a list of token ids");
    }
    model.eos_token_ids.push_back(id.get<int32_t>());
  }
  return {};
}

Status ReadRequest(const JsonFields& fields, const std::string& where, Request& request) {
  const json* object = fields.Find("request");
  if (object == nullptr || !object->is_object()) return fields.Expected("request", "an object");
  VX_ASSIGN_OR_RETURN(ParsedRequest parsed,
                      ReadRequest(*object, RequestKind::kGenerate, {}, where + ": \"request\""));
  request = std::move(parsed.request);
  if (!request.prompt_token_ids || !request.sampling.seed) {
    return fields.Expected("request", "an object with \"prompt_token_ids\" and \"seed\"");
  }
  VX_ASSIGN_OR_RETURN(const std::string mode, ReadText(fields, "logprobs_mode"));
  const Result<LogprobsMode> parsed_mode = ParseLogprobsMode(mode);
  if (!parsed_mode.ok()) return InvalidArgument("{}: {}", where, parsed_mode.error().message);
  request.sampling.logprobs_mode = *parsed_mode;
  return {};
}

}  // namespace

Receipt MakeReceipt(const ModelIdentity& model, const RequestResult& result,
                    int32_t max_model_len) {
  VX_CHECK(result.request != nullptr && result.prompt_token_ids != nullptr);
  Receipt receipt{.model = model, .request = *result.request, .answer = result};
  receipt.request.prompt_token_ids = *result.prompt_token_ids;
  SamplingParams& params = receipt.request.sampling;
  params.seed = result.samples.at(0).seed;
  const auto room = max_model_len - static_cast<int32_t>(result.prompt_token_ids->size());
  params.max_tokens = std::min(params.max_tokens, room);
  params.min_tokens = std::min(params.min_tokens, params.max_tokens);
  return receipt;
}

std::string ReceiptJson(const Receipt& receipt) {
  const ModelIdentity& model = receipt.model;
  ordered_json head = {
      {"engine_version", model.engine_version},
      {"profile", model.profile},
      {"weights_id", model.weights_id},
      {"tokenizer_id",
       model.tokenizer_id.empty() ? ordered_json(nullptr) : ordered_json(model.tokenizer_id)},
      {"eos_token_ids", model.eos_token_ids},
      {"index", receipt.answer.index},
      {"logprobs_mode", LogprobsModeName(receipt.request.sampling.logprobs_mode)},
      {"request", RequestJson(receipt.request)}};
  if (model.mask != ModelIdentity().mask) head["mask"] = model.mask;
  std::string text = DumpJson(head);
  text.back() = ',';  // the object goes on
  text += "\"prompt_logprobs\":";
  if (receipt.answer.show_prompt_logprobs) {
    AppendTokens(receipt.answer.prompt_logprobs, text);
  } else {
    text += "null";
  }
  text += ",\"outputs\":";
  AppendOutputs(receipt.answer.samples, text);
  return text + "}";
}

Result<Receipt> ParseReceipt(std::string_view line, const std::string& where) {
  VX_ASSIGN_OR_RETURN(const json object, ParseJsonObject(line, where));
  for (const auto& item : object.items()) {
    if (std::ranges::find(kFields, item.key()) == kFields.end()) {
      return InvalidArgument("{}: expected a field of a receipt, found {}", where,
                             ShortDump(json(item.key())));
    }
  }
  const JsonFields fields(object, where, "");
  Receipt receipt;
  RequestResult& answer = receipt.answer;
  VX_RETURN_IF_ERROR(ReadModel(fields, receipt.model));
  VX_ASSIGN_OR_RETURN(answer.index,
                      fields.Integer("index", {0, std::numeric_limits<int64_t>::max()}));
  VX_RETURN_IF_ERROR(ReadRequest(fields, where, receipt.request));
  answer.show_prompt_logprobs = fields.Find("prompt_logprobs") != nullptr;
  if (answer.show_prompt_logprobs) {
    VX_ASSIGN_OR_RETURN(answer.prompt_logprobs, ReadTokens(fields, "prompt_logprobs", where));
  }
  const auto read_output = [&](const JsonFields& output) {
    return ReadOutput(output, where, answer.samples.emplace_back());
  };
  VX_RETURN_IF_ERROR(ReadObjects(fields, "outputs", where, read_output));
  const int32_t n = receipt.request.sampling.n;
  if (n < 1 || static_cast<int64_t>(answer.samples.size()) != n) {
    return fields.Expected("outputs", fmt::format("n of the request ({}), at least 1", n));
  }
  return receipt;
}

}  // namespace vexact
