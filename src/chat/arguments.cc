#include "chat/arguments.h"

namespace vexact {

Result<std::vector<Value>> Bind(const Arguments& arguments,
                                std::initializer_list<Parameter> parameters) {
  if (arguments.positional.size() > parameters.size()) {
    return InvalidArgument("expected at most {} arguments, found {}", parameters.size(),
                           arguments.positional.size());
  }
  std::vector<Value> values(arguments.positional);
  for (auto parameter = parameters.begin() + values.size(); parameter != parameters.end();
       ++parameter) {
    std::optional<Value> value = parameter->default_value;
    for (const auto& [name, named] : arguments.named) {
      if (name == parameter->name) value = named;
    }
    if (!value) return InvalidArgument("expected the argument {}, found none", parameter->name);
    values.push_back(*std::move(value));
  }
  for (const auto& [name, value] : arguments.named) {
    const auto* found = parameters.begin() + arguments.positional.size();
    while (found < parameters.end() && found->name != name) ++found;
    if (found >= parameters.end()) return InvalidArgument("{}: unexpected argument", name);
  }
  return values;
}

Result<std::string_view> TextArgument(const Value& value, std::string_view name) {
  if (const std::string* text = value.text()) return std::string_view(*text);
  if (value.is_undefined()) return UndefinedError(value);
  return InvalidArgument("{}: expected a str, found {}", name, value.TypeName());
}

Result<int64_t> IntegerArgument(const Value& value, std::string_view name) {
  if (const std::optional<int64_t> integer = value.AsInteger()) return *integer;
  if (value.is_undefined()) return UndefinedError(value);
  return InvalidArgument("{}: expected an int, found {}", name, value.TypeName());
}

}  // namespace vexact
