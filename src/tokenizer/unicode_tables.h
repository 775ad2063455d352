// What Hugging Face `tokenizers` thinks of every code point, measured from the library itself by
// tools/make_unicode_tables.py. Its regex engine, standard library, regex crate and normalisation
// crate follow different versions of Unicode; the tables follow each of them.
#ifndef VEXACT_TOKENIZER_UNICODE_TABLES_H_
#define VEXACT_TOKENIZER_UNICODE_TABLES_H_

#include <cstdint>
#include <span>

namespace vexact {

// Bits of a code point's class. Exactly one of the first four is set.
enum CharClass : uint8_t {
  kLetter = 1,     // \p{L} of the library's split regexes
  kNumber = 2,     // \p{N}
  kSpace = 4,      // \s
  kOther = 8,      // [^\s\p{L}\p{N}]
  kNumeric = 16,   // what its Digits pre-tokenizer isolates: a later Unicode's \p{N}
  kWord = 32,      // \w beside an added token with single_word
  kStripped = 64,  // \s beside an added token with lstrip or rstrip
};

// Code points from `first` up to the next run's have class bits `classes`.
struct CharClassRun {
  char32_t first;
  uint8_t classes;
};

struct CodePointRange {
  char32_t first, last;  // inclusive
};

// Sorted by `first`; the first run begins at 0.
std::span<const CharClassRun> CharClassRuns();

// Code points that later versions of Unicode decompose, compose or reorder, and that the library's
// version (9) passes through. Sorted.
std::span<const CodePointRange> NormalizationBarriers();

}  // namespace vexact

#endif  // VEXACT_TOKENIZER_UNICODE_TABLES_H_
