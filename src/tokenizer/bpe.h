// Byte pair encoding of one word: merge the neighbouring pair of the lowest rank, the leftmost
// among equals, until no pair has a rank (Sennrich et al. 2016; the byte-level form is GPT-2's).
#ifndef VEXACT_TOKENIZER_BPE_H_
#define VEXACT_TOKENIZER_BPE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tokenizer/token_table.h"

namespace vexact {

// A pair's rank is its place in the list of merges.
struct BpeMerge {
  int32_t left, right, merged;  // ids
};

class Bpe {
 public:
  // Working memory of one thread, kept between words. A place is a byte of the word; merged symbols
  // stay at the place of the left one.
  struct Scratch {
    std::vector<int32_t> ids;        // [places]
    std::vector<int32_t> next;       // the place of the next symbol, or -1
    std::vector<int32_t> previous;   // or -1
    std::vector<int32_t> pair_rank;  // of this symbol with the next one
    std::vector<uint64_t> heap;      // rank << 32 | place, the smallest on top
  };

  // A byte without a token becomes `unknown_id`, or nothing when there is none. A pair that is
  // listed twice has its last rank.
  Bpe(const TokenTable& tokens, std::span<const BpeMerge> merges,
      std::optional<int32_t> unknown_id);

  // Appends the word's ids. O(n log n) in the word's bytes. Requires: fewer than 2^31 bytes.
  void Encode(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;

 private:
  static constexpr int32_t kNoRank = INT32_MAX;
  // Up to here a scan for the lowest rank beats the heap.
  static constexpr size_t kShortWord = 24;

  struct Pair {
    uint64_t key = UINT64_MAX;  // left << 32 | right; all ones is free
    int32_t rank = kNoRank;
  };
  static uint64_t Key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  // The slot of the pair, or the free one where it would be.
  size_t SlotOf(uint64_t key) const;
  int32_t RankOf(int32_t left, int32_t right) const {
    return pairs_[SlotOf(Key(left, right))].rank;
  }

  void EncodeShort(std::string_view word, std::vector<int32_t>& ids) const;
  void EncodeLong(std::string_view word, Scratch& scratch, std::vector<int32_t>& ids) const;
  // Fills everything but the heap; returns the number of places.
  int32_t PlaceSymbols(std::string_view word, Scratch& scratch) const;

  std::array<int32_t, 256> id_of_byte_;  // -1: none
  // [256, 256] by two bytes' values: the rank of their tokens as a pair. Half of all lookups are
  // these, and 256 KB stay in the cache where pairs_ (8 MB for Qwen3) does not.
  std::vector<int32_t> rank_of_bytes_;
  std::vector<Pair> pairs_;              // open addressing, at most half full
  int shift_ = 0;                        // 64 - log2(pairs_.size())
  std::vector<int32_t> merged_of_rank_;  // ids
};

}  // namespace vexact

#endif  // VEXACT_TOKENIZER_BPE_H_
