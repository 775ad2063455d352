#include "chat/parser.h"

#include <algorithm>
#include <array>
#include <set>

#include "chat/expression_parser.h"
#include "chat/functions.h"

namespace vexact {
namespace {

constexpr int kMaxBlockDepth = 50;  // parsing, running and freeing recurse this deep

using Names = std::initializer_list<std::string_view>;

class TemplateParser {
 public:
  explicit TemplateParser(std::vector<Token> tokens)
      : tokens_(std::move(tokens)), expressions_(tokens_) {}

  Result<Block> Run() {
    VX_ASSIGN_OR_RETURN(Block body, ParseBlock({}));
    for (const ExpressionParser::Call& call : expressions_.calls()) {
      if (IsFunction(call.name) || macros_.contains(call.name)) continue;
      return Unsupported("line {}: function \"{}\": not supported", call.line, call.name);
    }
    return body;
  }

 private:
  // Statements up to a tag of one of these names, whose name is the next token.
  Result<Block> ParseBlock(Names ends) {
    Block block;
    while (true) {
      Statement statement;
      statement.line = tokens_.line();
      if (tokens_.At(TokenKind::kText)) {
        statement.node = TextStatement{tokens_.Next().text};
      } else if (tokens_.At(TokenKind::kPrintBegin)) {
        tokens_.Next();
        VX_ASSIGN_OR_RETURN(ExpressionPtr value, expressions_.ParseTuple(true));
        VX_RETURN_IF_ERROR(tokens_.ExpectEnd(TokenKind::kPrintEnd));
        statement.node = PrintStatement{std::move(value)};
      } else if (tokens_.At(TokenKind::kBlockBegin)) {
        tokens_.Next();
        if (!tokens_.At(TokenKind::kName)) return tokens_.Expected("a tag's name");
        if (std::find(ends.begin(), ends.end(), tokens_.Peek().text) != ends.end()) return block;
        VX_RETURN_IF_ERROR(ParseTag(statement));
      } else if (ends.size() == 0) {
        return block;  // kEnd
      } else {
        return tokens_.Expected(fmt::format("{{% {} %}}", *(ends.end() - 1)));
      }
      block.push_back(std::move(statement));
    }
  }

  // The tag's name comes next; passes the tag's end, and for blocks that of their end tag.
  Status ParseTag(Statement& statement) {
    if (depth_ >= kMaxBlockDepth) {
      return tokens_.Expected(fmt::format("blocks nested at most {} deep", kMaxBlockDepth));
    }
    ++depth_;
    const std::string name = tokens_.Peek().text;
    Status status;
    if (name == "if") {
      status = ParseIf(statement);
    } else if (name == "for") {
      status = ParseFor(statement);
    } else if (name == "set") {
      status = ParseSet(statement);
    } else if (name == "macro") {
      status = ParseMacro(statement);
    } else if (name == "generation") {
      status = ParseGeneration(statement);
    } else if (name == "break" || name == "continue") {
      status = ParseJump(statement);
    } else {
      return tokens_.Refused("{{% {} %}}", name);
    }
    if (!status.ok()) return status.error();
    --depth_;
    return tokens_.ExpectEnd(TokenKind::kBlockEnd);
  }

  // The end of a tag inside of a block, then the block that it opens.
  Result<Block> ParseBody(Names ends) {
    VX_RETURN_IF_ERROR(tokens_.ExpectEnd(TokenKind::kBlockEnd));
    return ParseBlock(ends);
  }

  // A body with names of its own. Macros are allowed outside of those only, so that what they see
  // around them is the whole template's names; and a jump does not leave one that is no loop.
  Result<Block> ParseScope(Names ends, bool is_loop) {
    const int loops = std::exchange(loops_, is_loop ? loops_ + 1 : 0);
    ++scopes_;
    Result<Block> body = ParseBody(ends);
    --scopes_;
    loops_ = loops;
    return body;
  }

  Status ParseIf(Statement& statement) {
    IfStatement node;
    while (true) {
      const std::string word = tokens_.Next().text;  // if, elif, else, endif
      if (word == "endif") break;
      if (word == "else") {
        VX_ASSIGN_OR_RETURN(node.otherwise, ParseBody({"endif"}));
        continue;
      }
      VX_ASSIGN_OR_RETURN(ExpressionPtr condition, expressions_.ParseTuple(false));
      VX_ASSIGN_OR_RETURN(Block body, ParseBody({"elif", "else", "endif"}));
      node.branches.emplace_back(std::move(condition), std::move(body));
    }
    statement.node = std::move(node);
    return {};
  }

  Result<std::string> ParseVariable() {
    static constexpr std::array<std::string_view, 16> kReserved = {
        "loop", "true", "false", "none", "True", "False", "None", "if",
        "else", "in",   "not",   "and",  "or",   "is",    "for",  "self"};
    if (std::ranges::find(kReserved, tokens_.Peek().text) != kReserved.end()) {
      return tokens_.Expected("a variable's name");
    }
    return tokens_.ExpectName("a variable's name");
  }

