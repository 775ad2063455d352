// Interpreter: renders a parsed template once.
#ifndef VEXACT_CHAT_INTERPRETER_H_
#define VEXACT_CHAT_INTERPRETER_H_

#include <ctime>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "chat/ast.h"
#include "chat/meter.h"

namespace vexact {

class Interpreter {
 public:
  // `variables` are what the template sees; `now` is what strftime_now formats. All outlive it.
  Interpreter(const Block& body, const Dict& variables, const std::tm& now,
              const ChatLimits& limits)
      : body_(body), variables_(variables), now_(now), meter_(limits) {}

  // Errors begin with "line N: ". Call once.
  Result<std::string> Run();

 private:
  struct LoopState {
    const std::vector<Value>& items;
    size_t index = 0;
  };
  // Names in order of search: here, then the parent's. Lives on the stack; macros, which could see
  // a scope after its end, see the template's own only.
  struct Scope {
    const Scope* parent = nullptr;
    const LoopState* loop = nullptr;
    std::unordered_map<std::string_view, Value> variables = {};
  };
  enum class Flow { kNext, kBreak, kContinue };
  class Depth;

  // execute.cc
  Result<Flow> Execute(const Block& block, Scope& scope);
  Result<Flow> Execute(const Statement& statement, Scope& scope);
  Result<Flow> ExecuteIf(const IfStatement& node, Scope& scope);
  Result<Flow> ExecuteFor(const ForStatement& node, Scope& scope);
  Result<std::vector<Value>> LoopItems(const ForStatement& node, Scope& scope);
  // Binds the targets in `scope`; `unpacks`: to the items of `value`.
  Status Unpack(const std::vector<std::string>& targets, bool unpacks, const Value& value,
                Scope& scope);
  Status ExecuteSet(const SetStatement& node, Scope& scope);
  Status Assign(const SetTarget& target, Value value, Scope& scope);
  Result<Value> Capture(const Block& block, Scope& scope);
  Status Print(const Expression& expression, Scope& scope);
  Status Append(std::string_view text);
  static const LoopState* InnermostLoop(const Scope& scope);

  // evaluate.cc
  Result<Value> Evaluate(const Expression& expression, Scope& scope);
  Result<Value> EvaluateKind(const Expression& expression, Scope& scope);
  Result<Value> EvaluateName(std::string_view name, const Scope& scope);
  Result<Value> EvaluateLoop(const Expression& expression, const Scope& scope);
  Result<Value> EvaluateSequence(const Expression& expression, SequenceKind kind, Scope& scope);
  Result<Value> EvaluateDict(const Expression& expression, Scope& scope);
  Result<Value> EvaluateAttribute(const Expression& expression, Scope& scope);
  Result<Value> EvaluateItem(const Expression& expression, Scope& scope);
  Result<Value> EvaluateSlice(const Expression& expression, Scope& scope);
  Result<Value> EvaluateLogical(const Expression& expression, Scope& scope);
  Result<Value> EvaluateSign(const Expression& expression, Scope& scope);
  Result<Value> EvaluateBinary(const Expression& expression, Scope& scope);
  Result<Value> EvaluateComparison(const Expression& expression, Scope& scope);
  Result<Value> EvaluateConcat(const Expression& expression, Scope& scope);
  Result<Value> EvaluateConditional(const Expression& expression, Scope& scope);
  Result<Value> Attribute(const Value& object, std::string_view name);

  // call.cc
  Result<Value> EvaluateCall(const Expression& expression, Scope& scope);
  Result<Value> EvaluateMethod(const Expression& expression, Scope& scope);
  Result<Value> EvaluateFilter(const Expression& expression, Scope& scope);
  Result<Value> EvaluateTest(const Expression& expression, Scope& scope);
  Result<Arguments> EvaluateArguments(const Expression& expression, Scope& scope);
  Result<Value> CallFunction(std::string_view name, const Arguments& arguments);
  Result<Value> CallMacro(const MacroStatement& macro, const Arguments& arguments);
  Result<Value> MakeNamespace(const Arguments& arguments);

  const Block& body_;
  const Dict& variables_;
  const std::tm& now_;
  Meter meter_;
  Scope global_;
  std::vector<std::map<std::string, Value, std::less<>>> namespaces_;  // by their number
  const Value* set_body_ = nullptr;  // what ExpressionKind::kSetBody stands for
  std::string output_;
  std::string* captured_ = nullptr;  // where text goes instead of output_
  int line_ = 0;                     // of what is evaluated, for errors
  int depth_ = 0;
};

// Blocks, expressions and macros within each other, at most: a macro that calls itself ends here,
// with an error, before the stack does. A real template's macro takes about seven levels for each
// call.
inline constexpr int kMaxRunDepth = 500;

// Counts one level while it lives.
class Interpreter::Depth {
 public:
  explicit Depth(int& depth) : depth_(++depth) {}
  ~Depth() { --depth_; }
  Depth(const Depth&) = delete;
  Depth& operator=(const Depth&) = delete;

  Status status() const {
    if (depth_ <= kMaxRunDepth) return {};
    return MakeError(ErrorCode::kResourceExhausted,
                     "expected macros and blocks nested at most {} deep, found more", kMaxRunDepth);
  }

 private:
  int& depth_;
};

}  // namespace vexact

#endif  // VEXACT_CHAT_INTERPRETER_H_
