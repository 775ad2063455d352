#include "kvcache/block_pool.h"

#include <algorithm>
#include <utility>

namespace vexact {
namespace {

// The finaliser of splitmix64 (Steele et al., 2014): every input bit reaches every output bit.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

uint64_t Join(uint64_t hash, uint64_t value) { return Mix(hash + 0x9E3779B97F4A7C15 + value); }

uint64_t HashOfText(const std::string& text) {
  uint64_t hash = text.size();
  for (const char c : text) hash = Join(hash, static_cast<unsigned char>(c));
  return hash;
}

constexpr PrefixNode kGone = {-1, ~uint64_t{0}};

}  // namespace

PrefixRoot::PrefixRoot(std::string key) : key(std::move(key)), hash(HashOfText(this->key)) {}

BlockPool::BlockPool(const BlockPoolOptions& options) : options_(options) {
  VX_CHECK(options.num_blocks >= 1 && options.block_size >= 1);
  blocks_.resize(options.num_blocks);
  if (options.enable_prefix_caching) {
    tokens_.resize(static_cast<size_t>(options.num_blocks) * options.block_size);
  }
  free_.reserve(options.num_blocks);
  for (int32_t block = options.num_blocks - 1; block >= 0; --block) free_.push_back(block);
}

std::span<int32_t> BlockPool::Tokens(int32_t block) {
  return std::span(tokens_).subspan(static_cast<size_t>(block) * block_size(), block_size());
}

std::span<const int32_t> BlockPool::Tokens(int32_t block) const {
  return std::span(tokens_).subspan(static_cast<size_t>(block) * block_size(), block_size());
}

uint64_t BlockPool::Hash(const PrefixRoot& root, uint64_t parent,
                         std::span<const int32_t> tokens) const {
  uint64_t hash = parent == 0 ? root.hash : parent;
  for (const int32_t token : tokens) hash = Join(hash, static_cast<uint32_t>(token));
  return hash & options_.hash_mask;
}

int32_t BlockPool::Find(const PrefixRoot& root, uint64_t parent,
                        std::span<const int32_t> tokens) const {
  const auto [begin, end] = index_.equal_range(Hash(root, parent, tokens));
  for (auto it = begin; it != end; ++it) {
    const Block& block = blocks_[it->second];
    if (block.parent == parent && (parent != 0 || block.root->key == root.key) &&
        std::ranges::equal(Tokens(it->second), tokens)) {
      return it->second;
    }
  }
  return -1;
}

bool BlockPool::IsAlive(PrefixNode node) const {
  if (node.block < 0) return node.uid == 0;
  return blocks_[node.block].cached && blocks_[node.block].uid == node.uid;
}

PrefixMatch BlockPool::Match(const PrefixRoot& root, std::span<const int32_t> tokens) {
  PrefixMatch match;
  if (!options_.enable_prefix_caching) return match;
  const auto size = static_cast<size_t>(block_size());
  for (size_t begin = 0; begin + size <= tokens.size(); begin += size) {
    const int32_t block = Find(root, match.last.uid, tokens.subspan(begin, size));
    if (block < 0) break;
    Reference(block);
    match.blocks.push_back(block);
    match.last = {block, blocks_[block].uid};
  }
  return match;
}

bool BlockPool::MayHaveGrown(const PrefixRoot& root, PrefixNode end,
                             std::span<const int32_t> next) const {
  if (!options_.enable_prefix_caching) return false;
  // A node that is gone may have come back as another one, with children.
  return !IsAlive(end) || (!next.empty() && Find(root, end.uid, next) >= 0);
}

int32_t BlockPool::Allocate() {
  VX_CHECK(num_available() > 0, "no KV block is free");
  if (free_.empty()) {
    const int32_t evicted = oldest_;
    RemoveFromLru(evicted);
    Forget(evicted);
    free_.push_back(evicted);
  }
  const int32_t block = free_.back();
  free_.pop_back();
  blocks_[block].references = 1;
  return block;
}

void BlockPool::Reference(int32_t block) {
  if (blocks_[block].references++ == 0) RemoveFromLru(block);
}

void BlockPool::Release(std::span<const int32_t> blocks) {
  for (size_t i = blocks.size(); i-- > 0;) {
    Block& block = blocks_[blocks[i]];
    VX_CHECK(block.references > 0, "a KV block is released twice");
    if (--block.references > 0) continue;
    ++num_given_back_;
    if (block.cached) {
      PushNewest(blocks[i]);
    } else {
      free_.push_back(blocks[i]);
    }
  }
}

PrefixNode BlockPool::Cache(int32_t block, const std::shared_ptr<const PrefixRoot>& root,
                            PrefixNode parent, std::span<const int32_t> tokens) {
  if (!options_.enable_prefix_caching || !IsAlive(parent)) return kGone;
  const int32_t found = Find(*root, parent.uid, tokens);
  if (found >= 0) return {found, blocks_[found].uid};
  Block& entry = blocks_[block];
  VX_CHECK(entry.references > 0 && !entry.cached);
  VX_CHECK(tokens.size() == static_cast<size_t>(block_size()));
  std::ranges::copy(tokens, Tokens(block).begin());
  entry.cached = true;
  entry.uid = next_uid_++;
  entry.parent = parent.uid;
  entry.hash = Hash(*root, parent.uid, tokens);
  if (parent.uid == 0) entry.root = root;
  index_.emplace(entry.hash, block);
  return {block, entry.uid};
}

void BlockPool::Forget(int32_t block) {
  Block& entry = blocks_[block];
  const auto [begin, end] = index_.equal_range(entry.hash);
  const auto it = std::find_if(begin, end, [block](const auto& e) { return e.second == block; });
  VX_CHECK(it != end);
  index_.erase(it);
  entry.cached = false;
  entry.root.reset();
}

void BlockPool::Reset() {
  while (oldest_ >= 0) {
    const int32_t block = oldest_;
    RemoveFromLru(block);
    free_.push_back(block);
  }
  index_.clear();
  for (Block& block : blocks_) {
    block.cached = false;
    block.root.reset();
  }
}

void BlockPool::PushNewest(int32_t block) {
  blocks_[block].newer = -1;
  blocks_[block].older = newest_;
  (newest_ >= 0 ? blocks_[newest_].newer : oldest_) = block;
  newest_ = block;
  ++num_evictable_;
}

void BlockPool::RemoveFromLru(int32_t block) {
  const Block& entry = blocks_[block];
  (entry.newer >= 0 ? blocks_[entry.newer].older : newest_) = entry.older;
  (entry.older >= 0 ? blocks_[entry.older].newer : oldest_) = entry.newer;
  --num_evictable_;
}

Status BlockPool::CheckBlock(int32_t block) const {
  const Block& entry = blocks_[block];
  if (entry.references < 0) {
    return MakeError(ErrorCode::kInternal, "block {}: {} references", block, entry.references);
  }
  if (!entry.cached) return {};
  if ((entry.parent == 0) != (entry.root != nullptr)) {
    return MakeError(ErrorCode::kInternal, "block {}: parent {} and root disagree", block,
                     entry.parent);
  }
  const auto [begin, end] = index_.equal_range(entry.hash);
  if (std::none_of(begin, end, [block](const auto& e) { return e.second == block; })) {
    return MakeError(ErrorCode::kInternal, "block {}: cached but not in the index", block);
  }
  return {};
}

Status BlockPool::CheckInvariants() const {
  std::vector<int32_t> listed(blocks_.size(), 0);
  for (const int32_t block : free_) {
    ++listed[block];
    if (blocks_[block].references != 0 || blocks_[block].cached) {
      return MakeError(ErrorCode::kInternal, "block {}: in use but in the free list", block);
    }
  }
  int32_t evictable = 0;
  for (int32_t block = oldest_; block >= 0; block = blocks_[block].newer, ++evictable) {
    ++listed[block];
    if (blocks_[block].references != 0 || !blocks_[block].cached) {
      return MakeError(ErrorCode::kInternal, "block {}: in the LRU list, {} references", block,
                       blocks_[block].references);
    }
  }
  int32_t cached = 0;
  for (int32_t block = 0; block < num_blocks(); ++block) {
    VX_RETURN_IF_ERROR(CheckBlock(block));
    cached += blocks_[block].cached ? 1 : 0;
    const int32_t expected = blocks_[block].references == 0 ? 1 : 0;
    if (listed[block] != expected) {
      return MakeError(ErrorCode::kInternal, "block {}: in {} lists, expected {}", block,
                       listed[block], expected);
    }
  }
  if (evictable != num_evictable_ || cached != num_cached()) {
    return MakeError(ErrorCode::kInternal, "{} evictable ({} counted), {} cached ({} in the index)",
                     evictable, num_evictable_, cached, num_cached());
  }
  return {};
}

}  // namespace vexact
