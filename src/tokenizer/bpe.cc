#include "tokenizer/bpe.h"

#include <algorithm>
#include <bit>
#include <functional>

#include "base/check.h"

namespace vexact {

Bpe::Bpe(const TokenTable& tokens, std::span<const BpeMerge> merges,
         std::optional<int32_t> unknown_id) {
  for (int byte = 0; byte < 256; ++byte) {
    const char text = static_cast<char>(byte);
    const std::optional<int32_t> id = tokens.FindModelBytes(std::string_view(&text, 1));
    id_of_byte_[static_cast<size_t>(byte)] = id ? *id : unknown_id.value_or(-1);
  }
  const size_t capacity = std::bit_ceil(merges.size() * 2 + 2);
  pairs_.resize(capacity);
  shift_ = 64 - std::countr_zero(capacity);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t key = Key(merges[rank].left, merges[rank].right);
    pairs_[SlotOf(key)] = {key, static_cast<int32_t>(rank), merges[rank].merged};
  }
}

size_t Bpe::SlotOf(uint64_t key) const {
  const size_t mask = pairs_.size() - 1;
  size_t slot = key * 0x9e3779b97f4a7c15u >> shift_;  // 2^64 / golden ratio
  while (pairs_[slot].key != key && pairs_[slot].key != UINT64_MAX) slot = (slot + 1) & mask;
  return slot;
}

const Bpe::Pair& Bpe::Find(int32_t left, int32_t right) const {
  return pairs_[SlotOf(Key(left, right))];
}

void Bpe::Encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const {
  VX_CHECK(word.size() < INT32_MAX);
  if (word.size() <= kShortWord) {
    std::array<int32_t, kShortWord> symbols;
    size_t count = 0;
    for (const char byte : word) {
      const int32_t id = id_of_byte_[static_cast<unsigned char>(byte)];
      if (id >= 0) symbols[count++] = id;
    }
    EncodeShort(std::span(symbols).first(count), ids);
    return;
  }
  scratch.ids.clear();
  for (const char byte : word) {
    const int32_t id = id_of_byte_[static_cast<unsigned char>(byte)];
    if (id >= 0) scratch.ids.push_back(id);
  }
  EncodeLong(scratch, ids);
}

void Bpe::EncodeShort(std::span<int32_t> symbols, std::vector<int32_t>& ids) const {
  size_t count = symbols.size();
  std::array<int32_t, kShortWord> ranks;  // of the pair that begins here
  for (size_t i = 0; i + 1 < count; ++i) ranks[i] = Find(symbols[i], symbols[i + 1]).rank;
  while (count > 1) {
    const auto lowest = std::min_element(ranks.begin(), ranks.begin() + (count - 1));
    if (*lowest == kNoRank) break;
    const auto at = static_cast<size_t>(lowest - ranks.begin());
    symbols[at] = Find(symbols[at], symbols[at + 1]).merged;
    std::copy(symbols.begin() + at + 2, symbols.begin() + count, symbols.begin() + at + 1);
    std::copy(ranks.begin() + at + 1, ranks.begin() + (count - 1), ranks.begin() + at);
    --count;
    if (at > 0) ranks[at - 1] = Find(symbols[at - 1], symbols[at]).rank;
    if (at + 1 < count) ranks[at] = Find(symbols[at], symbols[at + 1]).rank;
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + count);
}

void Bpe::EncodeLong(Scratch& s, std::vector<int32_t>& ids) const {
  const auto count = static_cast<int32_t>(s.ids.size());
  if (count == 0) return;
  s.next.resize(s.ids.size());
  s.previous.resize(s.ids.size());
  s.pair_rank.assign(s.ids.size(), kNoRank);
  s.heap.clear();
  const auto at = [](std::vector<int32_t>& v, int32_t place) -> int32_t& {
    return v[static_cast<size_t>(place)];
  };
  // Ranks the pair that begins at `place`; true if it has a rank.
  const auto rank_pair = [&](int32_t place) {
    const int32_t after = at(s.next, place);
    at(s.pair_rank, place) = after < 0 ? kNoRank : Find(at(s.ids, place), at(s.ids, after)).rank;
    return at(s.pair_rank, place) != kNoRank;
  };
  const auto entry = [&](int32_t place) { return Key(at(s.pair_rank, place), place); };
  for (int32_t i = 0; i < count; ++i) {
    at(s.next, i) = i + 1 < count ? i + 1 : -1;
    at(s.previous, i) = i - 1;
    if (rank_pair(i)) s.heap.push_back(entry(i));
  }
  std::make_heap(s.heap.begin(), s.heap.end(), std::greater<>());
  const auto push = [&](int32_t place) {
    if (!rank_pair(place)) return;
    s.heap.push_back(entry(place));
    std::push_heap(s.heap.begin(), s.heap.end(), std::greater<>());
  };
  while (!s.heap.empty()) {
    const uint64_t top = s.heap.front();
    std::pop_heap(s.heap.begin(), s.heap.end(), std::greater<>());
    s.heap.pop_back();
    const auto place = static_cast<int32_t>(top & 0xffffffffu);
    // An entry outlives its pair when a neighbour takes part of it.
    if (at(s.pair_rank, place) != static_cast<int32_t>(top >> 32)) continue;
    const int32_t taken = at(s.next, place);
    at(s.ids, place) = Find(at(s.ids, place), at(s.ids, taken)).merged;
    at(s.pair_rank, taken) = kNoRank;
    at(s.next, place) = at(s.next, taken);
    if (at(s.next, place) >= 0) at(s.previous, at(s.next, place)) = place;
    push(place);
    if (at(s.previous, place) >= 0) push(at(s.previous, place));
  }
  for (int32_t i = 0; i >= 0; i = at(s.next, i)) ids.push_back(at(s.ids, i));
}

}  // namespace vexact
