#include "common/chat_prompt.h"

namespace vexact {

Result<std::vector<int32_t>> EncodeChat(const Result<ChatTemplate>& chat, const ChatInput& input,
                                        const Tokenizer* tokenizer) {
  if (!chat.ok()) return chat.error();
  if (tokenizer == nullptr) {
    return InvalidArgument("messages: expected a model with a tokenizer, found none");
  }
  VX_ASSIGN_OR_RETURN(const std::string prompt, chat->Render(input));
  return tokenizer->Encode(prompt, {.add_special_tokens = false});
}

std::tm LocalTime() {
  const std::time_t now = std::time(nullptr);
  std::tm local = {};
  localtime_r(&now, &local);
  return local;
}

}  // namespace vexact
