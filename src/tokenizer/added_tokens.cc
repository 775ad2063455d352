#include "tokenizer/added_tokens.h"

#include "tokenizer/char_class.h"

namespace vexact {
namespace {

uint64_t Edge(int32_t node, char byte) {
  return static_cast<uint64_t>(node) << 8 | static_cast<unsigned char>(byte);
}

// Where the whitespace that ends at `end` begins, no further left than `limit`.
size_t BeginOfSpaces(std::string_view text, size_t end, size_t limit) {
  while (end > limit) {
    const CodePoint c = DecodeUtf8Before(text, end);
    if ((ClassOf(c.value) & kStripped) == 0) break;
    end -= c.size;
  }
  return end;
}

size_t EndOfSpaces(std::string_view text, size_t begin) {
  for (CharAt c(text, begin); c.Is(kStripped); c = CharAt(text, begin)) begin += c.size;
  return begin;
}

}  // namespace

AddedTokenFinder::AddedTokenFinder(std::span<const AddedToken> tokens) : token_of_node_(1, -1) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    const AddedToken& token = tokens[i];
    tokens_.push_back({token.id, token.single_word, token.lstrip, token.rstrip, token.special});
    if (token.content.empty()) continue;
    is_first_byte_[static_cast<unsigned char>(token.content[0])] = true;
    int32_t node = 0;
    for (const char byte : token.content) {
      const auto [edge, is_new] =
          edges_.try_emplace(Edge(node, byte), static_cast<int32_t>(token_of_node_.size()));
      if (is_new) token_of_node_.push_back(-1);
      node = edge->second;
    }
    int32_t& at_node = token_of_node_[static_cast<size_t>(node)];
    if (at_node < 0) at_node = static_cast<int32_t>(i);
  }
}

AddedTokenFinder::Match AddedTokenFinder::FindAt(std::string_view text, size_t position) const {
  Match longest;
  int32_t node = 0;
  for (size_t i = position; i < text.size(); ++i) {
    const auto edge = edges_.find(Edge(node, text[i]));
    if (edge == edges_.end()) break;
    node = edge->second;
    const int32_t token = token_of_node_[static_cast<size_t>(node)];
    if (token >= 0) longest = {i + 1 - position, token};
  }
  return longest;
}

bool AddedTokenFinder::IsSingleWord(std::string_view text, size_t begin, size_t end) const {
  const bool word_before = begin > 0 && (ClassOf(DecodeUtf8Before(text, begin).value) & kWord) != 0;
  return !word_before && !CharAt(text, end).Is(kWord);
}

void AddedTokenFinder::Split(std::string_view text, bool find_special,
                             std::vector<TextPart>& parts) const {
  size_t done = 0;  // the end of the last part
  for (size_t i = 0; i < text.size();) {
    const bool may_begin = is_first_byte_[static_cast<unsigned char>(text[i])];
    const Match match = may_begin ? FindAt(text, i) : Match{};
    if (match.size == 0) {
      ++i;
      continue;
    }
    size_t begin = i;
    size_t end = i + match.size;
    i = end;  // also when the match does not count: what it covers is not searched again
    const Flags& token = tokens_[static_cast<size_t>(match.token)];
    if (token.special && !find_special) continue;
    if (token.single_word && !IsSingleWord(text, begin, end)) continue;
    if (token.lstrip) begin = BeginOfSpaces(text, begin, done);
    if (token.rstrip) end = EndOfSpaces(text, end);
    if (done < begin) parts.push_back({text.substr(done, begin - done), -1});
    parts.push_back({text.substr(begin, end - begin), token.id});
    done = end;
  }
  if (done < text.size()) parts.push_back({text.substr(done), -1});
}

}  // namespace vexact
