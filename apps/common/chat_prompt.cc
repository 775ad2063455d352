#include "common/chat_prompt.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "chat/json.h"

namespace vexact {
namespace {

SharedText Shared(std::string text) { return std::make_shared<const std::string>(std::move(text)); }

// The text of {"type": "text", "text": TEXT}.
Result<std::string> TextOfPart(const Value& part, size_t message, size_t place) {
  const Value* type = part.dict() == nullptr ? nullptr : part.dict()->Find("type");
  const bool has_type = type != nullptr && type->text() != nullptr;
  if (has_type && *type->text() != "text") {
    return Unsupported("messages[{}].content[{}]: {}: other media than text: not supported yet",
                       message, place, *type->text());
  }
  const Value* text = has_type ? part.dict()->Find("text") : nullptr;
  if (text != nullptr && text->text() != nullptr) return *text->text();
  return InvalidArgument("messages[{}].content[{}]: expected a type and a text, found neither",
                         message, place);
}

// Whether the template itself makes text of a content that is a list of parts. Most do not, and
// some print the list.
bool ReadsParts(const ChatTemplate& chat) {
  constexpr const char* kText = "a text of its own";
  Dict part;
  part.Set(Shared("type"), Value::FromText("text"));
  part.Set(Shared("text"), Value::FromText(kText));
  Dict message;
  message.Set(Shared("role"), Value::FromText("user"));
  message.Set(Shared("content"), Value::FromList({Value::FromDict(std::move(part))}));
  ChatInput input;
  input.messages = Value::FromList({Value::FromDict(std::move(message))});
  const Result<std::string> prompt = chat.Render(input);
  const auto has = [&](const char* text) { return prompt->find(text) != std::string::npos; };
  return prompt.ok() && has(kText) && !has("'type'") && !has("\"type\"");
}

// A message whose content is a list of texts, with `joins` as one text of them on lines of their
// own, as vLLM has it.
Result<Value> WithText(const Dict& message, size_t index, bool joins) {
  std::string joined;
  const std::vector<Value>& parts = message.Find("content")->sequence()->items;
  for (size_t i = 0; i < parts.size(); ++i) {
    VX_ASSIGN_OR_RETURN(const std::string text, TextOfPart(parts[i], index, i));
    joined += (i == 0 ? "" : "\n") + text;
  }
  Dict with_text;
  for (const Dict::Entry& entry : message.entries) {
    with_text.Set(entry.key,
                  joins && *entry.key == "content" ? Value::FromText(joined) : entry.value);
  }
  return Value::FromDict(std::move(with_text));
}

// OpenAI's lists of parts as what the template reads.
Result<Value> WithTexts(const Value& messages, const ChatTemplate& chat) {
  const auto has_parts = [](const Value& message) {
    const Value* content = message.dict() == nullptr ? nullptr : message.dict()->Find("content");
    return content != nullptr && content->sequence() != nullptr;
  };
  if (messages.sequence() == nullptr) return messages;  // the template's to refuse
  std::vector<Value> made = messages.sequence()->items;
  if (std::ranges::none_of(made, has_parts)) return messages;
  const bool joins = !ReadsParts(chat);
  for (size_t i = 0; i < made.size(); ++i) {
    if (!has_parts(made[i])) continue;
    VX_ASSIGN_OR_RETURN(made[i], WithText(*made[i].dict(), i, joins));
  }
  return Value::FromList(std::move(made));
}

// A call's arguments as templates read them. OpenAI's clients send an object as its JSON text, and
// "" where there are none.
Result<Value> ParseArguments(const Value& arguments, const std::string& where) {
  const std::string* const text = arguments.text();
  const bool is_empty = text != nullptr ? text->empty() : arguments.is_none();
  if (is_empty) return Value::FromDict({});
  Value value = arguments;
  if (text != nullptr) {
    VX_ASSIGN_OR_RETURN(value, ParseChatJson(*text, where));
  }
  if (value.dict() != nullptr) return value;
  return InvalidArgument("{}: expected an object or the JSON text of one, found {}", where,
                         value.TypeName());
}

// {"function": {"arguments": TEXT}} with what the text says in its place.
Result<Value> WithArguments(const Value& call, const std::string& where) {
  const Value* const given = call.dict() == nullptr ? nullptr : call.dict()->Find("function");
  if (given == nullptr || given->dict() == nullptr) return call;  // the template's to refuse
  Dict function = *given->dict();
  const Value* const arguments = function.Find("arguments");
  VX_ASSIGN_OR_RETURN(Value parsed,
                      ParseArguments(arguments == nullptr ? Value::FromNone() : *arguments,
                                     where + ".function.arguments"));
  function.Set(Shared("arguments"), std::move(parsed));
  Dict made = *call.dict();
  made.Set(Shared("function"), Value::FromDict(std::move(function)));
  return Value::FromDict(std::move(made));
}

// The calls of an assistant's earlier turns with their arguments parsed, as vLLM and SGLang do it:
// templates iterate over them. An empty list of calls is none, as in vLLM, since templates ask
// whether there is one.
Result<Value> WithCalls(const Value& messages) {
  if (messages.sequence() == nullptr) return messages;  // the template's to refuse
  std::vector<Value> made = messages.sequence()->items;
  for (size_t i = 0; i < made.size(); ++i) {
    if (made[i].dict() == nullptr) continue;
    Dict message = *made[i].dict();
    const Value* const role = message.Find("role");
    const Value* const calls = message.Find("tool_calls");
    const bool is_assistant =
        role != nullptr && role->text() != nullptr && *role->text() == "assistant";
    if (!is_assistant || calls == nullptr || calls->sequence() == nullptr) continue;
    std::vector<Value> parsed = calls->sequence()->items;
    for (size_t c = 0; c < parsed.size(); ++c) {
      VX_ASSIGN_OR_RETURN(
          parsed[c], WithArguments(parsed[c], fmt::format("messages[{}].tool_calls[{}]", i, c)));
    }
    message.Set(Shared("tool_calls"),
                parsed.empty() ? Value::FromNone() : Value::FromList(std::move(parsed)));
    made[i] = Value::FromDict(std::move(message));
  }
  return Value::FromList(std::move(made));
}

}  // namespace

Result<std::vector<int32_t>> EncodeChat(const Result<ChatTemplate>& chat, const ChatInput& input,
                                        const Tokenizer* tokenizer) {
  if (!chat.ok()) return chat.error();
  if (tokenizer == nullptr) {
    return InvalidArgument("messages: expected a model with a tokenizer, found none");
  }
  ChatInput prepared = input;
  VX_ASSIGN_OR_RETURN(prepared.messages, WithTexts(input.messages, *chat));
  VX_ASSIGN_OR_RETURN(prepared.messages, WithCalls(prepared.messages));
  VX_ASSIGN_OR_RETURN(const std::string prompt, chat->Render(prepared));
  return tokenizer->Encode(prompt, {.add_special_tokens = false});
}

std::tm LocalTime() {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  return local;
}

}  // namespace vexact
