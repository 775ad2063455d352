// Statements.
#include "chat/interpreter.h"
#include "chat/text.h"

namespace vexact {

Result<std::string> Interpreter::Run() {
  for (const Dict::Entry& entry : variables_.entries) {
    global_.variables.emplace(*entry.key, entry.value);
  }
  const Result<Flow> flow = Execute(body_, global_);
  if (!flow.ok()) {
    return Error{flow.error().code, fmt::format("line {}: {}", line_, flow.error().message)};
  }
  return std::move(output_);
}

Result<Interpreter::Flow> Interpreter::Execute(const Block& block, Scope& scope) {
  const Depth depth(depth_);
  VX_RETURN_IF_ERROR(depth.status());
  for (const Statement& statement : block) {
    line_ = statement.line;
    VX_RETURN_IF_ERROR(meter_.Work(1));
    VX_ASSIGN_OR_RETURN(const Flow flow, Execute(statement, scope));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<Interpreter::Flow> Interpreter::Execute(const Statement& statement, Scope& scope) {
  if (const auto* text = std::get_if<TextStatement>(&statement.node)) {
    VX_RETURN_IF_ERROR(Append(text->text));
  } else if (const auto* print = std::get_if<PrintStatement>(&statement.node)) {
    VX_RETURN_IF_ERROR(Print(*print->value, scope));
  } else if (const auto* branches = std::get_if<IfStatement>(&statement.node)) {
    return ExecuteIf(*branches, scope);
  } else if (const auto* loop = std::get_if<ForStatement>(&statement.node)) {
    return ExecuteFor(*loop, scope);
  } else if (const auto* set = std::get_if<SetStatement>(&statement.node)) {
    VX_RETURN_IF_ERROR(ExecuteSet(*set, scope));
  } else if (const auto* macro = std::get_if<MacroStatement>(&statement.node)) {
    scope.variables[macro->name] = Value(Value::Variant(Callable{macro}));
  } else if (const auto* generation = std::get_if<GenerationStatement>(&statement.node)) {
    Scope inner{.parent = &scope};
    return Execute(generation->body, inner);
  } else {
    const bool breaks = std::holds_alternative<BreakStatement>(statement.node);
    return breaks ? Flow::kBreak : Flow::kContinue;
  }
  return Flow::kNext;
}

Result<Interpreter::Flow> Interpreter::ExecuteIf(const IfStatement& node, Scope& scope) {
  for (const auto& [condition, body] : node.branches) {
    VX_ASSIGN_OR_RETURN(const Value value, Evaluate(*condition, scope));
    if (value.IsTrue()) return Execute(body, scope);
  }
  return Execute(node.otherwise, scope);
}

const Interpreter::LoopState* Interpreter::InnermostLoop(const Scope& scope) {
  for (const Scope* at = &scope; at != nullptr; at = at->parent) {
    if (at->loop != nullptr) return at->loop;
  }
  return nullptr;
}

// The items that the loop runs over: those that its condition passes.
Result<std::vector<Value>> Interpreter::LoopItems(const ForStatement& node, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const Value value, Evaluate(*node.items, scope));
  VX_ASSIGN_OR_RETURN(std::vector<Value> items, ItemsOf(value, meter_));
  if (node.condition == nullptr) return items;
  std::vector<Value> kept;
  for (const Value& item : items) {
    Scope inner{.parent = &scope};
    VX_RETURN_IF_ERROR(Unpack(node.targets, node.unpacks, item, inner));
    VX_ASSIGN_OR_RETURN(const Value passes, Evaluate(*node.condition, inner));
    if (passes.IsTrue()) kept.push_back(item);
  }
  return kept;
}

Status Interpreter::Unpack(const std::vector<std::string>& targets, bool unpacks,
                           const Value& value, Scope& scope) {
  if (!unpacks) {
    scope.variables[targets[0]] = value;
    return {};
  }
  VX_ASSIGN_OR_RETURN(std::vector<Value> items, ItemsOf(value, meter_));
  if (items.size() != targets.size()) {
    return InvalidArgument("expected {} items to unpack, found {}", targets.size(), items.size());
  }
  for (size_t i = 0; i < items.size(); ++i) scope.variables[targets[i]] = std::move(items[i]);
  return {};
}

Result<Interpreter::Flow> Interpreter::ExecuteFor(const ForStatement& node, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const std::vector<Value> items, LoopItems(node, scope));
  LoopState loop{.items = items};
  bool reached_end = false;  // of the body, by some item
  for (; loop.index < items.size(); ++loop.index) {
    VX_RETURN_IF_ERROR(meter_.Work(1));
    Scope inner{.parent = &scope, .loop = &loop};
    VX_RETURN_IF_ERROR(Unpack(node.targets, node.unpacks, items[loop.index], inner));
    VX_ASSIGN_OR_RETURN(const Flow flow, Execute(node.body, inner));
    if (flow == Flow::kNext) reached_end = true;
    if (flow == Flow::kBreak) break;
  }
  if (reached_end) return Flow::kNext;
  // As Jinja: {% else %} also follows where every item went to {% continue %} or {% break %}.
  Scope inner{.parent = &scope};
  return Execute(node.otherwise, inner);
}

Status Interpreter::ExecuteSet(const SetStatement& node, Scope& scope) {
  if (node.value == nullptr) {
    Scope inner{.parent = &scope};
    VX_ASSIGN_OR_RETURN(Value text, Capture(node.body, inner));
    if (node.filtered_body != nullptr) {
      const Value* const around = std::exchange(set_body_, &text);
      Result<Value> filtered = Evaluate(*node.filtered_body, scope);
      set_body_ = around;
      if (!filtered.ok()) return filtered.error();
      text = std::move(filtered).value();
    }
    return Assign(node.targets[0], std::move(text), scope);
  }
  VX_ASSIGN_OR_RETURN(Value value, Evaluate(*node.value, scope));
  if (!node.unpacks) return Assign(node.targets[0], std::move(value), scope);
  VX_ASSIGN_OR_RETURN(std::vector<Value> items, ItemsOf(value, meter_));
  if (items.size() != node.targets.size()) {
    return InvalidArgument("expected {} items to unpack, found {}", node.targets.size(),
                           items.size());
  }
  for (size_t i = 0; i < items.size(); ++i) {
    VX_RETURN_IF_ERROR(Assign(node.targets[i], std::move(items[i]), scope));
  }
  return {};
}

Status Interpreter::Assign(const SetTarget& target, Value value, Scope& scope) {
  if (target.attribute.empty()) {
    scope.variables[target.name] = std::move(value);
    return {};
  }
  VX_ASSIGN_OR_RETURN(const Value object, EvaluateName(target.name, scope));
  const auto* reference = std::get_if<NamespaceReference>(&object.variant());
  if (reference == nullptr) {
    return InvalidArgument("{}: expected a namespace, found {}", target.name, object.TypeName());
  }
  namespaces_[reference->index].insert_or_assign(target.attribute, std::move(value));
  return {};
}

// The text that `block` writes.
Result<Value> Interpreter::Capture(const Block& block, Scope& scope) {
  std::string text;
  std::string* const around = std::exchange(captured_, &text);
  const Result<Flow> flow = Execute(block, scope);
  captured_ = around;
  if (!flow.ok()) return flow.error();
  return MakeText(std::move(text), meter_);
}

Status Interpreter::Print(const Expression& expression, Scope& scope) {
  VX_ASSIGN_OR_RETURN(const Value value, Evaluate(expression, scope));
  if (const std::string* text = value.text()) return Append(*text);
  VX_ASSIGN_OR_RETURN(const std::string text, PrintedText(value, meter_));
  return Append(text);
}

Status Interpreter::Append(std::string_view text) {
  VX_RETURN_IF_ERROR(meter_.TextWork(text.size()));
  if (captured_ != nullptr) {
    VX_RETURN_IF_ERROR(meter_.ValueBytes(text.size()));
    captured_->append(text);
    return {};
  }
  if (output_.size() + text.size() > static_cast<size_t>(meter_.limits().max_output_bytes)) {
    return MakeError(ErrorCode::kResourceExhausted,
                     "expected at most {} bytes of output, found more",
                     meter_.limits().max_output_bytes);
  }
  output_ += text;
  return {};
}

}  // namespace vexact
