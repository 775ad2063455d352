// Errors as OpenAI's API says them: {"error": {"message", "type", "param", "code"}}.
#ifndef VEXACT_SERVER_ERROR_RESPONSE_H_
#define VEXACT_SERVER_ERROR_RESPONSE_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "server/http.h"

namespace vexact {

struct ApiError {
  int status = 400;
  std::string message = {};
  std::string param = {};  // the field that is wrong; "": none, said as null
  std::string code = {};   // "": none, said as null
};

// What begins the messages of errors in a request's body (ParseRequest's `where`).
inline constexpr const char* kBodyName = "request";

// An error of reading a body or of EngineFront::Submit. `param` is the field that the message
// begins with, as both promise: `request: "top_p": expected ...` or `top_p: expected ...`.
// kNotFound is another model.
ApiError RequestError(const Error& error);

// Names of fields: ours, a body's.
using FieldNames = std::vector<std::pair<std::string, std::string>>;

// The error with the body's name of the field that it begins with.
Error InBodysWords(Error error, const FieldNames& names);

std::string ErrorJson(const ApiError& error);
HttpResponse ErrorResponse(const ApiError& error);

}  // namespace vexact

#endif  // VEXACT_SERVER_ERROR_RESPONSE_H_
