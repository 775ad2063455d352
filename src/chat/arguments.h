// Arguments of a call, and how they meet the parameters of what is called.
#ifndef VEXACT_CHAT_ARGUMENTS_H_
#define VEXACT_CHAT_ARGUMENTS_H_

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "chat/value.h"

namespace vexact {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string_view, Value>> named;
};

struct Parameter {
  std::string_view name;
  std::optional<Value> default_value;  // none: the argument must be given
};

// One value for each parameter. Errors: one missing, one too many, an unknown name.
Result<std::vector<Value>> Bind(const Arguments& arguments,
                                std::initializer_list<Parameter> parameters);

// The argument as what it has to be; errors name the parameter.
Result<std::string_view> TextArgument(const Value& value, std::string_view name);
Result<int64_t> IntegerArgument(const Value& value, std::string_view name);

}  // namespace vexact

#endif  // VEXACT_CHAT_ARGUMENTS_H_
