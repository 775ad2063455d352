// A parsed chat template. Immutable; rendering walks it.
#ifndef VEXACT_CHAT_AST_H_
#define VEXACT_CHAT_AST_H_

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "chat/filters.h"
#include "chat/methods.h"
#include "chat/operators.h"
#include "chat/predicates.h"
#include "chat/value.h"

namespace vexact {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

// Beside each kind: what `operands` are, and which other fields it uses.
enum class ExpressionKind {
  kConstant,     // constant
  kName,         // name
  kSetBody,      // the text of the {% set %} block whose filters these are
  kLoop,         // name: an attribute of the innermost loop
  kList,         // items
  kTuple,        // items
  kDict,         // key, value, key, value, ...
  kAttribute,    // object; name
  kItem,         // object, key
  kSlice,        // object, start, stop, step; the last three may be null
  kCall,         // name: of a function or macro; arguments
  kMethod,       // object; name, method, arguments
  kFilter,       // input; name, filter, arguments
  kTest,         // value; name, predicate, arguments
  kNot,          // value
  kAnd,          // left, right
  kOr,           // left, right
  kNegate,       // value
  kPlus,         // value
  kBinary,       // left, right; operators[0]
  kCompare,      // first, second, ...: each compared with the next by operators[i]
  kConcat,       // texts
  kConditional,  // condition, then, else; the last may be null
};

struct Argument {
  std::string name;  // empty: by position
  ExpressionPtr value;
};

struct Expression {
  ExpressionKind kind = ExpressionKind::kConstant;
  int line = 0;
  int depth = 1;  // 1 + the deepest operand's or argument's
  std::string name;
  Value constant;
  std::vector<ExpressionPtr> operands;
  std::vector<Argument> arguments;
  std::vector<Operator> operators;
  Filter filter = nullptr;
  Predicate predicate = nullptr;
  const Method* method = nullptr;
};

struct Statement;
using Block = std::vector<Statement>;

struct TextStatement {
  std::string text;
};
struct PrintStatement {
  ExpressionPtr value;
};
struct IfStatement {
  std::vector<std::pair<ExpressionPtr, Block>> branches;  // if, elif, ...
  Block otherwise;
};
struct ForStatement {
  std::vector<std::string> targets;
  bool unpacks = false;  // the item's own items go to the targets
  ExpressionPtr items;
  ExpressionPtr condition;  // may be null
  Block body;
  Block otherwise;
};
struct SetTarget {
  std::string name;
  std::string attribute;  // of the namespace `name`; empty: the variable itself
};
struct SetStatement {
  std::vector<SetTarget> targets;
  bool unpacks = false;
  ExpressionPtr value;  // null: the text of `body`
  Block body;
  ExpressionPtr filtered_body;  // what becomes of that text; may be null
};
struct MacroStatement {
  struct Parameter {
    std::string name;
    ExpressionPtr default_value;  // may be null
  };
  std::string name;
  std::vector<Parameter> parameters;
  Block body;
};
// {% generation %}: marks what the model wrote; here only a scope.
struct GenerationStatement {
  Block body;
};
struct BreakStatement {};
struct ContinueStatement {};

struct Statement {
  int line = 0;
  std::variant<TextStatement, PrintStatement, IfStatement, ForStatement, SetStatement,
               MacroStatement, GenerationStatement, BreakStatement, ContinueStatement>
      node;
};

}  // namespace vexact

#endif  // VEXACT_CHAT_AST_H_
