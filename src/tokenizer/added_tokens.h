// Added tokens: texts that are one token wherever they occur, found before anything else is done.
#ifndef VEXACT_TOKENIZER_ADDED_TOKENS_H_
#define VEXACT_TOKENIZER_ADDED_TOKENS_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace vexact {

// The fields of tokenizer.json's "added_tokens".
struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool single_word = false;  // only where no \w is beside it
  bool lstrip = false;       // takes the whitespace before it
  bool rstrip = false;       // takes the whitespace after it
  bool normalized = false;   // is looked for in the normalised text
  bool special = false;
};

// A part of a text: an added token, or the text between two of them.
struct TextPart {
  std::string_view text;
  int32_t id = -1;  // of the added token; -1 for text
};

// Finds the longest token at the leftmost place, then goes on behind it: Aho-Corasick's
// "leftmost-longest" as Hugging Face uses it, with its rules for the flags.
class AddedTokenFinder {
 public:
  explicit AddedTokenFinder(std::span<const AddedToken> tokens);

  // Appends the parts of `text`, valid UTF-8, in order. With `find_special` false, special tokens
  // are text. O(n * longest token) at worst.
  void Split(std::string_view text, bool find_special, std::vector<TextPart>& parts) const;

 private:
  struct Flags {
    int32_t id;
    bool single_word, lstrip, rstrip, special;
  };
  struct Match {
    size_t size = 0;  // 0: none
    int32_t token = -1;
  };
  Match FindAt(std::string_view text, size_t position) const;
  bool IsSingleWord(std::string_view text, size_t begin, size_t end) const;

  std::vector<Flags> tokens_;
  // A trie: an edge is (node << 8 | byte) -> node; node 0 is the root.
  std::unordered_map<uint64_t, int32_t> edges_;
  std::vector<int32_t> token_of_node_;  // -1: no token ends here
  std::array<bool, 256> is_first_byte_ = {};
};

}  // namespace vexact

#endif  // VEXACT_TOKENIZER_ADDED_TOKENS_H_
