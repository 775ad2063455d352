#include "chat/template_source.h"

#include <string>

#include "chat/json.h"
#include "chat/value.h"

namespace vexact {
namespace {

// A text, or the "content" of an added token's object.
const std::string* TokenText(const Value& token) {
  const Value* content = token.dict() ? token.dict()->Find("content") : nullptr;
  return content != nullptr ? content->text() : token.text();
}

Status ReadTemplates(const Value& templates, const std::string& file_name,
                     ChatTemplateSource& source) {
  if (const std::string* text = templates.text()) {
    source.text = *text;
    return {};
  }
  const Error error = InvalidArgument(
      "{}: \"chat_template\": expected a string or a list of {{\"name\", \"template\"}}, found {}",
      file_name, templates.TypeName());
  if (!templates.sequence()) return error;
  for (const Value& item : templates.sequence()->items) {
    const Value* name = item.dict() ? item.dict()->Find("name") : nullptr;
    const Value* text = item.dict() ? item.dict()->Find("template") : nullptr;
    if (!name || !text || !name->text() || !text->text()) return error;
    if (*name->text() == "default") source.text = *text->text();
    if (*name->text() == "tool_use") source.tool_use_text = *text->text();
  }
  return {};
}

}  // namespace

Result<ChatTemplateSource> ChatTemplateFromHf(std::string_view config_json, std::string_view jinja,
                                              const std::string& file_name) {
  ChatTemplateSource source;
  Value config = Value::FromDict({});
  if (!config_json.empty()) {
    VX_ASSIGN_OR_RETURN(config, ParseChatJson(config_json, file_name));
  }
  if (config.dict() == nullptr) {
    return InvalidArgument("{}: expected an object, found {}", file_name, config.TypeName());
  }
  const Value* templates = config.dict()->Find("chat_template");
  if (!jinja.empty()) {
    source.text = jinja;
  } else if (templates != nullptr && !templates->is_none()) {
    VX_RETURN_IF_ERROR(ReadTemplates(*templates, file_name, source));
  }
  if (source.text.empty()) {
    return NotFound(
        "{}: expected a chat template (\"chat_template\", or a file "
        "chat_template.jinja beside it), found none",
        file_name);
  }
  for (const char* name : {"bos_token", "eos_token", "unk_token", "sep_token", "pad_token",
                           "cls_token", "mask_token"}) {
    const Value* token = config.dict()->Find(name);
    const std::string* text = token != nullptr ? TokenText(*token) : nullptr;
    if (text != nullptr) source.special_tokens.emplace_back(name, *text);
  }
  return source;
}

}  // namespace vexact
