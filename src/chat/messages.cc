#include "chat/messages.h"

namespace vexact {
namespace {

SharedText Key(const char* name) { return std::make_shared<const std::string>(name); }

Value PrepareMessage(const Dict& message) {
  Dict prepared;
  Value reasoning = Value::FromNone();
  for (const char* name : {"reasoning", "thinking", "reasoning_content"}) {  // the last one counts
    const Value* value = message.Find(name);
    if (value != nullptr && !value->is_none()) reasoning = *value;
  }
  if (!reasoning.is_none()) prepared.Set(Key("thinking"), reasoning);
  for (const Dict::Entry& entry : message.entries) {
    if (!entry.value.is_none()) prepared.Set(entry.key, entry.value);
  }
  if (!reasoning.is_none()) prepared.Set(Key("reasoning_content"), reasoning);
  return Value::FromDict(std::move(prepared));
}

// "messages[3]: expected a dict, found str".
Status CheckDicts(const Value& list, const char* name) {
  if (!list.IsSequence(SequenceKind::kList)) {
    return InvalidArgument("{}: expected a list of dicts, found {}", name, list.TypeName());
  }
  const std::vector<Value>& items = list.sequence()->items;
  for (size_t i = 0; i < items.size(); ++i) {
    if (items[i].dict() != nullptr) continue;
    return InvalidArgument("{}[{}]: expected a dict, found {}", name, i, items[i].TypeName());
  }
  return {};
}

}  // namespace

Result<Value> PrepareMessages(const Value& messages) {
  VX_RETURN_IF_ERROR(CheckDicts(messages, "messages"));
  if (messages.sequence()->items.empty()) {
    return InvalidArgument("messages: expected at least one, found none");
  }
  std::vector<Value> prepared;
  for (const Value& message : messages.sequence()->items) {
    prepared.push_back(PrepareMessage(*message.dict()));
  }
  return Value::FromList(std::move(prepared));
}

Status CheckTools(const Value& tools) {
  return tools.is_none() ? Status() : CheckDicts(tools, "tools");
}

}  // namespace vexact
