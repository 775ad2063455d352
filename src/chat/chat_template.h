// ChatTemplate: messages to the prompt that a model was trained on, as transformers 5's
// apply_chat_template makes it.
//
//   VX_ASSIGN_OR_RETURN(const ChatTemplate chat, ChatTemplate::Parse(source));
//   ChatInput input;
//   VX_ASSIGN_OR_RETURN(input.messages, ParseChatJson(R"([{"role": "user", ...}])", "messages"));
//   VX_ASSIGN_OR_RETURN(const std::string prompt, chat.Render(input));
//
// Templates are programs in Jinja that come with a model, so they are a stranger's: an interpreter
// of our own runs what templates use of the language and nothing else. What it does not know is
// refused by name when the template is parsed; what a template may spend is bounded (ChatLimits).
// A prompt is tokenised with add_special_tokens false: the template writes them itself.
#ifndef VEXACT_CHAT_CHAT_TEMPLATE_H_
#define VEXACT_CHAT_CHAT_TEMPLATE_H_

#include <ctime>
#include <memory>
#include <string>

#include "base/result.h"
#include "chat/meter.h"
#include "chat/template_source.h"
#include "chat/value.h"

namespace vexact {

// Every text in it is UTF-8.
struct ChatInput {
  Value messages;  // a list of dicts, at least one; fields that are none are dropped
  Value tools = Value::FromNone();  // a list of dicts (JSON schemas), or none
  bool add_generation_prompt = true;
  Dict variables;    // what else the template sees: enable_thinking, ...
  std::tm now = {};  // local time, for templates that write a date
};

// Immutable; copies share the parsed templates. Any thread may call Render.
class ChatTemplate {
 public:
  static constexpr size_t kMaxTemplateBytes = size_t{512} << 10;

  // Errors begin with "chat template: line N: ".
  static Result<ChatTemplate> Parse(const ChatTemplateSource& source);

  // The prompt. Errors: messages or tools of another shape; a template's raise_exception, with its
  // message; an operation that its values do not have; a limit (kResourceExhausted).
  Result<std::string> Render(const ChatInput& input, const ChatLimits& limits = {}) const;

 private:
  struct Parsed;
  explicit ChatTemplate(std::shared_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}

  std::shared_ptr<const Parsed> parsed_;
};

}  // namespace vexact

#endif  // VEXACT_CHAT_CHAT_TEMPLATE_H_
