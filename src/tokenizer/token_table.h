// Which text a token has and which id a text has.
#ifndef VEXACT_TOKENIZER_TOKEN_TABLE_H_
#define VEXACT_TOKENIZER_TOKEN_TABLE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace vexact {

class TokenTable {
 public:
  // Larger ids are refused: they cost memory for every id below them. The largest known vocabulary
  // has 1.0 million.
  static constexpr int64_t kMaxTokens = int64_t{1} << 22;

  // Whose token it is: the BPE model's, or one that was added to it, which no word can become.
  enum class Origin : uint8_t { kModel, kAdded };

  // `text` is valid UTF-8 as a vocabulary file writes it. Adding a token again changes nothing; a
  // second text of an id or a second id of a text is an error that says both.
  Status Add(std::string_view text, int64_t id, Origin origin);

  // The largest id + 1. Ids may have gaps.
  int32_t size() const { return static_cast<int32_t>(tokens_.size()); }
  bool Contains(int64_t id) const {
    return id >= 0 && id < size() && tokens_[static_cast<size_t>(id)].kind != Kind::kNone;
  }

  // What the token decodes to. Requires: Contains(id).
  std::string_view Bytes(int32_t id) const;
  // The token as its vocabulary writes it. Requires: Contains(id).
  std::string Text(int32_t id) const;

  // The token with this text, and the model's byte-level token with these bytes.
  std::optional<int32_t> FindText(std::string_view text) const;
  std::optional<int32_t> FindModelBytes(std::string_view bytes) const;

 private:
  // A token whose characters are all of the byte-level alphabet is kept as the bytes they stand
  // for; any other (an added token with a space in it) as its text, which is also what it decodes
  // to.
  enum class Kind : uint8_t { kNone, kByteLevel, kPlain };
  struct Token {
    uint64_t begin = 0;  // in pool_
    uint32_t size = 0;
    Kind kind = Kind::kNone;
    Origin origin = Origin::kModel;
  };

  std::string_view BytesOf(const Token& token) const {
    return std::string_view(pool_).substr(token.begin, token.size);
  }
  std::optional<int32_t> Find(std::string_view bytes, Kind kind) const;
  void Index(int32_t id);
  void Grow();

  std::string pool_;
  std::vector<Token> tokens_;   // by id
  std::vector<int32_t> slots_;  // open addressing by hash of the bytes; -1 is free
  size_t num_tokens_ = 0;
};

}  // namespace vexact

#endif  // VEXACT_TOKENIZER_TOKEN_TABLE_H_
