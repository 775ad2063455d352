// Calls of functions, macros, methods, filters and tests.
#include <algorithm>

#include "chat/functions.h"
#include "chat/interpreter.h"

namespace vexact {
namespace {

// What was called begins the message.
template <typename T>
Result<T> Named(std::string_view name, Result<T> result) {
  if (result.ok()) return result;
  return Error{result.error().code, fmt::format("{}: {}", name, result.error().message)};
}

}  // namespace

Result<Arguments> Interpreter::EvaluateArguments(const Expression& expression, Scope& scope) {
  Arguments arguments;
  for (const Argument& argument : expression.arguments) {
    VX_ASSIGN_OR_RETURN(Value value, Evaluate(*argument.value, scope));
    if (argument.name.empty()) {
      arguments.positional.push_back(std::move(value));
    } else {
      arguments.named.emplace_back(argument.name, std::move(value));
    }
  }
  line_ = expression.line;
  return arguments;
}

Result<Value> Interpreter::EvaluateCall(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const Value callee, EvaluateName(expression.name, scope));
  VX_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(expression, scope));
  const auto* callable = std::get_if<Callable>(&callee.variant());
  if (callee.is_undefined()) return UndefinedError(callee);
  if (callable == nullptr) {
    return InvalidArgument("{}: expected a function, found {}", expression.name, callee.TypeName());
  }
  if (expression.name == "raise_exception" && callable->macro == nullptr) {
    return RaiseException(arguments, meter_);
  }
  return Named(expression.name, callable->macro != nullptr
                                    ? CallMacro(*callable->macro, arguments)
                                    : CallFunction(expression.name, arguments));
}

Result<Value> Interpreter::CallFunction(std::string_view name, const Arguments& arguments) {
  if (name == "range") return Range(arguments, meter_);
  if (name == "namespace") return MakeNamespace(arguments);
  if (name == "strftime_now") return StrftimeNow(arguments, now_, meter_);
  return Unsupported("a method called through a variable: not supported");
}

Result<Value> Interpreter::MakeNamespace(const Arguments& arguments) {
  constexpr size_t kAttributeBytes = 128;  // about what a node of the map takes
  std::map<std::string, Value, std::less<>> attributes;
  for (const Value& argument : arguments.positional) {
    if (argument.dict() == nullptr) {
      return InvalidArgument("expected a dict, found {}", argument.TypeName());
    }
    for (const Dict::Entry& entry : argument.dict()->entries) {
      attributes.insert_or_assign(*entry.key, entry.value);
    }
  }
  for (const auto& [name, value] : arguments.named) {
    attributes.insert_or_assign(std::string(name), value);
  }
  for (const auto& [name, value] : attributes) {
    if (name.starts_with('_')) {
      return InvalidArgument("expected attributes that do not begin with \"_\", found {}", name);
    }
  }
  VX_RETURN_IF_ERROR(meter_.ValueBytes((1 + attributes.size()) * kAttributeBytes));
  namespaces_.push_back(std::move(attributes));
  return Value(Value::Variant(NamespaceReference{namespaces_.size() - 1}));
}

Result<Value> Interpreter::CallMacro(const MacroStatement& macro, const Arguments& arguments) {
  if (arguments.positional.size() > macro.parameters.size()) {
    return InvalidArgument("expected at most {} arguments, found {}", macro.parameters.size(),
                           arguments.positional.size());
  }
  Scope scope{.parent = &global_};
  for (size_t i = 0; i < arguments.positional.size(); ++i) {
    scope.variables[macro.parameters[i].name] = arguments.positional[i];
  }
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::ranges::find(macro.parameters, name, &MacroStatement::Parameter::name);
    if (found == macro.parameters.end() || scope.variables.contains(name)) {
      return InvalidArgument("{}: unexpected argument", name);
    }
    scope.variables[found->name] = value;
  }
  for (const MacroStatement::Parameter& parameter : macro.parameters) {
    if (scope.variables.contains(parameter.name)) continue;
    Value value =
        Value::FromUndefined(fmt::format("parameter '{}' was not provided", parameter.name));
    if (parameter.default_value != nullptr) {
      VX_ASSIGN_OR_RETURN(value, Evaluate(*parameter.default_value, scope));
    }
    scope.variables[parameter.name] = std::move(value);
  }
  return Capture(macro.body, scope);
}

Result<Value> Interpreter::EvaluateMethod(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const Value object, Evaluate(*expression.operands[0], scope));
  if (object.is_undefined()) return UndefinedError(object);
  VX_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(expression, scope));
  const Method& method = *expression.method;
  if (object.text() != nullptr && method.on_text != nullptr) {
    return Named(method.name, method.on_text(*object.text(), arguments, meter_));
  }
  if (object.dict() != nullptr && method.on_dict != nullptr) {
    return Named(method.name, method.on_dict(*object.dict(), arguments, meter_));
  }
  const bool is_list =
      object.IsSequence(SequenceKind::kList) || object.IsSequence(SequenceKind::kTuple);
  if (is_list && method.on_sequence != nullptr) {
    return Named(method.name, method.on_sequence(*object.sequence(), arguments, meter_));
  }
  return InvalidArgument("'{} object' has no method '{}'", object.TypeName(), method.name);
}

Result<Value> Interpreter::EvaluateFilter(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const Value input, Evaluate(*expression.operands[0], scope));
  VX_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(expression, scope));
  return Named(expression.name, expression.filter(input, arguments, meter_));
}

Result<Value> Interpreter::EvaluateTest(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const Value value, Evaluate(*expression.operands[0], scope));
  VX_ASSIGN_OR_RETURN(const Arguments arguments, EvaluateArguments(expression, scope));
  VX_ASSIGN_OR_RETURN(const bool holds,
                      Named(expression.name, expression.predicate(value, arguments, meter_)));
  return Value::FromBool(holds);
}

}  // namespace vexact
