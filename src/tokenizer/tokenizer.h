// Text to token ids and back, with the ids of Hugging Face `tokenizers` 0.23.
//
//   VX_ASSIGN_OR_RETURN(const Tokenizer tokenizer,
//                       Tokenizer::FromHfJson(json, config_json, "tokenizer.json"));
//   const std::vector<int32_t> ids = tokenizer.Encode("Hello", {.add_special_tokens = false});
//   VX_ASSIGN_OR_RETURN(const std::string text, tokenizer.Decode(ids, false));
//
// Byte-level BPE (GPT-2's) with the pre-tokenisers of SmolLM2, Llama 3 and Qwen2/2.5/3; whatever
// else a file asks for is refused by name. The path of a text:
//   bytes -> UTF-8 -> added tokens cut out (added_tokens.h) -> NFC (normalization.h) -> added
//   tokens of the normalised text cut out -> words (split.h) -> ids (bpe.h) -> bos, eos around
//   them.
#ifndef VEXACT_TOKENIZER_TOKENIZER_H_
#define VEXACT_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "tokenizer/utf8.h"

namespace vexact {

struct TokenizerParts;  // tokenizer_parts.h

struct EncodeOptions {
  // Adds what the file's post-processor adds (Llama 3: bos); GGUF: add_bos_token, add_eos_token.
  bool add_special_tokens = true;
  // Finds special tokens written in the text. If false their text is ordinary text; added tokens
  // that are not special (Qwen3's <think>) are found all the same, as with Hugging Face's
  // `encode_special_tokens`.
  bool parse_special_tokens = true;
};

// A GGUF file's vocabulary: the metadata "tokenizer.ggml.<name>". Ids are places in `tokens`.
struct TokenizerVocabulary {
  std::string source;                // names the file in error messages
  std::string model;                 // only "gpt2", byte-level BPE, is supported
  std::string pre;                   // "smollm", "llama-bpe" or "qwen2"
  std::vector<std::string> tokens;   // [size], in the byte-level alphabet
  std::vector<int32_t> token_types;  // [size]: 1 normal, 3 control, 4 user-defined, 5 unused
  std::vector<std::string> merges;   // "left right", by rank
  std::optional<int64_t> bos_id, eos_id, eot_id, eom_id;
  std::optional<bool> add_bos;  // absent: true for llama-bpe, else false
  std::optional<bool> add_eos;  // absent: false
};

// Immutable; copies share the vocabulary. Every const function may be called by any number of
// threads at once.
class Tokenizer {
 public:
  // The contents of tokenizer.json and of tokenizer_config.json (may be empty), which names bos and
  // eos and may add tokens. `file_name` begins every error message. The fields "truncation" and
  // "padding" are for batches and are not read. "clean_up_tokenization_spaces" is not applied, as
  // in transformers since 5.7: it was made for WordPiece and destroys the spaces of a BPE's text.
  static Result<Tokenizer> FromHfJson(std::string_view tokenizer_json,
                                      std::string_view tokenizer_config_json,
                                      std::string_view file_name);

  // Control tokens are special added tokens, user-defined ones are added tokens, unused ids are no
  // tokens. For `pre` qwen2 the text is made NFC, as the model's own tokenizer.json has it.
  static Result<Tokenizer> FromVocabulary(const TokenizerVocabulary& vocabulary);

  // Bytes that are not UTF-8 become U+FFFD first (Utf8Repair), as Python's
  // bytes.decode(errors="replace") gives them to Hugging Face. O(n log n); 1 MB of text takes about
  // 0.1 s, 1 MB of the worst 0.6 s. Requires: text has fewer than 2^31 bytes.
  std::vector<int32_t> Encode(std::string_view text, const EncodeOptions& options) const;

  // The text of the ids, always valid UTF-8: bytes that are not become U+FFFD. Error: an id that
  // is no token.
  Result<std::string> Decode(std::span<const int32_t> ids, bool skip_special_tokens) const;

  // Ids from 0 to vocab_size() - 1 are tokens, but for gaps in some files.
  int32_t vocab_size() const;
  bool Contains(int64_t id) const;
  std::optional<int32_t> TokenId(std::string_view text) const;
  // As the vocabulary writes it: a space is "Ġ". Requires: Contains(id).
  std::string TokenText(int32_t id) const;
  // The bytes that the token adds to a text; may be part of a character. Requires: Contains(id).
  std::string_view TokenBytes(int32_t id) const;
  bool is_special(int64_t id) const;

  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;
  // The ids that end an answer as far as the tokenizer knows: eos; of a GGUF file eot and eom too.
  std::span<const int32_t> stop_ids() const;

 private:
  struct Impl;
  explicit Tokenizer(TokenizerParts parts);
  void EncodeText(std::string_view text, const EncodeOptions& options,
                  std::vector<int32_t>& ids) const;

  std::shared_ptr<const Impl> impl_;
};

// The text of one sequence as its tokens come. All pieces and then Flush() together are the text
// of Decode over the same ids. A piece never ends inside a character: bytes that could still become
// one wait for the next token. O(bytes of the token) for each.
class StreamDecoder {
 public:
  StreamDecoder(Tokenizer tokenizer, bool skip_special_tokens)
      : tokenizer_(std::move(tokenizer)), skip_special_tokens_(skip_special_tokens) {}

  // The text that `id` completes, often all of its own, possibly none. An id that is no token adds
  // nothing: a model may have more output rows than its vocabulary has tokens.
  std::string Append(int32_t id);
  // What still waits, as U+FFFD; then the decoder is as new.
  std::string Flush();

 private:
  Tokenizer tokenizer_;
  bool skip_special_tokens_;
  Utf8Repair repair_;
};

}  // namespace vexact

#endif  // VEXACT_TOKENIZER_TOKENIZER_H_
