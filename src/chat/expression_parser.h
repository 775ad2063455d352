// Expressions of templates, with Jinja's precedences: or, and, not, comparisons, + -, ~, * / // %,
// **, unary, then . [] () | is.
#ifndef VEXACT_CHAT_EXPRESSION_PARSER_H_
#define VEXACT_CHAT_EXPRESSION_PARSER_H_

#include <string>
#include <utility>
#include <vector>

#include "chat/ast.h"
#include "chat/token_stream.h"

namespace vexact {

// Parsing, evaluating and freeing expressions recurse this deep.
inline constexpr int kMaxExpressionDepth = 200;

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  Result<ExpressionPtr> Parse();  // with "a if b else c"
  // What may be a tuple without parentheses, as after "in" and "=".
  Result<ExpressionPtr> ParseTuple(bool with_conditional);
  // "| filter | filter" behind `input`.
  Result<ExpressionPtr> ParseFilters(ExpressionPtr input);

  // Inside of a macro some names have a meaning that is refused.
  void set_in_macro(bool in_macro) { in_macro_ = in_macro; }

  // Names that were called, with their lines; only the whole template says which are macros.
  struct Call {
    std::string name;
    int line = 0;
  };
  const std::vector<Call>& calls() const { return calls_; }

 private:
  using Parser = Result<ExpressionPtr> (ExpressionParser::*)();

  // `parse()` one level deeper. Every way into a deeper expression leads through here.
  template <typename Parse>
  Result<ExpressionPtr> Nested(Parse parse) {
    if (depth_ >= kMaxExpressionDepth) {
      return InvalidArgument("line {}: expected an expression at most {} deep, found a deeper one",
                             tokens_.line(), kMaxExpressionDepth);
    }
    ++depth_;
    Result<ExpressionPtr> expression = parse();
    --depth_;
    return expression;
  }

  Result<ExpressionPtr> Finish(Expression expression);
  Result<ExpressionPtr> ParseConditional();
  Result<ExpressionPtr> ParseLeftToRight(
      std::initializer_list<std::pair<std::string_view, Operator>> operators, Parser operand);
  Result<ExpressionPtr> ParseLogical(std::string_view word, ExpressionKind kind, Parser operand);
  Result<ExpressionPtr> ParseOr();
  Result<ExpressionPtr> ParseAnd();
  Result<ExpressionPtr> ParseNot();
  Result<ExpressionPtr> ParseComparison();
  Result<ExpressionPtr> ParseSum();
  Result<ExpressionPtr> ParseConcat();
  Result<ExpressionPtr> ParseProduct();
  Result<ExpressionPtr> ParsePower();
  Result<ExpressionPtr> ParseUnary();
  Result<ExpressionPtr> ParseSign(bool with_filters);
  Result<ExpressionPtr> ParsePrimary();
  Result<ExpressionPtr> ParseNameOrConstant();
  Result<ExpressionPtr> ParseLoopAttribute();
  Result<ExpressionPtr> ParseParentheses();
  Result<ExpressionPtr> ParseList();
  Result<ExpressionPtr> ParseDict();
  Result<ExpressionPtr> ParsePostfix(ExpressionPtr expression);
  Result<ExpressionPtr> ParseAttribute(ExpressionPtr object);
  Result<ExpressionPtr> ParseSubscript(ExpressionPtr object);
  Result<ExpressionPtr> ParseFilter(ExpressionPtr input);
  Result<ExpressionPtr> ParseTest(ExpressionPtr value);
  Result<std::vector<Argument>> ParseArguments();
  Status CheckNamedInArguments(const Expression& filter) const;

  TokenStream& tokens_;
  int depth_ = 0;
  bool in_macro_ = false;
  std::vector<Call> calls_;
};

}  // namespace vexact

#endif  // VEXACT_CHAT_EXPRESSION_PARSER_H_
