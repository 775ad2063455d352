// The innermost parts of expressions: names, literals, brackets, and what follows them.
#include <algorithm>
#include <array>

#include "chat/expression_parser.h"

namespace vexact {
namespace {

constexpr std::array<std::string_view, 11> kLoopAttributes = {
    "index",  "index0", "revindex", "revindex0", "first",   "last",
    "length", "depth",  "depth0",   "previtem",  "nextitem"};

Expression Constant(Value value, int line) {
  Expression node;
  node.line = line;
  node.constant = std::move(value);
  return node;
}

}  // namespace

Result<ExpressionPtr> ExpressionParser::ParsePrimary() {
  const Token& token = tokens_.Peek();
  const int line = token.line;
  switch (token.kind) {
    case TokenKind::kName:
      return ParseNameOrConstant();
    case TokenKind::kString: {
      std::string text;  // literals side by side are one
      while (tokens_.At(TokenKind::kString)) text += tokens_.Next().text;
      return Finish(Constant(Value::FromText(std::move(text)), line));
    }
    case TokenKind::kInteger:
      return Finish(Constant(Value::FromInteger(tokens_.Next().integer), line));
    case TokenKind::kFloat:
      return Finish(Constant(Value::FromFloat(tokens_.Next().floating), line));
    default:
      if (tokens_.AtOperator("(")) return ParseParentheses();
      if (tokens_.AtOperator("[")) return ParseList();
      if (tokens_.AtOperator("{")) return ParseDict();
      return tokens_.Expected("an expression");
  }
}

Result<ExpressionPtr> ExpressionParser::ParseNameOrConstant() {
  const std::string& name = tokens_.Peek().text;
  const int line = tokens_.line();
  if (name == "loop") return ParseLoopAttribute();
  if (in_macro_ && (name == "caller" || name == "varargs" || name == "kwargs")) {
    return tokens_.Refused("\"{}\" in a macro", name);
  }
  Expression node;
  node.line = line;
  node.name = tokens_.Next().text;
  if (node.name == "true" || node.name == "True" || node.name == "false" || node.name == "False") {
    return Finish(Constant(Value::FromBool((node.name[0] | 0x20) == 't'), line));
  }
  if (node.name == "none" || node.name == "None") return Finish(Constant(Value::FromNone(), line));
  if (!tokens_.AtOperator("(")) {
    node.kind = ExpressionKind::kName;
    return Finish(std::move(node));
  }
  node.kind = ExpressionKind::kCall;
  calls_.push_back({node.name, line});
  VX_ASSIGN_OR_RETURN(node.arguments, ParseArguments());
  return Finish(std::move(node));
}

// loop.name and loop["name"]. The loop itself is no value here, so that none outlives its loop.
Result<ExpressionPtr> ExpressionParser::ParseLoopAttribute() {
  Expression node;
  node.kind = ExpressionKind::kLoop;
  node.line = tokens_.Next().line;
  if (tokens_.SkipOperator(".") && tokens_.At(TokenKind::kName)) {
    node.name = tokens_.Next().text;
  } else if (tokens_.SkipOperator("[") && tokens_.At(TokenKind::kString)) {
    node.name = tokens_.Next().text;
    VX_RETURN_IF_ERROR(tokens_.ExpectOperator("]"));
  } else {
    return tokens_.Refused("\"loop\" without an attribute");
  }
  if (std::ranges::find(kLoopAttributes, node.name) == kLoopAttributes.end()) {
    return tokens_.Refused("\"loop.{}\"", node.name);
  }
  return Finish(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::ParseParentheses() {
  const int line = tokens_.Next().line;
  if (tokens_.SkipOperator(")")) {
    Expression empty;
    empty.kind = ExpressionKind::kTuple;
    empty.line = line;
    return Finish(std::move(empty));
  }
  VX_ASSIGN_OR_RETURN(ExpressionPtr inner, ParseTuple(true));
  VX_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
  return inner;
}

Result<ExpressionPtr> ExpressionParser::ParseList() {
  Expression node;
  node.kind = ExpressionKind::kList;
  node.line = tokens_.Next().line;
  while (!tokens_.SkipOperator("]")) {
    if (!node.operands.empty()) {
      VX_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      if (tokens_.SkipOperator("]")) break;
    }
    VX_ASSIGN_OR_RETURN(ExpressionPtr item, Parse());
    node.operands.push_back(std::move(item));
  }
  return Finish(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::ParseDict() {
  Expression node;
  node.kind = ExpressionKind::kDict;
  node.line = tokens_.Next().line;
  while (!tokens_.SkipOperator("}")) {
    if (!node.operands.empty()) {
      VX_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      if (tokens_.SkipOperator("}")) break;
    }
    VX_ASSIGN_OR_RETURN(ExpressionPtr key, Parse());
    VX_RETURN_IF_ERROR(tokens_.ExpectOperator(":"));
    VX_ASSIGN_OR_RETURN(ExpressionPtr value, Parse());
    node.operands.push_back(std::move(key));
    node.operands.push_back(std::move(value));
  }
  return Finish(std::move(node));
}

Result<ExpressionPtr> ExpressionParser::ParsePostfix(ExpressionPtr expression) {
  while (true) {
    if (tokens_.AtOperator(".")) {
      VX_ASSIGN_OR_RETURN(expression, ParseAttribute(std::move(expression)));
    } else if (tokens_.AtOperator("[")) {
      VX_ASSIGN_OR_RETURN(expression, ParseSubscript(std::move(expression)));
    } else if (tokens_.AtOperator("(")) {
      return tokens_.Refused("a call of what is neither a name nor a method");
    } else {
      return expression;
    }
  }
}

// object.name, object.0, or object.name(arguments).
Result<ExpressionPtr> ExpressionParser::ParseAttribute(ExpressionPtr object) {
  Expression node;
  node.kind = ExpressionKind::kAttribute;
  node.line = tokens_.Next().line;
  node.operands.push_back(std::move(object));
  if (tokens_.At(TokenKind::kInteger)) {
    node.kind = ExpressionKind::kItem;
    VX_ASSIGN_OR_RETURN(ExpressionPtr index, ParsePrimary());
    node.operands.push_back(std::move(index));
    return Finish(std::move(node));
  }
  VX_ASSIGN_OR_RETURN(node.name, tokens_.ExpectName("an attribute's name"));
  if (tokens_.AtOperator("(")) {
    node.kind = ExpressionKind::kMethod;
    node.method = FindMethod(node.name);
    if (node.method == nullptr) return tokens_.Refused("method \"{}\"", node.name);
    VX_ASSIGN_OR_RETURN(node.arguments, ParseArguments());
  }
  return Finish(std::move(node));
}

// object[key] or object[start:stop:step].
Result<ExpressionPtr> ExpressionParser::ParseSubscript(ExpressionPtr object) {
  Expression node;
  node.line = tokens_.Next().line;
  node.operands.push_back(std::move(object));
  while (true) {
    ExpressionPtr part;
    if (!tokens_.AtOperator(":") && !tokens_.AtOperator("]")) {
      VX_ASSIGN_OR_RETURN(part, Parse());
    }
    node.operands.push_back(std::move(part));
    if (!tokens_.SkipOperator(":")) break;
  }
  const size_t parts = node.operands.size() - 1;
  if (tokens_.AtOperator(",")) return tokens_.Refused("several keys in brackets");
  if (parts > 3) return tokens_.Expected("a slice of three parts");
  if (parts == 1 && node.operands[1] == nullptr) return tokens_.Expected("a key");
  VX_RETURN_IF_ERROR(tokens_.ExpectOperator("]"));
  node.kind = parts == 1 ? ExpressionKind::kItem : ExpressionKind::kSlice;
  if (parts > 1) node.operands.resize(4);
  return Finish(std::move(node));
}

}  // namespace vexact
