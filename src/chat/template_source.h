// Where a model's chat template is written, and the special tokens that it may name.
#ifndef VEXACT_CHAT_TEMPLATE_SOURCE_H_
#define VEXACT_CHAT_TEMPLATE_SOURCE_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace vexact {

struct ChatTemplateSource {
  std::string text;           // the only template, or the one named "default"
  std::string tool_use_text;  // the one named "tool_use", for chats with tools; may be empty
  std::vector<std::pair<std::string, std::string>> special_tokens;  // ("bos_token", its text), ...
};

// Of a Hugging Face directory: `config_json` is the content of tokenizer_config.json, `jinja` that
// of chat_template.jinja, which counts where both have a template; either may be empty.
// "chat_template" is a text or a list of {"name", "template"}. Errors: no template (kNotFound), or
// fields of other types; they begin with `file_name`.
Result<ChatTemplateSource> ChatTemplateFromHf(std::string_view config_json, std::string_view jinja,
                                              const std::string& file_name);

}  // namespace vexact

#endif  // VEXACT_CHAT_TEMPLATE_SOURCE_H_
