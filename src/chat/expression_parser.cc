#include "chat/expression_parser.h"

#include <algorithm>
#include <array>
#include <optional>

namespace vexact {
namespace {

bool IsOneOf(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

Expression Node(ExpressionKind kind, int line) {
  Expression node;
  node.kind = kind;
  node.line = line;
  return node;
}

Expression Node(ExpressionKind kind, int line, ExpressionPtr operand) {
  Expression node = Node(kind, line);
  node.operands.push_back(std::move(operand));
  return node;
}

}  // namespace

Result<ExpressionPtr> ExpressionParser::Finish(Expression expression) {
  const auto deepen = [&expression](const ExpressionPtr& part) {
    if (part != nullptr) expression.depth = std::max(expression.depth, part->depth + 1);
  };
  for (const ExpressionPtr& operand : expression.operands) deepen(operand);
  for (const Argument& argument : expression.arguments) deepen(argument.value);
  if (expression.depth > kMaxExpressionDepth) {
    return InvalidArgument("line {}: expected an expression at most {} deep, found a deeper one",
                           expression.line, kMaxExpressionDepth);
  }
  return ExpressionPtr(std::make_unique<const Expression>(std::move(expression)));
}

Result<ExpressionPtr> ExpressionParser::Parse() {
  return Nested([this] { return ParseConditional(); });
}

Result<ExpressionPtr> ExpressionParser::ParseConditional() {
  VX_ASSIGN_OR_RETURN(ExpressionPtr value, ParseOr());
  while (tokens_.AtName("if")) {
    Expression node = Node(ExpressionKind::kConditional, tokens_.Next().line);
    VX_ASSIGN_OR_RETURN(ExpressionPtr condition, ParseOr());
    ExpressionPtr otherwise;
    if (tokens_.SkipName("else")) {
      VX_ASSIGN_OR_RETURN(otherwise, Parse());
    }
    node.operands.push_back(std::move(condition));
    node.operands.push_back(std::move(value));
    node.operands.push_back(std::move(otherwise));
    VX_ASSIGN_OR_RETURN(value, Finish(std::move(node)));
  }
  return value;
}

Result<ExpressionPtr> ExpressionParser::ParseTuple(bool with_conditional) {
  const auto parse = [&] { return with_conditional ? Parse() : ParseOr(); };
  const auto at_end = [this] {
    return tokens_.At(TokenKind::kPrintEnd) || tokens_.At(TokenKind::kBlockEnd) ||
           tokens_.AtOperator(")") || tokens_.AtOperator("=");
  };
  Expression tuple = Node(ExpressionKind::kTuple, tokens_.line());
  VX_ASSIGN_OR_RETURN(ExpressionPtr first, parse());
  if (!tokens_.AtOperator(",")) return first;
  tuple.operands.push_back(std::move(first));
  while (tokens_.SkipOperator(",") && !at_end()) {
    VX_ASSIGN_OR_RETURN(ExpressionPtr item, parse());
    tuple.operands.push_back(std::move(item));
  }
  return Finish(std::move(tuple));
}

Result<ExpressionPtr> ExpressionParser::ParseLogical(std::string_view word, ExpressionKind kind,
                                                     Parser operand) {
  VX_ASSIGN_OR_RETURN(ExpressionPtr left, (this->*operand)());
  while (tokens_.AtName(word)) {
    Expression node = Node(kind, tokens_.Next().line, std::move(left));
    VX_ASSIGN_OR_RETURN(ExpressionPtr right, (this->*operand)());
    node.operands.push_back(std::move(right));
    VX_ASSIGN_OR_RETURN(left, Finish(std::move(node)));
  }
  return left;
}

Result<ExpressionPtr> ExpressionParser::ParseOr() {
  return ParseLogical("or", ExpressionKind::kOr, &ExpressionParser::ParseAnd);
}

Result<ExpressionPtr> ExpressionParser::ParseAnd() {
  return ParseLogical("and", ExpressionKind::kAnd, &ExpressionParser::ParseNot);
}

Result<ExpressionPtr> ExpressionParser::ParseNot() {
  int nots = 0;
  const int line = tokens_.line();
  while (tokens_.SkipName("not")) ++nots;
  VX_ASSIGN_OR_RETURN(ExpressionPtr value, ParseComparison());
  if (nots > 1) nots = 2 - nots % 2;  // "not not not x" is "not x"
  for (; nots > 0; --nots) {
    VX_ASSIGN_OR_RETURN(value, Finish(Node(ExpressionKind::kNot, line, std::move(value))));
  }
  return value;
}

Result<ExpressionPtr> ExpressionParser::ParseComparison() {
  static constexpr std::array<std::pair<std::string_view, Operator>, 6> kOperators = {{
      {"==", Operator::kEqual},
      {"!=", Operator::kNotEqual},
      {"<", Operator::kLess},
      {"<=", Operator::kLessOrEqual},
      {">", Operator::kGreater},
      {">=", Operator::kGreaterOrEqual},
  }};
  const auto next_operator = [this]() -> std::optional<Operator> {
    for (const auto& [text, op] : kOperators) {
      if (tokens_.SkipOperator(text)) return op;
    }
    if (tokens_.SkipName("in")) return Operator::kIn;
    const bool not_in = tokens_.AtName("not") && tokens_.Peek(1).kind == TokenKind::kName &&
                        tokens_.Peek(1).text == "in";
    if (!not_in) return std::nullopt;
    tokens_.Next();
    tokens_.Next();
    return Operator::kNotIn;
  };
  Expression node = Node(ExpressionKind::kCompare, tokens_.line());
  VX_ASSIGN_OR_RETURN(ExpressionPtr first, ParseSum());
  std::optional<Operator> op = next_operator();
  if (!op) return first;
  node.operands.push_back(std::move(first));
  for (; op; op = next_operator()) {
    VX_ASSIGN_OR_RETURN(ExpressionPtr operand, ParseSum());
    node.operators.push_back(*op);
    node.operands.push_back(std::move(operand));
  }
  return Finish(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::ParseLeftToRight(
    std::initializer_list<std::pair<std::string_view, Operator>> operators, Parser operand) {
  VX_ASSIGN_OR_RETURN(ExpressionPtr left, (this->*operand)());
  while (true) {
    const auto* const found = std::find_if(operators.begin(), operators.end(), [&](const auto& op) {
      return tokens_.AtOperator(op.first);
    });
    if (found == operators.end()) return left;
    Expression node = Node(ExpressionKind::kBinary, tokens_.Next().line, std::move(left));
    node.operators.push_back(found->second);
    VX_ASSIGN_OR_RETURN(ExpressionPtr right, (this->*operand)());
    node.operands.push_back(std::move(right));
    VX_ASSIGN_OR_RETURN(left, Finish(std::move(node)));
  }
}

Result<ExpressionPtr> ExpressionParser::ParseSum() {
  return ParseLeftToRight({{"+", Operator::kAdd}, {"-", Operator::kSubtract}},
                          &ExpressionParser::ParseConcat);
}

Result<ExpressionPtr> ExpressionParser::ParseConcat() {
  VX_ASSIGN_OR_RETURN(ExpressionPtr first, ParseProduct());
  if (!tokens_.AtOperator("~")) return first;
  Expression node = Node(ExpressionKind::kConcat, tokens_.line(), std::move(first));
  while (tokens_.SkipOperator("~")) {
    VX_ASSIGN_OR_RETURN(ExpressionPtr text, ParseProduct());
    node.operands.push_back(std::move(text));
  }
  return Finish(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::ParseProduct() {
  return ParseLeftToRight({{"*", Operator::kMultiply},
                           {"/", Operator::kDivide},
                           {"//", Operator::kFloorDivide},
                           {"%", Operator::kModulo}},
                          &ExpressionParser::ParsePower);
}

Result<ExpressionPtr> ExpressionParser::ParsePower() {
  return ParseLeftToRight({{"**", Operator::kPower}}, &ExpressionParser::ParseUnary);
}

Result<ExpressionPtr> ExpressionParser::ParseUnary() { return ParseSign(true); }

Result<ExpressionPtr> ExpressionParser::ParseSign(bool with_filters) {
  return Nested([&]() -> Result<ExpressionPtr> {
    ExpressionPtr value;
    const bool minus = tokens_.AtOperator("-");
    if (minus || tokens_.AtOperator("+")) {
      const int line = tokens_.Next().line;
      VX_ASSIGN_OR_RETURN(value, ParseSign(false));
      VX_ASSIGN_OR_RETURN(value,
                          Finish(Node(minus ? ExpressionKind::kNegate : ExpressionKind::kPlus, line,
                                      std::move(value))));
    } else {
      VX_ASSIGN_OR_RETURN(value, ParsePrimary());
      VX_ASSIGN_OR_RETURN(value, ParsePostfix(std::move(value)));
    }
    if (!with_filters) return value;
    return ParseFilters(std::move(value));
  });
}

Result<ExpressionPtr> ExpressionParser::ParseFilters(ExpressionPtr input) {
  while (true) {
    if (tokens_.SkipOperator("|")) {
      VX_ASSIGN_OR_RETURN(input, ParseFilter(std::move(input)));
    } else if (tokens_.SkipName("is")) {
      VX_ASSIGN_OR_RETURN(input, ParseTest(std::move(input)));
    } else {
      return input;
    }
  }
}

Result<ExpressionPtr> ExpressionParser::ParseFilter(ExpressionPtr input) {
  Expression node = Node(ExpressionKind::kFilter, tokens_.line(), std::move(input));
  VX_ASSIGN_OR_RETURN(node.name, tokens_.ExpectName("a filter's name"));
  node.filter = FindFilter(node.name);
  if (node.filter == nullptr) {
    return Unsupported("line {}: filter \"{}\": not supported", node.line, node.name);
  }
  if (tokens_.AtOperator("(")) {
    VX_ASSIGN_OR_RETURN(node.arguments, ParseArguments());
  }
  VX_RETURN_IF_ERROR(CheckNamedInArguments(node));
  return Finish(std::move(node));
}

// map("name"), select("name"), selectattr("attribute", "name"): the same error as for a name that
// stands in the template itself.
Status ExpressionParser::CheckNamedInArguments(const Expression& filter) const {
  const bool is_map = filter.name == "map";
  const bool by_attribute = filter.name == "selectattr" || filter.name == "rejectattr";
  if (!is_map && !by_attribute && filter.name != "select" && filter.name != "reject") return {};
  const size_t at = by_attribute ? 1 : 0;
  if (filter.arguments.size() <= at || !filter.arguments[at].name.empty()) return {};
  const Expression& argument = *filter.arguments[at].value;
  const std::string* name = argument.constant.text();
  if (argument.kind != ExpressionKind::kConstant || name == nullptr) return {};
  const bool known = is_map ? FindFilter(*name) != nullptr : FindPredicate(*name) != nullptr;
  if (known) return {};
  return Unsupported("line {}: {} \"{}\": not supported", filter.line, is_map ? "filter" : "test",
                     *name);
}

Result<ExpressionPtr> ExpressionParser::ParseTest(ExpressionPtr value) {
  Expression node = Node(ExpressionKind::kTest, tokens_.line(), std::move(value));
  const bool negated = tokens_.SkipName("not");
  VX_ASSIGN_OR_RETURN(node.name, tokens_.ExpectName("a test's name"));
  node.predicate = FindPredicate(node.name);
  if (node.predicate == nullptr) {
    return Unsupported("line {}: test \"{}\": not supported", node.line, node.name);
  }
  const Token& next = tokens_.Peek();
  const bool begins_argument =
      next.kind == TokenKind::kString || next.kind == TokenKind::kInteger ||
      next.kind == TokenKind::kFloat || tokens_.AtOperator("[") || tokens_.AtOperator("{") ||
      (next.kind == TokenKind::kName && !IsOneOf(next.text, {"else", "or", "and", "is"}));
  if (tokens_.AtOperator("(")) {
    VX_ASSIGN_OR_RETURN(node.arguments, ParseArguments());
  } else if (begins_argument) {
    VX_ASSIGN_OR_RETURN(ExpressionPtr primary, ParsePrimary());
    VX_ASSIGN_OR_RETURN(ExpressionPtr argument, ParsePostfix(std::move(primary)));
    node.arguments.push_back({.name = "", .value = std::move(argument)});
  }
  if (tokens_.AtName("is")) return tokens_.Expected("one test, not a chain of them");
  const int line = node.line;
  VX_ASSIGN_OR_RETURN(ExpressionPtr test, Finish(std::move(node)));
  if (!negated) return test;
  return Finish(Node(ExpressionKind::kNot, line, std::move(test)));
}

Result<std::vector<Argument>> ExpressionParser::ParseArguments() {
  std::vector<Argument> arguments;
  VX_RETURN_IF_ERROR(tokens_.ExpectOperator("("));
  while (!tokens_.SkipOperator(")")) {
    if (!arguments.empty()) {
      VX_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      if (tokens_.SkipOperator(")")) break;
    }
    if (tokens_.AtOperator("*") || tokens_.AtOperator("**")) {
      return tokens_.Refused("\"{}\" before an argument", tokens_.Peek().text);
    }
    Argument argument;
    const Token& after = tokens_.Peek(1);
    if (tokens_.At(TokenKind::kName) && after.kind == TokenKind::kOperator && after.text == "=") {
      argument.name = tokens_.Next().text;
      tokens_.Next();
    } else if (!arguments.empty() && !arguments.back().name.empty()) {
      return tokens_.Expected("an argument with a name");
    }
    VX_ASSIGN_OR_RETURN(argument.value, Parse());
    arguments.push_back(std::move(argument));
  }
  return arguments;
}

}  // namespace vexact
