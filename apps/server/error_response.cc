#include "server/error_response.h"

#include "common/request_result.h"

namespace vexact {
namespace {

constexpr std::string_view kNameCharacters = "abcdefghijklmnopqrstuvwxyz_";

std::string FieldOf(std::string_view message) {
  const std::string where = fmt::format("{}: ", kBodyName);
  if (message.starts_with(where)) message.remove_prefix(where.size());
  const bool quoted = message.starts_with('"');
  if (quoted) message.remove_prefix(1);
  const size_t length = message.find_first_of(quoted ? "\"" : ":[");  // `messages[3]: ...` too
  if (length == std::string_view::npos) return "";
  const std::string_view name = message.substr(0, length);
  const size_t first_odd = name.find_first_not_of(kNameCharacters);
  return first_odd == std::string_view::npos ? std::string(name) : "";
}

std::string_view TypeOf(int status) {
  if (status == 401) return "authentication_error";
  if (status == 404) return "not_found_error";
  if (status == 429) return "rate_limit_error";
  return status >= 500 ? "server_error" : "invalid_request_error";
}

void AppendTextOrNull(const std::string& text, std::string& json) {
  if (text.empty()) {
    json += "null";
  } else {
    AppendJsonString(text, json);
  }
}

}  // namespace

ApiError RequestError(const Error& error) {
  ApiError api;
  api.status = error.code == ErrorCode::kInternal || error.code == ErrorCode::kIo ? 500 : 400;
  api.message = error.message;
  api.param = FieldOf(error.message);
  if (error.code == ErrorCode::kUnsupported) api.code = "unsupported_parameter";
  if (error.code == ErrorCode::kNotFound) {
    api.status = 404;
    api.code = "model_not_found";
  }
  return api;
}

Error InBodysWords(Error error, const FieldNames& names) {
  const std::string field = FieldOf(error.message);
  for (const auto& [ours, body] : names) {
    if (ours != field) continue;
    error.message.replace(error.message.find(field), field.size(), body);
    return error;
  }
  return error;
}

std::string ErrorJson(const ApiError& error) {
  std::string json = "{\"error\":{\"message\":";
  AppendJsonString(error.message, json);
  json += fmt::format(",\"type\":\"{}\",\"param\":", TypeOf(error.status));
  AppendTextOrNull(error.param, json);
  json += ",\"code\":";
  AppendTextOrNull(error.code, json);
  return json + "}}";
}

HttpResponse ErrorResponse(const ApiError& error) {
  HttpResponse response;
  response.status = error.status;
  response.body = ErrorJson(error);
  if (error.status == 429 || error.status == 503) response.headers.emplace_back("Retry-After", "1");
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  return response;
}

}  // namespace vexact
