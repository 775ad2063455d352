// Unicode normalisation form C exactly as Hugging Face `tokenizers` computes it.
#ifndef VEXACT_TOKENIZER_NORMALIZATION_H_
#define VEXACT_TOKENIZER_NORMALIZATION_H_

#include <string>
#include <string_view>

namespace vexact {

// NFC of valid UTF-8. The library follows Unicode 9: a code point that gained a decomposition or a
// combining class later is a letter without either here. Normalisation of assigned characters never
// changes, so any utf8proc that knows Unicode 9 or later gives the same answer.
// O(n log n), also for a text that is one run of combining marks.
std::string NormalizeNfc(std::string_view text);

}  // namespace vexact

#endif  // VEXACT_TOKENIZER_NORMALIZATION_H_
