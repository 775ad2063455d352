#include "server/token_json.h"

#include <fmt/format.h>

#include <cmath>
#include <functional>

#include "common/float_text.h"
#include "common/request_result.h"
#include "tokenizer/utf8.h"

namespace vexact {
namespace {

// The token first, then those of its top list that are others.
void ForEachReported(const TokenLogprob& token,
                     const std::function<void(int32_t id, float logprob, int32_t rank)>& visit) {
  visit(token.token_id, token.logprob, token.rank);
  for (size_t i = 0; i < token.top.size(); ++i) {
    const TopLogprob& top = token.top[i];
    if (top.token_id != token.token_id)
      visit(top.token_id, top.logprob, static_cast<int32_t>(i) + 1);
  }
}

void AppendChatToken(const Tokenizer* tokenizer, int32_t id, float logprob, std::string& json) {
  json += "{\"token\":";
  AppendJsonString(TokenName(tokenizer, id), json);
  json += ",\"logprob\":";
  AppendLogprob(logprob, json);
  json += ",\"bytes\":[";
  bool first = true;
  for (const char byte : BytesOfToken(tokenizer, id)) {
    if (!first) json += ',';
    first = false;
    json += fmt::format("{}", static_cast<uint8_t>(byte));
  }
  json += ']';
}

}  // namespace

std::string_view BytesOfToken(const Tokenizer* tokenizer, int32_t id) {
  const bool is_token = tokenizer != nullptr && tokenizer->Contains(id);
  return is_token ? tokenizer->TokenBytes(id) : std::string_view();
}

std::string TokenName(const Tokenizer* tokenizer, int32_t id) {
  const std::string_view bytes = BytesOfToken(tokenizer, id);
  if (bytes.empty()) return fmt::format("token_id:{}", id);
  if (IsValidUtf8(bytes)) return std::string(bytes);
  std::string name = "bytes:";
  for (const char byte : bytes) name += fmt::format("\\x{:02x}", static_cast<uint8_t>(byte));
  return name;
}

void AppendLogprob(float logprob, std::string& json) {
  if (std::isfinite(logprob)) {
    AppendJsonFloat(logprob, json);
  } else {
    json += "-9999.0";
  }
}

void AppendTopObject(const Tokenizer* tokenizer, const TokenLogprob& token, std::string& json) {
  json += '{';
  bool first = true;
  ForEachReported(token, [&](int32_t id, float logprob, int32_t /*rank*/) {
    if (!first) json += ',';
    first = false;
    AppendJsonString(TokenName(tokenizer, id), json);
    json += ':';
    AppendLogprob(logprob, json);
  });
  json += '}';
}

void AppendPromptLogprob(const Tokenizer* tokenizer, const TokenLogprob& token, std::string& json) {
  json += '{';
  bool first = true;
  ForEachReported(token, [&](int32_t id, float logprob, int32_t rank) {
    json += fmt::format("{}\"{}\":{{\"logprob\":", first ? "" : ",", id);
    first = false;
    AppendLogprob(logprob, json);
    json += fmt::format(",\"rank\":{},\"decoded_token\":", rank);
    AppendJsonString(TokenName(tokenizer, id), json);
    json += '}';
  });
  json += '}';
}

void AppendChatLogprob(const Tokenizer* tokenizer, const TokenLogprob& token, std::string& json) {
  AppendChatToken(tokenizer, token.token_id, token.logprob, json);
  json += ",\"top_logprobs\":[";
  for (size_t i = 0; i < token.top.size(); ++i) {
    if (i > 0) json += ',';
    AppendChatToken(tokenizer, token.top[i].token_id, token.top[i].logprob, json);
    json += '}';
  }
  json += "]}";
}

void AppendSglangLogprob(const Tokenizer* texts, std::optional<float> logprob, int32_t id,
                         std::string& json) {
  json += '[';
  if (logprob) {
    AppendLogprob(*logprob, json);
  } else {
    json += "null";
  }
  json += fmt::format(",{},", id);
  if (texts == nullptr) {
    json += "null";
  } else {
    AppendJsonString(std::string(BytesOfToken(texts, id)), json);
  }
  json += ']';
}

}  // namespace vexact
