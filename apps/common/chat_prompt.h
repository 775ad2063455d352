// A chat's prompt as token ids.
#ifndef VEXACT_COMMON_CHAT_PROMPT_H_
#define VEXACT_COMMON_CHAT_PROMPT_H_

#include <cstdint>
#include <ctime>
#include <vector>

#include "chat/chat_template.h"
#include "tokenizer/tokenizer.h"

namespace vexact {

// What the template makes of the chat, tokenised with nothing added, as transformers does: the
// template writes the special tokens itself. A content that is a list of OpenAI's text parts is
// their texts on lines of their own, unless the template reads such lists. The arguments of an
// assistant's tool_calls, JSON text of an object in OpenAI's words, are that object. `chat` is a
// model's template or why it has none; `tokenizer` may be null, which is an error.
Result<std::vector<int32_t>> EncodeChat(const Result<ChatTemplate>& chat, const ChatInput& input,
                                        const Tokenizer* tokenizer);

// Here and now, for ChatInput::now.
std::tm LocalTime();

}  // namespace vexact

#endif  // VEXACT_COMMON_CHAT_PROMPT_H_
