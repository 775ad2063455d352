// StopStrings: finds the first of several strings in a text that comes in pieces.
#ifndef VEXACT_OUTPUT_STOP_STRINGS_H_
#define VEXACT_OUTPUT_STOP_STRINGS_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace vexact {

struct StopStringHit {
  size_t index = 0;        // of the string
  size_t bytes_after = 0;  // of the piece, behind the end of the string
};

// Knuth, Morris and Pratt (1977), one automaton for each string: O(bytes * strings), whatever the
// pieces. How a text was cut changes nothing.
class StopStrings {
 public:
  // None may be empty.
  explicit StopStrings(std::vector<std::string> strings);

  // Reads on. Returns the string whose end comes first in `piece`, the longest if several end
  // there; what follows it is not read. With `may_stop` false, strings that end in `piece` pass.
  std::optional<StopStringHit> Append(std::string_view piece, bool may_stop);

  // Bytes at the end of what was read that may be the beginning of one of the strings.
  size_t num_held_back() const;

  const std::string& operator[](size_t index) const { return automata_[index].string; }

 private:
  struct Automaton {
    std::string string;
    std::vector<size_t> border;  // [i]: the longest proper prefix that ends string[0..i]
    size_t matched = 0;          // bytes of the string at the end of what was read
  };
  static bool Advance(Automaton* automaton, char c);

  std::vector<Automaton> automata_;
};

}  // namespace vexact

#endif  // VEXACT_OUTPUT_STOP_STRINGS_H_
