// Text as Python's str treats it, on UTF-8: whitespace, case, splitting, and how values print.
//
// Case is Unicode's simple mapping, one character for one; Python's own differs for the few that
// become several ("ß".upper() is "SS" there).
#ifndef VEXACT_CHAT_TEXT_H_
#define VEXACT_CHAT_TEXT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/meter.h"
#include "chat/value.h"

namespace vexact {

// Every text given to a function here is valid UTF-8.

size_t CountCharacters(std::string_view text);
// Where the character with this index begins; the text's size for the one past the last.
size_t OffsetOfCharacter(std::string_view text, size_t index);

enum class Sides { kLeft, kRight, kBoth };
// Without whitespace at its ends; with `characters`, without any of those.
std::string_view Strip(std::string_view text, std::optional<std::string_view> characters,
                       Sides sides);

std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string Capitalize(std::string_view text);  // the first letter large, the others small
// The first letter of each word large, the others small. `is_boundary` says what separates words.
std::string TitleMethod(std::string_view text);  // str.title(): every character that is no letter
std::string TitleFilter(std::string_view text);  // |title: whitespace - ( { [ <
bool IsUpper(std::string_view text);             // has letters with case, none of them small
bool IsLower(std::string_view text);

// The place of `part` from `start` on, or npos; linear in the size of both.
size_t FindText(std::string_view text, std::string_view part, size_t start);
// Python's replace; count < 0: all. `part` may be empty: `by` then goes around every character.
Result<std::string> ReplaceText(std::string_view text, std::string_view part, std::string_view by,
                                int64_t count, Meter& meter);

// At most `limit` cuts, counted from the left or (kRight) from the right; < 0: all.
enum class CutFrom { kLeft, kRight };
std::vector<std::string_view> SplitAt(std::string_view text, std::string_view separator,
                                      int64_t limit, CutFrom from);
std::vector<std::string_view> SplitAtWhitespace(std::string_view text, int64_t limit, CutFrom from);
std::vector<std::string_view> SplitLines(std::string_view text);

// Python's repr of a float: "1.0", "1e-05", "inf".
std::string FloatText(double value);
// What {{ value }} prints: Python's str. Error: a value without a fixed text (a function).
Result<std::string> PrintedText(const Value& value, Meter& meter);

}  // namespace vexact

#endif  // VEXACT_CHAT_TEXT_H_