  Status ParseFor(Statement& statement) {
    tokens_.Next();
    ForStatement node;
    const bool in_parentheses = tokens_.SkipOperator("(");
    while (true) {
      VX_ASSIGN_OR_RETURN(std::string target, ParseVariable());
      node.targets.push_back(std::move(target));
      if (!tokens_.SkipOperator(",")) break;
      node.unpacks = true;
      if (tokens_.AtName("in") || tokens_.AtOperator(")")) break;
    }
    if (in_parentheses) VX_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
    if (!tokens_.SkipName("in")) return tokens_.Expected("in");
    VX_ASSIGN_OR_RETURN(node.items, expressions_.ParseTuple(false));
    if (tokens_.SkipName("if")) {
      VX_ASSIGN_OR_RETURN(node.condition, expressions_.Parse());
    }
    if (tokens_.AtName("recursive")) return tokens_.Refused("a recursive loop");
    VX_ASSIGN_OR_RETURN(node.body, ParseScope({"else", "endfor"}, true));
    if (tokens_.Next().text == "else") {
      VX_ASSIGN_OR_RETURN(node.otherwise, ParseScope({"endfor"}, false));
      tokens_.Next();
    }
    statement.node = std::move(node);
    return {};
  }

  Status ParseSet(Statement& statement) {
    tokens_.Next();
    SetStatement node;
    while (true) {
      SetTarget target;
      VX_ASSIGN_OR_RETURN(target.name, ParseVariable());
      if (tokens_.SkipOperator(".")) {
        VX_ASSIGN_OR_RETURN(target.attribute, tokens_.ExpectName("an attribute's name"));
        if (target.attribute[0] == '_') {
          return tokens_.Expected("a namespace's attribute that does not begin with \"_\"");
        }
      }
      node.targets.push_back(std::move(target));
      if (!tokens_.SkipOperator(",")) break;
      node.unpacks = true;
      if (tokens_.AtOperator("=")) break;
    }
    if (tokens_.SkipOperator("=")) {
      VX_ASSIGN_OR_RETURN(node.value, expressions_.ParseTuple(true));
    } else {
      if (node.unpacks) return tokens_.Expected("=");
      VX_ASSIGN_OR_RETURN(node.filtered_body, ParseBodyFilters());
      VX_ASSIGN_OR_RETURN(node.body, ParseScope({"endset"}, false));
      tokens_.Next();
    }
    statement.node = std::move(node);
    return {};
  }

  // "| filter" of a {% set %} block, or null.
  Result<ExpressionPtr> ParseBodyFilters() {
    if (!tokens_.AtOperator("|")) return ExpressionPtr();
    Expression body;
    body.kind = ExpressionKind::kSetBody;
    body.line = tokens_.line();
    return expressions_.ParseFilters(std::make_unique<const Expression>(std::move(body)));
  }

  Status ParseMacro(Statement& statement) {
    if (scopes_ > 0) return tokens_.Refused("a macro inside of another block than an if");
    tokens_.Next();
    MacroStatement node;
    VX_ASSIGN_OR_RETURN(node.name, ParseVariable());
    VX_RETURN_IF_ERROR(tokens_.ExpectOperator("("));
    while (!tokens_.SkipOperator(")")) {
      if (!node.parameters.empty()) VX_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      MacroStatement::Parameter parameter;
      VX_ASSIGN_OR_RETURN(parameter.name, ParseVariable());
      if (tokens_.SkipOperator("=")) {
        VX_ASSIGN_OR_RETURN(parameter.default_value, expressions_.Parse());
      } else if (!node.parameters.empty() && node.parameters.back().default_value != nullptr) {
        return tokens_.Expected("a default value");
      }
      node.parameters.push_back(std::move(parameter));
    }
    macros_.insert(node.name);
    expressions_.set_in_macro(true);
    VX_ASSIGN_OR_RETURN(node.body, ParseScope({"endmacro"}, false));
    expressions_.set_in_macro(false);
    tokens_.Next();
    if (tokens_.AtName(node.name)) tokens_.Next();  // {% endmacro name %}
    statement.node = std::move(node);
    return {};
  }

  Status ParseGeneration(Statement& statement) {
    tokens_.Next();
    VX_ASSIGN_OR_RETURN(Block body, ParseScope({"endgeneration"}, false));
    tokens_.Next();
    statement.node = GenerationStatement{std::move(body)};
    return {};
  }

  Status ParseJump(Statement& statement) {
    if (loops_ == 0) return tokens_.Expected("a loop around a jump");
    if (tokens_.Next().text == "break") {
      statement.node = BreakStatement{};
    } else {
      statement.node = ContinueStatement{};
    }
    return {};
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  std::set<std::string> macros_;
  int depth_ = 0;
  int scopes_ = 0;
  int loops_ = 0;
};

}  // namespace

Result<Block> ParseTemplate(std::string_view source) {
  VX_ASSIGN_OR_RETURN(std::vector<Token> tokens, Tokenize(source));
  return TemplateParser(std::move(tokens)).Run();
}

}  // namespace vexact
