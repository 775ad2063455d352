// Command-line flags on top of CLI11: numbers read exactly, values refused with a reason.
//
// CLI11 itself reads numbers as long double or in any base: "0.1" would be rounded twice and "010"
// would be 8. These helpers read the whole text with std::from_chars, so that a flag is the same
// double as the same text in JSON.
#ifndef VEXACT_COMMON_FLAGS_H_
#define VEXACT_COMMON_FLAGS_H_

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace vexact {

// Exit statuses of every program.
inline constexpr int kExitSuccess = 0;
inline constexpr int kExitFailure = 1;  // at run time
inline constexpr int kExitUsage = 2;    // wrong flags

// The number that is the whole of `text`, decimal, finite.
template <typename T>
Result<T> ParseNumber(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  bool good = error == std::errc() && end == text.data() + text.size();
  if constexpr (std::is_floating_point_v<T>) good = good && std::isfinite(value);
  if (!good) {
    return InvalidArgument("expected {}, found \"{}\"",
                           std::is_floating_point_v<T> ? "a finite decimal number" : "an integer",
                           text);
  }
  return value;
}

// A flag with one value, handed to `set` as text; an error of `set` is wrong usage.
inline CLI::Option* AddTextFlag(CLI::App& app, const std::string& names,
                                std::function<Status(const std::string&)> set,
                                const std::string& help) {
  const std::string name = names.substr(0, names.find(','));
  return app
      .add_option_function<std::string>(
          names,
          [name, set = std::move(set)](const std::string& text) {
            if (const Status status = set(text); !status.ok()) {
              throw CLI::ValidationError(name, status.error().message);
            }
          },
          help)
      ->type_name("TEXT");
}

// A flag with one number, handed to `set`.
template <typename T>
CLI::Option* AddNumberFlag(CLI::App& app, const std::string& names, std::function<void(T)> set,
                           const std::string& help) {
  return AddTextFlag(
             app, names,
             [set = std::move(set)](const std::string& text) -> Status {
               VX_ASSIGN_OR_RETURN(const T value, ParseNumber<T>(text));
               set(value);
               return {};
             },
             help)
      ->type_name(std::is_floating_point_v<T> ? "NUMBER" : "INT");
}

// The same, stored in `target`; the help text says the default.
template <typename T>
CLI::Option* AddNumberFlag(CLI::App& app, const std::string& names, T& target,
                           const std::string& help) {
  return AddNumberFlag<T>(
             app, names, [&target](T value) { target = value; }, help)
      ->default_str(fmt::format("{}", target));
}

// A flag with a whole number of at least `least`.
template <typename T>
void AddCount(CLI::App& app, const std::string& name, T& target, T least, const std::string& help) {
  const auto set = [&target, least](const std::string& text) -> Status {
    VX_ASSIGN_OR_RETURN(const T value, ParseNumber<T>(text));
    if (value < least) return InvalidArgument("expected at least {}, found {}", least, value);
    target = value;
    return {};
  };
  AddTextFlag(app, name, set, help)->type_name("INT");
}

}  // namespace vexact

#endif  // VEXACT_COMMON_FLAGS_H_
