// Pre-tokenisation: a text is cut into words, and byte pair encoding never crosses a cut.
//
// The families' split regexes are few, so each is a matcher of a page here instead of a pattern
// for a regex library: a library's Unicode version would differ from Hugging Face's (PCRE2 10.42
// follows Unicode 14, oniguruma's \p{L} in tokenizers 0.23.3 has 9,272 more letters), and a
// hand-written scan is linear in time without match or stack limits, on any input.
#ifndef VEXACT_TOKENIZER_SPLIT_H_
#define VEXACT_TOKENIZER_SPLIT_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vexact {

enum class Splitter {
  kGpt2,           // the regex of GPT-2 and of ByteLevel(use_regex=true)
  kLlama3,         // the regex of Llama 3: numbers in threes
  kQwen2,          // the regex of Qwen2, Qwen2.5 and Qwen3: single numbers
  kSingleNumbers,  // Digits(individual_digits=true)
  kNumberRuns,     // Digits(individual_digits=false)
};

// The splitter that is the regex of a "Split" pre-tokenizer with behavior "Isolated".
std::optional<Splitter> SplitterOfRegex(std::string_view regex);

// Appends where each piece of `text` ends, plus `offset`; the last end is text.size() + offset.
// An empty text has no pieces. O(n). Requires: text is valid UTF-8.
void AppendPieceEnds(Splitter splitter, std::string_view text, size_t offset,
                     std::vector<size_t>& ends);

}  // namespace vexact

#endif  // VEXACT_TOKENIZER_SPLIT_H_
