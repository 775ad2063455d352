// BlockPool: who holds which KV block, and which blocks can be found again by what they contain.
//
// Blocks and reference counts follow PagedAttention (Kwon et al., 2023); finding prefixes again
// follows vLLM's automatic prefix caching and RadixAttention (Zheng et al., 2024). Unlike those, a
// hit compares token ids: the hash is only an index, so a collision costs time, never a wrong
// answer.
//
// Only numbers live here; the KV words themselves are the engine's (model/model.h, KvPoolView).
#ifndef VEXACT_KVCACHE_BLOCK_POOL_H_
#define VEXACT_KVCACHE_BLOCK_POOL_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"

namespace vexact {

// Where chains of cached blocks begin: all that KV depends on beside the tokens (weights, profile,
// mode, mask) and the salt that keeps strangers apart. Roots with equal keys are the same root.
struct PrefixRoot {
  explicit PrefixRoot(std::string key);
  std::string key;
  uint64_t hash;
};

// A cached block as the parent of the next one. A block that is evicted and cached again is
// another node: `uid` is never used twice.
struct PrefixNode {
  int32_t block = -1;  // -1: before the first block
  uint64_t uid = 0;
};

struct PrefixMatch {
  std::vector<int32_t> blocks;  // in order from position 0; the caller holds a reference to each
  PrefixNode last;              // of the last block
};

struct BlockPoolOptions {
  int32_t num_blocks = 0;
  int32_t block_size = 0;  // tokens
  bool enable_prefix_caching = true;
  uint64_t hash_mask = ~uint64_t{0};  // tests force collisions with fewer bits
};

// Invariants (CheckInvariants): a block is free, referenced, or cached and unreferenced (then it
// waits in the LRU list); cached blocks and the index are the same set. Not thread-safe.
class BlockPool {
 public:
  explicit BlockPool(const BlockPoolOptions& options);

  int32_t num_blocks() const { return static_cast<int32_t>(blocks_.size()); }
  int32_t block_size() const { return options_.block_size; }
  // Blocks that Allocate can give: free ones, and cached ones that no one references.
  int32_t num_available() const { return static_cast<int32_t>(free_.size()) + num_evictable_; }
  int32_t num_used() const { return num_blocks() - num_available(); }
  int32_t num_cached() const { return static_cast<int32_t>(index_.size()); }
  int32_t references(int32_t block) const { return blocks_[block].references; }
  // How often a block has lost its last reference: while this stands still, num_available() does
  // not grow.
  int64_t num_given_back() const { return num_given_back_; }

  // The longest chain of cached blocks under `root` that holds `tokens` from the first on, whole
  // blocks only. Takes a reference to each.
  PrefixMatch Match(const PrefixRoot& root, std::span<const int32_t> tokens);

  // Whether a match under `root` that ended with the node `end` and before `next` ([block_size], or
  // empty: there was nothing left to find) may be longer by now.
  bool MayHaveGrown(const PrefixRoot& root, PrefixNode end, std::span<const int32_t> next) const;

  // A block with one reference and unspecified content; if none is free, the least recently used
  // cached one is forgotten. Requires num_available() > 0.
  int32_t Allocate();

  // Gives back one reference to each. Unreferenced cached blocks are evicted from the end of
  // `blocks` first, so that a chain shrinks from its tail.
  void Release(std::span<const int32_t> blocks);

  // Makes a referenced block, whose KV is complete and right, findable as the child of `parent`
  // that holds `tokens` [block_size]. Returns the node to use as the next parent: this block's, or
  // that of a block that was there first. A parent that is gone (evicted or reset), or caching that
  // is off, caches nothing and gives a node that is gone.
  PrefixNode Cache(int32_t block, const std::shared_ptr<const PrefixRoot>& root, PrefixNode parent,
                   std::span<const int32_t> tokens);

  // Forgets all cached content. Referenced blocks stay with their holders.
  void Reset();

  // kInternal names the first invariant that does not hold.
  Status CheckInvariants() const;

 private:
  struct Block {
    int32_t references = 0;
    bool cached = false;
    uint64_t uid = 0;     // of the node, while cached
    uint64_t parent = 0;  // uid of the parent node, 0 under the root
    uint64_t hash = 0;
    std::shared_ptr<const PrefixRoot> root;  // of a first block only
    int32_t newer = -1;                      // neighbours in the LRU list
    int32_t older = -1;
  };

  std::span<int32_t> Tokens(int32_t block);
  std::span<const int32_t> Tokens(int32_t block) const;
  uint64_t Hash(const PrefixRoot& root, uint64_t parent, std::span<const int32_t> tokens) const;
  // The cached child of `parent` that holds `tokens`, or -1.
  int32_t Find(const PrefixRoot& root, uint64_t parent, std::span<const int32_t> tokens) const;
  bool IsAlive(PrefixNode node) const;
  void Reference(int32_t block);
  void Forget(int32_t block);
  void PushNewest(int32_t block);
  void RemoveFromLru(int32_t block);
  Status CheckBlock(int32_t block) const;

  BlockPoolOptions options_;
  std::vector<Block> blocks_;
  std::vector<int32_t> tokens_;  // [num_blocks, block_size], of cached blocks
  std::vector<int32_t> free_;    // unreferenced, not cached; the last is taken first
  int32_t newest_ = -1;          // LRU list of unreferenced cached blocks
  int32_t oldest_ = -1;
  int32_t num_evictable_ = 0;  // length of the LRU list
  int64_t num_given_back_ = 0;
  uint64_t next_uid_ = 1;
  std::unordered_multimap<uint64_t, int32_t> index_;  // hash -> cached block
};

}  // namespace vexact

#endif  // VEXACT_KVCACHE_BLOCK_POOL_H_
