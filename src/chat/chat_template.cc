#include "chat/chat_template.h"

#include <optional>
#include <utility>

#include "chat/interpreter.h"
#include "chat/messages.h"
#include "chat/parser.h"
#include "tokenizer/utf8.h"

namespace vexact {
namespace {

Error WithPrefix(std::string_view prefix, const Error& error) {
  return {error.code, fmt::format("{}: {}", prefix, error.message)};
}

Result<Block> ParseChecked(std::string_view text, std::string_view name) {
  if (text.size() > ChatTemplate::kMaxTemplateBytes) {
    return InvalidArgument("{}: expected at most {} bytes, found {}", name,
                           ChatTemplate::kMaxTemplateBytes, text.size());
  }
  if (!IsValidUtf8(text)) return InvalidArgument("{}: expected UTF-8, found other bytes", name);
  Result<Block> block = ParseTemplate(text);
  if (!block.ok()) return WithPrefix(name, block.error());
  return block;
}

}  // namespace

struct ChatTemplate::Parsed {
  Block chat;
  std::optional<Block> tool_use;  // instead of `chat` where tools are given
  Dict special_tokens;
};

Result<ChatTemplate> ChatTemplate::Parse(const ChatTemplateSource& source) {
  auto parsed = std::make_shared<Parsed>();
  VX_ASSIGN_OR_RETURN(parsed->chat, ParseChecked(source.text, "chat template"));
  if (!source.tool_use_text.empty()) {
    VX_ASSIGN_OR_RETURN(parsed->tool_use,
                        ParseChecked(source.tool_use_text, "chat template tool_use"));
  }
  for (const auto& [name, text] : source.special_tokens) {
    if (!IsValidUtf8(text)) {  // a vocabulary's token may be a part of a character
      return InvalidArgument("chat template: {}: expected UTF-8, found other bytes", name);
    }
    parsed->special_tokens.Set(std::make_shared<const std::string>(name), Value::FromText(text));
  }
  return ChatTemplate(std::move(parsed));
}

Result<std::string> ChatTemplate::Render(const ChatInput& input, const ChatLimits& limits) const {
  VX_ASSIGN_OR_RETURN(const Value messages, PrepareMessages(input.messages));
  VX_RETURN_IF_ERROR(CheckTools(input.tools));
  Dict variables = parsed_->special_tokens;
  const auto set = [&variables](const char* name, const Value& value) {
    variables.Set(std::make_shared<const std::string>(name), value);
  };
  for (const Dict::Entry& entry : input.variables.entries) variables.Set(entry.key, entry.value);
  set("messages", messages);
  set("tools", input.tools);
  if (input.variables.Find("documents") == nullptr) set("documents", Value::FromNone());
  set("add_generation_prompt", Value::FromBool(input.add_generation_prompt));
  const bool uses_tools = parsed_->tool_use.has_value() && !input.tools.is_none();
  const Block& block = uses_tools ? *parsed_->tool_use : parsed_->chat;
  Result<std::string> prompt = Interpreter(block, variables, input.now, limits).Run();
  if (!prompt.ok()) return WithPrefix("chat template", prompt.error());
  return prompt;
}

}  // namespace vexact
