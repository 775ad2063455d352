// Tokenizer::FromVocabulary: a GGUF file's vocabulary.
#include <algorithm>
#include <string>
#include <utility>

#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_parts.h"
#include "tokenizer/utf8.h"

namespace vexact {
namespace {

// "tokenizer.ggml.pre": what the models of that name have in their tokenizer.json.
struct PreTokenizer {
  std::string_view name;
  std::vector<Splitter> splitters;
  bool nfc = false;
  bool ignore_merges = false;
  bool add_bos = false;  // when the file does not say
};

std::vector<PreTokenizer> PreTokenizers() {
  return {
      {.name = "smollm", .splitters = {Splitter::kSingleNumbers, Splitter::kGpt2}},
      {.name = "llama-bpe",
       .splitters = {Splitter::kLlama3},
       .ignore_merges = true,
       .add_bos = true},
      {.name = "qwen2", .splitters = {Splitter::kQwen2}, .nfc = true},
  };
}

// "tokenizer.ggml.token_type"
constexpr int32_t kNormal = 1;
constexpr int32_t kControl = 3;
constexpr int32_t kUserDefined = 4;
constexpr int32_t kUnused = 5;

Status AddTokens(const TokenizerVocabulary& vocabulary, TokenizerParts& parts) {
  if (vocabulary.token_types.size() != vocabulary.tokens.size()) {
    return InvalidArgument("token_type: expected {} values, one a token, found {}",
                           vocabulary.tokens.size(), vocabulary.token_types.size());
  }
  for (size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const std::string& text = vocabulary.tokens[i];
    const int32_t type = vocabulary.token_types[i];
    if (type == kUnused) continue;
    if (type != kNormal && type != kControl && type != kUserDefined) {
      return Unsupported("token {}: expected token_type 1, 3, 4 or 5, found {}", i, type);
    }
    if (!IsValidUtf8(text)) return InvalidArgument("token {}: expected UTF-8", i);
    const auto origin = type == kNormal ? TokenTable::Origin::kModel : TokenTable::Origin::kAdded;
    VX_RETURN_IF_ERROR(parts.tokens.Add(text, static_cast<int64_t>(i), origin));
    if (type == kNormal) continue;
    parts.added_tokens.push_back(
        {.content = text, .id = static_cast<int32_t>(i), .special = type == kControl});
  }
  return {};
}

Status AddMerges(const TokenizerVocabulary& vocabulary, TokenizerParts& parts) {
  for (const std::string& line : vocabulary.merges) {
    if (!IsValidUtf8(line)) return InvalidArgument("merges: expected UTF-8");
    VX_ASSIGN_OR_RETURN(const BpeMerge merge, ParseMerge(parts.tokens, line));
    parts.merges.push_back(merge);
  }
  return {};
}

Status CheckId(const TokenizerParts& parts, std::string_view name, std::optional<int64_t> id) {
  if (!id || parts.tokens.Contains(*id)) return {};
  return InvalidArgument("{}_token_id: expected a token of the vocabulary (0 to {}), found {}",
                         name, parts.tokens.size() - 1, *id);
}

Status SetSpecialIds(const TokenizerVocabulary& vocabulary, bool add_bos, TokenizerParts& parts) {
  VX_RETURN_IF_ERROR(CheckId(parts, "bos", vocabulary.bos_id));
  VX_RETURN_IF_ERROR(CheckId(parts, "eos", vocabulary.eos_id));
  VX_RETURN_IF_ERROR(CheckId(parts, "eot", vocabulary.eot_id));
  VX_RETURN_IF_ERROR(CheckId(parts, "eom", vocabulary.eom_id));
  const auto narrow = [](std::optional<int64_t> id) {
    return id ? std::optional(static_cast<int32_t>(*id)) : std::nullopt;
  };
  parts.bos_id = narrow(vocabulary.bos_id);
  parts.eos_id = narrow(vocabulary.eos_id);
  for (const auto& id : {vocabulary.eos_id, vocabulary.eot_id, vocabulary.eom_id}) {
    const std::optional<int32_t> stop = narrow(id);
    if (stop && std::ranges::find(parts.stop_ids, *stop) == parts.stop_ids.end()) {
      parts.stop_ids.push_back(*stop);
    }
  }
  if (add_bos && !parts.bos_id) {
    return InvalidArgument("bos_token_id: expected an id, because bos is added, found none");
  }
  if (add_bos) parts.prefix = {*parts.bos_id};
  const bool add_eos = vocabulary.add_eos.value_or(false);
  if (add_eos && !parts.eos_id) {
    return InvalidArgument("eos_token_id: expected an id, because eos is added, found none");
  }
  if (add_eos) parts.suffix = {*parts.eos_id};
  return {};
}

Result<TokenizerParts> ReadVocabulary(const TokenizerVocabulary& vocabulary) {
  if (vocabulary.model != "gpt2") {
    return Unsupported("model: expected \"gpt2\" (byte-level BPE), found \"{}\"", vocabulary.model);
  }
  const std::vector<PreTokenizer> known = PreTokenizers();
  const auto pre = std::ranges::find(known, vocabulary.pre, &PreTokenizer::name);
  if (pre == known.end()) {
    return Unsupported("pre: expected \"smollm\", \"llama-bpe\" or \"qwen2\", found \"{}\"",
                       vocabulary.pre);
  }
  TokenizerParts parts;
  parts.splitters = pre->splitters;
  parts.nfc = pre->nfc;
  parts.ignore_merges = pre->ignore_merges;
  VX_RETURN_IF_ERROR(AddTokens(vocabulary, parts));
  VX_RETURN_IF_ERROR(AddMerges(vocabulary, parts));
  VX_RETURN_IF_ERROR(SetSpecialIds(vocabulary, vocabulary.add_bos.value_or(pre->add_bos), parts));
  return parts;
}

}  // namespace

Result<Tokenizer> Tokenizer::FromVocabulary(const TokenizerVocabulary& vocabulary) {
  Result<TokenizerParts> parts = ReadVocabulary(vocabulary);
  if (!parts.ok()) {
    return Error{parts.error().code,
                 fmt::format("{}: tokenizer.ggml.{}", vocabulary.source, parts.error().message)};
  }
  return Tokenizer(std::move(parts).value());
}

}  // namespace vexact
