// What transformers does to messages and tools before a template sees them.
#ifndef VEXACT_CHAT_MESSAGES_H_
#define VEXACT_CHAT_MESSAGES_H_

#include "chat/value.h"

namespace vexact {

// Fields of messages that are none are dropped, since many templates would print "None". A
// message's reasoning comes under several names: the first of reasoning_content, thinking and
// reasoning is given to the template as both reasoning_content and (if the message has none)
// thinking. Error: not a list of dicts, or empty.
Result<Value> PrepareMessages(const Value& messages);

// Error: neither none nor a list of dicts.
Status CheckTools(const Value& tools);

}  // namespace vexact

#endif  // VEXACT_CHAT_MESSAGES_H_
