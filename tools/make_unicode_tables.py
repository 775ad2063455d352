#!/usr/bin/env python3
"""Writes src/tokenizer/unicode_tables.cc: what Hugging Face `tokenizers` thinks of every code point.

The library's regex engine (oniguruma), its Rust standard library, its regex crate and its
normalisation crate each carry their own version of Unicode. Nothing is assumed about them: every
code point is put through the real library and its answer is written down.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3 unicodedata2==18.0.0
    venv/bin/python tools/make_unicode_tables.py > src/tokenizer/unicode_tables.cc
"""

import sys
import unicodedata2
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
CHUNK = 4096
LETTER, NUMBER, SPACE, OTHER, NUMERIC, WORD, STRIPPED = 1, 2, 4, 8, 16, 32, 64


def chunks():
    for i in range(0, len(CODE_POINTS), CHUNK):
        yield CODE_POINTS[i:i + CHUNK]


def matched(pre_tokenizer):
    """The code points that the pre-tokenizer cuts out of text that alternates them with '|'."""
    found = set()
    for chunk in chunks():
        text = "".join(chr(c) + "|" for c in chunk if c != ord("|"))
        for piece, _ in pre_tokenizer.pre_tokenize_str(text):
            if len(piece) == 1 and piece != "|":
                found.add(ord(piece))
    return found


def regex_class(pattern):
    return matched(pre_tokenizers.Split(Regex(pattern), "removed", invert=True))


def beside_added_token(**flags):
    """The code points c for which "<x>" + c does not give the added token's plain [0, 3) span."""
    tokenizer = Tokenizer(models.BPE(vocab={"x": 0}, merges=[]))
    tokenizer.add_tokens([AddedToken("<x>", normalized=False, **flags)])
    found = set()
    for chunk in chunks():
        for c, encoding in zip(chunk, tokenizer.encode_batch(["<x>" + chr(c) for c in chunk])):
            spans = [s for i, s in zip(encoding.ids, encoding.offsets) if i == 1]
            if spans != [(0, 3)]:
                found.add(c)
    return found


def contraction_letters():
    """The code points that `(?i:'s|'t|'m|'d)` accepts after the apostrophe, and so for 're ..."""
    pattern = pre_tokenizers.Split(
        Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"), "removed", invert=True)
    found = set()
    for head in ["'", "'l", "'r", "'v"]:
        for chunk in chunks():
            text = "".join(head + chr(c) + "\0" for c in chunk)
            found.update(piece for piece, _ in pattern.pre_tokenize_str(text))
    for tail in "lerv":
        for chunk in chunks():
            text = "".join("'" + chr(c) + tail + "\0" for c in chunk)
            found.update(piece for piece, _ in pattern.pre_tokenize_str(text))
    expected = {"'" + a + b for heads, tails in [("sSdDmMtT\u017f", [""]), ("lL", "lL"),
                                                  ("rRvV", "eE")] for a in heads for b in tails}
    assert found <= expected, found - expected
    assert {f.lower() for f in found} == {f.lower() for f in expected}


def normalisation_barriers():
    """Code points that Unicode 18 normalises and that the library, older, passes through."""
    nfc, nfd = normalizers.NFC().normalize_str, normalizers.NFD().normalize_str
    barriers = set()
    for c in CODE_POINTS:
        char = chr(c)
        decomposition = unicodedata2.decomposition(char)
        if nfd(char) != unicodedata2.normalize("NFD", char):
            assert nfd(char) == char
            # A composition needs its first half, which came with the composite: the second may be
            # as old as U+0307.
            barriers.update([c, int(decomposition.split()[0], 16)])
        elif decomposition and not decomposition.startswith("<"):
            parts = "".join(chr(int(x, 16)) for x in decomposition.split())
            assert nfc(parts) == unicodedata2.normalize("NFC", parts)
        if decomposition:
            continue
        # Beside marks of class 220 and 232, a mark swaps places with at least one of them.
        for pair in ("\u0323" + char, char + "\u0323", "\u0315" + char, char + "\u0315"):
            if nfc(pair) != unicodedata2.normalize("NFC", pair):
                assert nfc(pair) == pair
                barriers.add(c)
    return barriers


def ranges(code_points):
    out = []
    for c in sorted(code_points):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def rows(items, per_row):
    return "\n".join("    " + " ".join(items[i:i + per_row]) for i in range(0, len(items), per_row))


def main():
    contraction_letters()
    letter, number, space = regex_class(r"\p{L}"), regex_class(r"\p{N}"), regex_class(r"\s")
    other = regex_class(r"[^\s\p{L}\p{N}]") | {ord("|")}
    # Digits isolates numbers, and leaves every other code point joined to its '|'.
    numeric = matched(pre_tokenizers.Digits(individual_digits=True))
    word, stripped = beside_added_token(single_word=True), beside_added_token(rstrip=True)
    assert len(letter | number | space | other) == len(CODE_POINTS)
    assert sum(map(len, (letter, number, space, other))) == len(CODE_POINTS)
    bits = {}
    for members, bit in [(letter, LETTER), (number, NUMBER), (space, SPACE), (other, OTHER),
                         (numeric, NUMERIC), (word, WORD), (stripped, STRIPPED)]:
        for c in members:
            bits[c] = bits.get(c, 0) | bit
    changes, last = [], None
    for c in range(0x110000):
        value = bits.get(c, OTHER)  # surrogates do not occur in UTF-8
        if value != last:
            changes.append(f"{{{c:#x}, {value}}},")
            last = value
    barriers = [f"{{{a:#x}, {b:#x}}}," for a, b in ranges(normalisation_barriers())]
    print(f"""\
// Generated by tools/make_unicode_tables.py from tokenizers {tokenizers.__version__} and \
Unicode {unicodedata2.unidata_version}; do not edit.
// clang-format off
#include "tokenizer/unicode_tables.h"

namespace vexact {{
namespace {{

constexpr CharClassRun kCharClassRuns[] = {{
{rows(changes, 8)}
}};

constexpr CodePointRange kNormalizationBarriers[] = {{
{rows(barriers, 5)}
}};

}}  // namespace

std::span<const CharClassRun> CharClassRuns() {{ return kCharClassRuns; }}
std::span<const CodePointRange> NormalizationBarriers() {{ return kNormalizationBarriers; }}

}}  // namespace vexact""")
    print(f"letters {len(letter)}, numbers {len(number)}, spaces {len(space)}, numeric "
          f"{len(numeric)}, word {len(word)}, stripped {len(stripped)}, runs {len(changes)}, "
          f"barriers {len(barriers)} ranges", file=sys.stderr)


if __name__ == "__main__":
    main()
