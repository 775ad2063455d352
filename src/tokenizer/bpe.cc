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
  merged_of_rank_.reserve(merges.size());
  for (const BpeMerge& merge : merges) {
    const uint64_t key = Key(merge.left, merge.right);
    pairs_[SlotOf(key)] = {key, static_cast<int32_t>(merged_of_rank_.size())};
    merged_of_rank_.push_back(merge.merged);
  }
  rank_of_bytes_.reserve(256 * 256);
  for (const int32_t left : id_of_byte_) {
    for (const int32_t right : id_of_byte_) {
      rank_of_bytes_.push_back(left < 0 || right < 0 ? kNoRank : RankOf(left, right));
    }
  }
}

size_t Bpe::SlotOf(uint64_t key) const {
  const size_t mask = pairs_.size() - 1;
  size_t slot = key * 0x9e3779b97f4a7c15u >> shift_;  // 2^64 / golden ratio
  while (pairs_[slot].key != key && pairs_[slot].key != UINT64_MAX) slot = (slot + 1) & mask;
  return slot;
}

void Bpe::Encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const {
  VX_CHECK(word.size() < INT32_MAX);
  if (word.size() <= kShortWord) {
    EncodeShort(word, ids);
  } else {
    EncodeLong(word, scratch, ids);
  }
}

void Bpe::EncodeShort(std::string_view word, std::vector<int32_t>& ids) const {
  std::array<int32_t, kShortWord> symbols;
  std::array<int32_t, kShortWord> ranks;  // of the pair that begins here
  size_t count = 0;
  size_t left = 0;
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    if (id_of_byte_[byte] < 0) continue;
    if (count > 0) ranks[count - 1] = rank_of_bytes_[left << 8 | byte];
    symbols[count++] = id_of_byte_[byte];
    left = byte;
  }
  while (count > 1) {
    const auto lowest = std::min_element(ranks.begin(), ranks.begin() + (count - 1));
    if (*lowest == kNoRank) break;
    const auto at = static_cast<size_t>(lowest - ranks.begin());
    symbols[at] = merged_of_rank_[static_cast<size_t>(*lowest)];
    std::copy(symbols.begin() + at + 2, symbols.begin() + count, symbols.begin() + at + 1);
    std::copy(ranks.begin() + at + 1, ranks.begin() + (count - 1), ranks.begin() + at);
    --count;
    if (at > 0) ranks[at - 1] = RankOf(symbols[at - 1], symbols[at]);
    if (at + 1 < count) ranks[at] = RankOf(symbols[at], symbols[at + 1]);
  }
  ids.insert(ids.end(), symbols.begin(), symbols.begin() + count);
}

int32_t Bpe::PlaceSymbols(std::string_view word, Scratch& s) const {
  s.ids.clear();
  s.next.clear();
  s.previous.clear();
  s.pair_rank.clear();
  int32_t count = 0;
  size_t left = 0;
  for (const char c : word) {
    const auto byte = static_cast<unsigned char>(c);
    if (id_of_byte_[byte] < 0) continue;
    if (count > 0) s.pair_rank.back() = rank_of_bytes_[left << 8 | byte];
    s.ids.push_back(id_of_byte_[byte]);
    s.pair_rank.push_back(kNoRank);
    s.previous.push_back(count - 1);
    s.next.push_back(++count);
    left = byte;
  }
  if (count > 0) s.next.back() = -1;
  return count;
}

void Bpe::EncodeLong(std::string_view word, Scratch& s, std::vector<int32_t>& ids) const {
  const int32_t count = PlaceSymbols(word, s);
  if (count == 0) return;
  const auto at = [](std::vector<int32_t>& values, int32_t place) -> int32_t& {
    return values[static_cast<size_t>(place)];
  };
  s.heap.clear();
  for (int32_t i = 0; i < count; ++i) {
    if (at(s.pair_rank, i) != kNoRank) s.heap.push_back(Key(at(s.pair_rank, i), i));
  }
  std::make_heap(s.heap.begin(), s.heap.end(), std::greater<>());
  // Ranks the pair that now begins at `place`.
  const auto rank_pair = [&](int32_t place) {
    const int32_t after = at(s.next, place);
    const int32_t rank = after < 0 ? kNoRank : RankOf(at(s.ids, place), at(s.ids, after));
    at(s.pair_rank, place) = rank;
    if (rank == kNoRank) return;
    s.heap.push_back(Key(rank, place));
    std::push_heap(s.heap.begin(), s.heap.end(), std::greater<>());
  };
  while (!s.heap.empty()) {
    const uint64_t top = s.heap.front();
    std::pop_heap(s.heap.begin(), s.heap.end(), std::greater<>());
    s.heap.pop_back();
    const auto place = static_cast<int32_t>(top & 0xffffffffu);
    const auto rank = static_cast<int32_t>(top >> 32);
    // An entry outlives its pair when a neighbour takes part of it.
    if (at(s.pair_rank, place) != rank) continue;
    const int32_t taken = at(s.next, place);
    at(s.ids, place) = merged_of_rank_[static_cast<size_t>(rank)];
    at(s.pair_rank, taken) = kNoRank;
    at(s.next, place) = at(s.next, taken);
    if (at(s.next, place) >= 0) at(s.previous, at(s.next, place)) = place;
    rank_pair(place);
    if (at(s.previous, place) >= 0) rank_pair(at(s.previous, place));
  }
  for (int32_t i = 0; i >= 0; i = at(s.next, i)) ids.push_back(at(s.ids, i));
}

}  // namespace vexact
