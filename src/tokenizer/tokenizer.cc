#include "tokenizer/tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "tokenizer/normalization.h"
#include "tokenizer/tokenizer_parts.h"

namespace vexact {
namespace {

std::vector<AddedToken> Select(const std::vector<AddedToken>& tokens, bool normalized) {
  std::vector<AddedToken> selected;
  std::copy_if(tokens.begin(), tokens.end(), std::back_inserter(selected),
               [&](const AddedToken& token) { return token.normalized == normalized; });
  return selected;
}

std::vector<bool> SpecialFlags(const TokenizerParts& parts) {
  std::vector<bool> is_special(static_cast<size_t>(parts.tokens.size()));
  for (const AddedToken& token : parts.added_tokens) {
    if (token.special) is_special[static_cast<size_t>(token.id)] = true;
  }
  return is_special;
}

}  // namespace

struct Tokenizer::Impl {
  explicit Impl(TokenizerParts given)
      : parts(std::move(given)),
        bpe(parts.tokens, parts.merges, parts.unknown_id),
        plain_added(Select(parts.added_tokens, false)),
        normalized_added(Select(parts.added_tokens, true)),
        is_special(SpecialFlags(parts)) {
    parts.merges = {};
  }

  void EncodeWords(std::string_view text, Bpe::Scratch& scratch, std::vector<int32_t>& ids) const;

  TokenizerParts parts;  // without the merges, which are in `bpe`
  Bpe bpe;
  AddedTokenFinder plain_added;
  AddedTokenFinder normalized_added;
  std::vector<bool> is_special;  // by id
};

Tokenizer::Tokenizer(TokenizerParts parts) : impl_(std::make_shared<Impl>(std::move(parts))) {}

void Tokenizer::Impl::EncodeWords(std::string_view text, Bpe::Scratch& scratch,
                                  std::vector<int32_t>& ids) const {
  std::vector<size_t> ends = {text.size()};
  for (const Splitter splitter : parts.splitters) {
    std::vector<size_t> finer;
    size_t begin = 0;
    for (const size_t end : ends) {
      AppendPieceEnds(splitter, text.substr(begin, end - begin), begin, finer);
      begin = end;
    }
    ends = std::move(finer);
  }
  size_t begin = 0;
  for (const size_t end : ends) {
    const std::string_view word = text.substr(begin, end - begin);
    begin = end;
    if (parts.ignore_merges) {
      if (const std::optional<int32_t> id = parts.tokens.FindModelBytes(word)) {
        ids.push_back(*id);
        continue;
      }
    }
    bpe.Encode(word, scratch, ids);
  }
}

void Tokenizer::EncodeText(std::string_view text, const EncodeOptions& options,
                           std::vector<int32_t>& ids) const {
  Bpe::Scratch scratch;
  std::vector<TextPart> parts;
  impl_->plain_added.Split(text, options.parse_special_tokens, parts);
  std::vector<TextPart> normalized_parts;
  for (const TextPart& part : parts) {
    if (part.id >= 0) {
      ids.push_back(part.id);
      continue;
    }
    const std::string nfc = impl_->parts.nfc ? NormalizeNfc(part.text) : std::string();
    normalized_parts.clear();
    impl_->normalized_added.Split(impl_->parts.nfc ? nfc : part.text, options.parse_special_tokens,
                                  normalized_parts);
    for (const TextPart& normalized : normalized_parts) {
      if (normalized.id >= 0) {
        ids.push_back(normalized.id);
      } else {
        impl_->EncodeWords(normalized.text, scratch, ids);
      }
    }
  }
}

std::vector<int32_t> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  const TokenizerParts& parts = impl_->parts;
  std::vector<int32_t> ids;
  if (options.add_special_tokens) ids = parts.prefix;
  if (IsValidUtf8(text)) {
    EncodeText(text, options, ids);
  } else {
    std::string valid;
    Utf8Repair repair;
    repair.Append(text, valid);
    repair.Finish(valid);
    EncodeText(valid, options, ids);
  }
  if (options.add_special_tokens) {
    ids.insert(ids.end(), parts.suffix.begin(), parts.suffix.end());
  }
  return ids;
}

Result<std::string> Tokenizer::Decode(std::span<const int32_t> ids,
                                      bool skip_special_tokens) const {
  std::string text;
  Utf8Repair repair;
  for (const int32_t id : ids) {
    if (!Contains(id)) {
      return InvalidArgument("token id {}: expected a token of the vocabulary (0 to {})", id,
                             vocab_size() - 1);
    }
    if (skip_special_tokens && is_special(id)) continue;
    repair.Append(TokenBytes(id), text);
  }
  repair.Finish(text);
  return text;
}

int32_t Tokenizer::vocab_size() const { return impl_->parts.tokens.size(); }

bool Tokenizer::Contains(int64_t id) const { return impl_->parts.tokens.Contains(id); }

std::optional<int32_t> Tokenizer::TokenId(std::string_view text) const {
  return IsValidUtf8(text) ? impl_->parts.tokens.FindText(text) : std::nullopt;
}

std::string Tokenizer::TokenText(int32_t id) const { return impl_->parts.tokens.Text(id); }

std::string_view Tokenizer::TokenBytes(int32_t id) const { return impl_->parts.tokens.Bytes(id); }

bool Tokenizer::is_special(int64_t id) const {
  return Contains(id) && impl_->is_special[static_cast<size_t>(id)];
}

std::optional<int32_t> Tokenizer::bos_id() const { return impl_->parts.bos_id; }

std::optional<int32_t> Tokenizer::eos_id() const { return impl_->parts.eos_id; }

std::span<const int32_t> Tokenizer::stop_ids() const { return impl_->parts.stop_ids; }

std::string StreamDecoder::Append(int32_t id) {
  std::string piece;
  if (!tokenizer_.Contains(id) || (skip_special_tokens_ && tokenizer_.is_special(id))) return piece;
  repair_.Append(tokenizer_.TokenBytes(id), piece);
  return piece;
}

std::string StreamDecoder::Flush() {
  std::string piece;
  repair_.Finish(piece);
  return piece;
}

}  // namespace vexact
