#include "output/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace vexact {

StopStrings::StopStrings(std::vector<std::string> strings) {
  for (std::string& string : strings) {
    VX_CHECK(!string.empty());
    Automaton automaton;
    automaton.border.assign(string.size(), 0);
    for (size_t i = 1; i < string.size(); ++i) {
      size_t length = automaton.border[i - 1];
      while (length > 0 && string[length] != string[i]) length = automaton.border[length - 1];
      automaton.border[i] = string[length] == string[i] ? length + 1 : 0;
    }
    automaton.string = std::move(string);
    automata_.push_back(std::move(automaton));
  }
}

// True if the string ends with this byte.
bool StopStrings::Advance(Automaton* automaton, char c) {
  const std::string& string = automaton->string;
  size_t matched = automaton->matched;
  while (matched > 0 && string[matched] != c) matched = automaton->border[matched - 1];
  if (string[matched] == c) ++matched;
  const bool complete = matched == string.size();
  automaton->matched = complete ? automaton->border[matched - 1] : matched;
  return complete;
}

std::optional<StopStringHit> StopStrings::Append(std::string_view piece, bool may_stop) {
  for (size_t i = 0; i < piece.size(); ++i) {
    std::optional<size_t> longest;
    for (size_t a = 0; a < automata_.size(); ++a) {
      if (!Advance(&automata_[a], piece[i]) || !may_stop) continue;
      if (!longest || automata_[*longest].string.size() < automata_[a].string.size()) longest = a;
    }
    if (longest) return StopStringHit{*longest, piece.size() - i - 1};
  }
  return std::nullopt;
}

size_t StopStrings::num_held_back() const {
  size_t held_back = 0;
  for (const Automaton& automaton : automata_) held_back = std::max(held_back, automaton.matched);
  return held_back;
}

}  // namespace vexact
