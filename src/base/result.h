// Result<T>: a value, or an Error that says what was expected and what was found.
//
// The library reports everything that the outside world can cause through Result: bad files, bad
// requests, memory that is not there. It never throws across a public header.
//
//   Result<Config> ReadConfig(const std::string& path);
//
//   Result<Model> Load(const std::string& path) {
//     VX_ASSIGN_OR_RETURN(const Config config, ReadConfig(path));
//     if (config.layers < 1) {
//       return InvalidArgument("{}: \"num_hidden_layers\": expected at least 1, found {}", path,
//                              config.layers);
//     }
//     VX_RETURN_IF_ERROR(CheckFiles(path));
//     return Model(config);
//   }
#ifndef VEXACT_BASE_RESULT_H_
#define VEXACT_BASE_RESULT_H_

#include <fmt/format.h>

#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace vexact {

enum class ErrorCode {
  kInvalidArgument,    // the request, option or file content is wrong
  kNotFound,           // a file, tensor or field is missing
  kUnsupported,        // valid elsewhere, refused here by name
  kResourceExhausted,  // memory, KV blocks, file size limits
  kIo,                 // the operating system said no
  kInternal,           // a fault of this program that was caught
};

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: implicit

  bool ok() const { return state_.index() == 0; }
  const T& value() const& { return CheckOk(), std::get<0>(state_); }
  T& value() & { return CheckOk(), std::get<0>(state_); }
  T&& value() && { return CheckOk(), std::get<0>(std::move(state_)); }
  const T& operator*() const& { return value(); }
  T& operator*() & { return value(); }
  const T* operator->() const { return &value(); }
  T* operator->() { return &value(); }
  const Error& error() const {
    VX_CHECK(!ok());
    return std::get<1>(state_);
  }

 private:
  void CheckOk() const { VX_CHECK(ok(), ok() ? "" : std::get<1>(state_).message); }
  std::variant<T, Error> state_;
};

// Result<void>: success or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit

  bool ok() const { return !error_.has_value(); }
  const Error& error() const {
    VX_CHECK(!ok());
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

using Status = Result<void>;

template <typename... Args>
Error MakeError(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  return Error{code, fmt::format(format, std::forward<Args>(args)...)};
}

template <typename... Args>
Error InvalidArgument(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(ErrorCode::kInvalidArgument, format, std::forward<Args>(args)...);
}

template <typename... Args>
Error NotFound(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(ErrorCode::kNotFound, format, std::forward<Args>(args)...);
}

template <typename... Args>
Error Unsupported(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(ErrorCode::kUnsupported, format, std::forward<Args>(args)...);
}

}  // namespace vexact

#define VX_CONCAT_INNER(a, b) a##b
#define VX_CONCAT(a, b) VX_CONCAT_INNER(a, b)

#define VX_RETURN_IF_ERROR(expression)                    \
  do {                                                    \
    if (auto vx_status = (expression); !vx_status.ok()) { \
      return vx_status.error();                           \
    }                                                     \
  } while (false)

#define VX_ASSIGN_OR_RETURN(declaration, expression) \
  VX_ASSIGN_OR_RETURN_INNER(VX_CONCAT(vx_result_, __LINE__), declaration, expression)

#define VX_ASSIGN_OR_RETURN_INNER(result, declaration, expression) \
  auto result = (expression);                                      \
  if (!result.ok()) return result.error();                         \
  declaration = std::move(result).value()

#endif  // VEXACT_BASE_RESULT_H_
