#include "tokenizer/token_table.h"

#include <functional>

#include "tokenizer/byte_level.h"

namespace vexact {

Status TokenTable::Add(std::string_view text, int64_t id, Origin origin) {
  if (id < 0 || id >= kMaxTokens) {
    return InvalidArgument("token \"{}\": expected an id from 0 to {}, found {}", text,
                           kMaxTokens - 1, id);
  }
  const auto new_id = static_cast<int32_t>(id);
  if (const std::optional<int32_t> known = FindText(text)) {
    if (*known == new_id) return {};
    return InvalidArgument("token \"{}\": expected one id, found {} and {}", text, *known, new_id);
  }
  if (Contains(id)) {
    return InvalidArgument("token id {}: expected one text, found \"{}\" and \"{}\"", new_id,
                           Text(new_id), text);
  }
  const std::optional<std::string> bytes = ByteLevelBytes(text);
  const std::string_view kept = bytes ? std::string_view(*bytes) : text;
  if (id >= size()) tokens_.resize(static_cast<size_t>(id) + 1);
  tokens_[static_cast<size_t>(id)] = {pool_.size(), static_cast<uint32_t>(kept.size()),
                                      bytes ? Kind::kByteLevel : Kind::kPlain, origin};
  pool_ += kept;
  ++num_tokens_;
  if (num_tokens_ * 2 > slots_.size()) {
    Grow();
  } else {
    Index(new_id);
  }
  return {};
}

std::string_view TokenTable::Bytes(int32_t id) const {
  VX_CHECK(Contains(id));
  return BytesOf(tokens_[static_cast<size_t>(id)]);
}

std::string TokenTable::Text(int32_t id) const {
  const std::string_view bytes = Bytes(id);
  const bool is_byte_level = tokens_[static_cast<size_t>(id)].kind == Kind::kByteLevel;
  return is_byte_level ? ByteLevelText(bytes) : std::string(bytes);
}

std::optional<int32_t> TokenTable::FindText(std::string_view text) const {
  const std::optional<std::string> bytes = ByteLevelBytes(text);
  return bytes ? Find(*bytes, Kind::kByteLevel) : Find(text, Kind::kPlain);
}

std::optional<int32_t> TokenTable::FindModelBytes(std::string_view bytes) const {
  const std::optional<int32_t> id = Find(bytes, Kind::kByteLevel);
  return id && tokens_[static_cast<size_t>(*id)].origin == Origin::kModel ? id : std::nullopt;
}

std::optional<int32_t> TokenTable::Find(std::string_view bytes, Kind kind) const {
  if (slots_.empty()) return std::nullopt;
  const size_t mask = slots_.size() - 1;
  for (size_t slot = std::hash<std::string_view>()(bytes) & mask;; slot = (slot + 1) & mask) {
    const int32_t id = slots_[slot];
    if (id < 0) return std::nullopt;
    const Token& token = tokens_[static_cast<size_t>(id)];
    if (token.kind == kind && BytesOf(token) == bytes) return id;
  }
}

void TokenTable::Index(int32_t id) {
  const size_t mask = slots_.size() - 1;
  size_t slot = std::hash<std::string_view>()(BytesOf(tokens_[static_cast<size_t>(id)])) & mask;
  while (slots_[slot] >= 0) slot = (slot + 1) & mask;
  slots_[slot] = id;
}

void TokenTable::Grow() {
  slots_.assign(slots_.empty() ? 16 : slots_.size() * 2, -1);
  for (int32_t id = 0; id < size(); ++id) {
    if (Contains(id)) Index(id);
  }
}

}  // namespace vexact
