// Expressions.
#include "chat/functions.h"
#include "chat/interpreter.h"
#include "chat/text.h"

namespace vexact {

Result<Value> Interpreter::Evaluate(const Expression& expression, Scope& scope) {
  const Depth depth(depth_);
  VX_RETURN_IF_ERROR(depth.status());
  VX_RETURN_IF_ERROR(meter_.Work(1));
  line_ = expression.line;
  return EvaluateKind(expression, scope);
}

Result<Value> Interpreter::EvaluateKind(const Expression& expression, Scope& scope) {
  switch (expression.kind) {
    case ExpressionKind::kConstant:
      return expression.constant;
    case ExpressionKind::kName:
      return EvaluateName(expression.name, scope);
    case ExpressionKind::kSetBody:
      return *set_body_;
    case ExpressionKind::kLoop:
      return EvaluateLoop(expression, scope);
    case ExpressionKind::kList:
      return EvaluateSequence(expression, SequenceKind::kList, scope);
    case ExpressionKind::kTuple:
      return EvaluateSequence(expression, SequenceKind::kTuple, scope);
    case ExpressionKind::kDict:
      return EvaluateDict(expression, scope);
    case ExpressionKind::kAttribute:
      return EvaluateAttribute(expression, scope);
    case ExpressionKind::kItem:
      return EvaluateItem(expression, scope);
    case ExpressionKind::kSlice:
      return EvaluateSlice(expression, scope);
    case ExpressionKind::kCall:
      return EvaluateCall(expression, scope);
    case ExpressionKind::kMethod:
      return EvaluateMethod(expression, scope);
    case ExpressionKind::kFilter:
      return EvaluateFilter(expression, scope);
    case ExpressionKind::kTest:
      return EvaluateTest(expression, scope);
    case ExpressionKind::kNot:
    case ExpressionKind::kAnd:
    case ExpressionKind::kOr:
      return EvaluateLogical(expression, scope);
    case ExpressionKind::kNegate:
    case ExpressionKind::kPlus:
      return EvaluateSign(expression, scope);
    case ExpressionKind::kBinary:
      return EvaluateBinary(expression, scope);
    case ExpressionKind::kCompare:
      return EvaluateComparison(expression, scope);
    case ExpressionKind::kConcat:
      return EvaluateConcat(expression, scope);
    case ExpressionKind::kConditional:
      return EvaluateConditional(expression, scope);
  }
  return MakeError(ErrorCode::kInternal, "expected a kind of expression, found another");
}

Result<Value> Interpreter::EvaluateName(std::string_view name, const Scope& scope) {
  for (const Scope* at = &scope; at != nullptr; at = at->parent) {
    const auto found = at->variables.find(name);
    if (found != at->variables.end()) return found->second;
  }
  if (IsFunction(name)) return Value(Value::Variant(Callable{}));
  return Value::FromUndefined(fmt::format("'{}' is undefined", name));
}

Result<Value> Interpreter::EvaluateLoop(const Expression& expression, const Scope& scope) {
  const LoopState* loop = InnermostLoop(scope);
  if (loop == nullptr) return InvalidArgument("'loop' is undefined");
  const std::string& name = expression.name;
  const auto index = static_cast<int64_t>(loop->index);
  const auto length = static_cast<int64_t>(loop->items.size());
  if (name == "index0") return Value::FromInteger(index);
  if (name == "index") return Value::FromInteger(index + 1);
  if (name == "revindex") return Value::FromInteger(length - index);
  if (name == "revindex0") return Value::FromInteger(length - index - 1);
  if (name == "first") return Value::FromBool(index == 0);
  if (name == "last") return Value::FromBool(index + 1 == length);
  if (name == "length") return Value::FromInteger(length);
  if (name == "depth0") return Value::FromInteger(0);  // of recursive loops, which are refused
  if (name == "depth") return Value::FromInteger(1);
  if (name == "previtem") {
    return index > 0 ? loop->items[index - 1] : Value::FromUndefined("there is no previous item");
  }
  return index + 1 < length ? loop->items[index + 1]
                            : Value::FromUndefined("there is no next item");
}

Result<Value> Interpreter::EvaluateSequence(const Expression& expression, SequenceKind kind,
                                            Scope& scope) {
  std::vector<Value> items;
  items.reserve(expression.operands.size());
  for (const ExpressionPtr& operand : expression.operands) {
    VX_ASSIGN_OR_RETURN(Value item, Evaluate(*operand, scope));
    items.push_back(std::move(item));
  }
  return MakeSequence(std::move(items), kind, meter_);
}

Result<Value> Interpreter::EvaluateDict(const Expression& expression, Scope& scope) {
  Dict dict;
  for (size_t i = 0; i < expression.operands.size(); i += 2) {
    VX_ASSIGN_OR_RETURN(const Value key, Evaluate(*expression.operands[i], scope));
    VX_ASSIGN_OR_RETURN(Value value, Evaluate(*expression.operands[i + 1], scope));
    if (key.text() == nullptr) {
      return Unsupported("a dict's key that is a {}, not a str: not supported", key.TypeName());
    }
    dict.Set(std::get<SharedText>(key.variant()), std::move(value));
  }
  return MakeDict(std::move(dict), meter_);
}

Result<Value> Interpreter::Attribute(const Value& object, std::string_view name) {
  const auto* reference = std::get_if<NamespaceReference>(&object.variant());
  if (reference == nullptr) return GetAttribute(object, name, meter_);
  const auto& attributes = namespaces_[reference->index];
  const auto found = attributes.find(name);
  if (found != attributes.end()) return found->second;
  return Value::FromUndefined(fmt::format("'namespace object' has no attribute '{}'", name));
}

Result<Value> Interpreter::EvaluateAttribute(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const Value object, Evaluate(*expression.operands[0], scope));
  return Attribute(object, expression.name);
}

Result<Value> Interpreter::EvaluateItem(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const Value object, Evaluate(*expression.operands[0], scope));
  VX_ASSIGN_OR_RETURN(const Value key, Evaluate(*expression.operands[1], scope));
  const bool is_namespace = std::holds_alternative<NamespaceReference>(object.variant());
  if (is_namespace && key.text() != nullptr) return Attribute(object, *key.text());
  return GetItem(object, key, meter_);
}

Result<Value> Interpreter::EvaluateSlice(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const Value object, Evaluate(*expression.operands[0], scope));
  Slice slice;
  std::optional<int64_t>* const parts[] = {&slice.start, &slice.stop, &slice.step};
  for (size_t i = 0; i < 3; ++i) {
    const ExpressionPtr& operand = expression.operands[i + 1];
    if (operand == nullptr) continue;
    VX_ASSIGN_OR_RETURN(const Value value, Evaluate(*operand, scope));
    if (value.is_none()) continue;
    VX_ASSIGN_OR_RETURN(*parts[i], IntegerArgument(value, "slice"));
  }
  return GetSlice(object, slice, meter_);
}

Result<Value> Interpreter::EvaluateLogical(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(Value left, Evaluate(*expression.operands[0], scope));
  if (expression.kind == ExpressionKind::kNot) return Value::FromBool(!left.IsTrue());
  const bool decided = left.IsTrue() == (expression.kind == ExpressionKind::kOr);
  if (decided) return left;
  return Evaluate(*expression.operands[1], scope);
}

Result<Value> Interpreter::EvaluateSign(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const Value value, Evaluate(*expression.operands[0], scope));
  if (value.floating() != nullptr) {  // 0 - 0.0 would lose the sign of -0.0
    return expression.kind == ExpressionKind::kNegate ? Value::FromFloat(-*value.floating())
                                                      : value;
  }
  const Operator op =
      expression.kind == ExpressionKind::kNegate ? Operator::kSubtract : Operator::kAdd;
  return Calculate(op, Value::FromInteger(0), value, meter_);
}

Result<Value> Interpreter::EvaluateBinary(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const Value left, Evaluate(*expression.operands[0], scope));
  VX_ASSIGN_OR_RETURN(const Value right, Evaluate(*expression.operands[1], scope));
  return Calculate(expression.operators[0], left, right, meter_);
}

// a < b < c is a < b and b < c, b evaluated once.
Result<Value> Interpreter::EvaluateComparison(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(Value left, Evaluate(*expression.operands[0], scope));
  for (size_t i = 0; i < expression.operators.size(); ++i) {
    VX_ASSIGN_OR_RETURN(Value right, Evaluate(*expression.operands[i + 1], scope));
    VX_ASSIGN_OR_RETURN(const bool holds, Compare(expression.operators[i], left, right, meter_));
    if (!holds) return Value::FromBool(false);
    left = std::move(right);
  }
  return Value::FromBool(true);
}

Result<Value> Interpreter::EvaluateConcat(const Expression& expression, Scope& scope) {
  std::string text;
  for (const ExpressionPtr& operand : expression.operands) {
    VX_ASSIGN_OR_RETURN(const Value value, Evaluate(*operand, scope));
    VX_ASSIGN_OR_RETURN(const std::string part, PrintedText(value, meter_));
    text += part;
  }
  return MakeText(std::move(text), meter_);
}

Result<Value> Interpreter::EvaluateConditional(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const Value condition, Evaluate(*expression.operands[0], scope));
  const ExpressionPtr& chosen = expression.operands[condition.IsTrue() ? 1 : 2];
  if (chosen != nullptr) return Evaluate(*chosen, scope);
  return Value::FromUndefined(
      "the inline if-expression evaluated to false and no else section was defined");
}

}  // namespace vexact
