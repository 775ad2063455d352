// budget: one reader for one file format; each of its parts is a short function of its own
// Tokenizer::FromHfJson: tokenizer.json and tokenizer_config.json of Hugging Face.
#include <algorithm>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_set>
#include <utility>

#include "tokenizer/normalization.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_parts.h"

namespace vexact {
namespace {

using Json = nlohmann::json;

// Real files have 6 levels. The parser needs no stack for more, but nothing good has them.
constexpr int kMaxDepth = 32;

bool IsTooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxDepth) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

Result<Json> ParseObject(std::string_view text) {
  if (IsTooDeep(text)) {
    return InvalidArgument("expected at most {} levels of nesting, found more", kMaxDepth);
  }
  try {
    Json json = Json::parse(text.begin(), text.end());
    if (json.is_object()) return json;
    return InvalidArgument("expected a JSON object, found {}", json.type_name());
  } catch (const Json::exception& error) {
    // The library quotes the token that it stopped at, which may be as long as the file.
    return InvalidArgument("expected JSON, found: {}",
                           std::string_view(error.what()).substr(0, 200));
  }
}

// What a message shows of a value: a file may hold megabytes in one.
std::string Shown(const Json& value) {
  if (value.is_structured()) return value.is_object() ? "an object" : "an array";
  std::string text = value.dump(-1, ' ', true);
  if (text.size() > 300) text = text.substr(0, 300) + "...";
  return text;
}

// The value of `key`, or null if it is absent. Requires: nothing of `object`.
const Json& Field(const Json& object, const char* key) {
  static const Json kAbsent;  // immutable
  if (!object.is_object()) return kAbsent;
  const auto it = object.find(key);
  return it == object.end() ? kAbsent : *it;
}

Result<bool> ReadBool(const Json& object, const char* key, bool absent) {
  const Json& value = Field(object, key);
  if (value.is_null()) return absent;
  if (value.is_boolean()) return value.get<bool>();
  return InvalidArgument("\"{}\": expected true or false, found {}", key, Shown(value));
}

Result<std::string> ReadString(const Json& object, const char* key) {
  const Json& value = Field(object, key);
  if (value.is_string()) return value.get<std::string>();
  return InvalidArgument("\"{}\": expected a string, found {}", key, Shown(value));
}

Result<int64_t> ReadId(const Json& value) {
  if (value.is_number_integer() && (value.is_number_unsigned() || value.get<int64_t>() >= 0) &&
      value.get<uint64_t>() <= static_cast<uint64_t>(TokenTable::kMaxTokens)) {
    return value.get<int64_t>();
  }
  return InvalidArgument("expected a token id from 0 to {}, found {}", TokenTable::kMaxTokens - 1,
                         Shown(value));
}

// `kind` is the place in the file, such as "decoder".
Error RefusedType(const char* kind, const Json& component, const char* supported) {
  return Unsupported("{}: expected type {}, found {}", kind, supported,
                     Shown(component.is_object() ? Field(component, "type") : component));
}

bool IsType(const Json& component, std::string_view type) {
  const Json& value = Field(component, "type");
  return value.is_string() && value.get_ref<const std::string&>() == type;
}

// Appends the components that a nest of "Sequence" holds in its array `key`; null holds none.
void Flatten(const Json& component, const char* key, std::vector<const Json*>& flat) {
  if (component.is_null()) return;
  if (IsType(component, "Sequence") && Field(component, key).is_array()) {
    for (const Json& part : Field(component, key)) Flatten(part, key, flat);
  } else {
    flat.push_back(&component);
  }
}

std::vector<const Json*> Flat(const Json& component, const char* key) {
  std::vector<const Json*> flat;
  Flatten(component, key, flat);
  return flat;
}

Status ReadVocab(const Json& model, TokenTable& tokens) {
  const Json& vocab = Field(model, "vocab");
  if (!vocab.is_object()) {
    return InvalidArgument("model.vocab: expected an object, found {}", Shown(vocab));
  }
  for (const auto& [text, value] : vocab.items()) {
    VX_ASSIGN_OR_RETURN(const int64_t id, ReadId(value));
    VX_RETURN_IF_ERROR(tokens.Add(text, id, TokenTable::Origin::kModel));
  }
  return {};
}

Status ReadMerges(const Json& model, TokenizerParts& parts) {
  const Json& merges = Field(model, "merges");
  if (!merges.is_array()) {
    return InvalidArgument("model.merges: expected an array, found {}", Shown(merges));
  }
  parts.merges.reserve(merges.size());
  for (const Json& merge : merges) {
    if (merge.is_string()) {
      const auto& line = merge.get_ref<const std::string&>();
      if (line.starts_with("#version")) continue;
      VX_ASSIGN_OR_RETURN(const BpeMerge read, ParseMerge(parts.tokens, line));
      parts.merges.push_back(read);
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
               merge[1].is_string()) {
      VX_ASSIGN_OR_RETURN(const BpeMerge read,
                          MakeMerge(parts.tokens, merge[0].get_ref<const std::string&>(),
                                    merge[1].get_ref<const std::string&>()));
      parts.merges.push_back(read);
    } else {
      return InvalidArgument(
          "model.merges: expected \"left right\" or [\"left\", \"right\"], "
          "found {}",
          Shown(merge));
    }
  }
  return {};
}

// The parts of the BPE that byte-level vocabularies do not use.
Status RefuseModelOptions(const Json& model) {
  const Json& dropout = Field(model, "dropout");
  if (!dropout.is_null() && !(dropout.is_number() && dropout.get<double>() == 0)) {
    return Unsupported("model.dropout: expected null, found {}", Shown(dropout));
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json& affix = Field(model, key);
    if (!affix.is_null() && affix != Json(std::string())) {
      return Unsupported("model.{}: expected null or \"\", found {}", key, Shown(affix));
    }
  }
  for (const char* key : {"byte_fallback", "fuse_unk"}) {
    VX_ASSIGN_OR_RETURN(const bool is_set, ReadBool(model, key, false));
    if (is_set) return Unsupported("model.{}: expected false, found true", key);
  }
  return {};
}

Status ReadModel(const Json& model, TokenizerParts& parts) {
  const bool is_untyped_bpe = Field(model, "type").is_null() && Field(model, "merges").is_array();
  if (!IsType(model, "BPE") && !is_untyped_bpe) return RefusedType("model", model, "\"BPE\"");
  VX_RETURN_IF_ERROR(RefuseModelOptions(model));
  VX_ASSIGN_OR_RETURN(parts.ignore_merges, ReadBool(model, "ignore_merges", false));
  VX_RETURN_IF_ERROR(ReadVocab(model, parts.tokens));
  VX_RETURN_IF_ERROR(ReadMerges(model, parts));
  if (Field(model, "unk_token").is_null()) return {};
  VX_ASSIGN_OR_RETURN(const std::string unknown, ReadString(model, "unk_token"));
  parts.unknown_id = parts.tokens.FindText(unknown);
  if (parts.unknown_id) return {};
  return InvalidArgument("model.unk_token: expected a token of the vocabulary, found \"{}\"",
                         unknown);
}

Status ReadNormalizer(const Json& normalizer, TokenizerParts& parts) {
  for (const Json* part : Flat(normalizer, "normalizers")) {
    if (!IsType(*part, "NFC")) return RefusedType("normalizer", *part, "\"NFC\" or \"Sequence\"");
    parts.nfc = true;
  }
  return {};
}

Result<Splitter> ReadSplit(const Json& split) {
  const Json& pattern = Field(split, "pattern");
  const Json& regex = Field(pattern, "Regex");
  const std::optional<Splitter> splitter =
      regex.is_string() ? SplitterOfRegex(regex.get_ref<const std::string&>()) : std::nullopt;
  if (!splitter) {
    return Unsupported(
        "pre_tokenizer: Split: expected the regex of GPT-2, Llama 3 or Qwen2, "
        "found {}",
        Shown(regex.is_null() ? pattern : regex));
  }
  VX_ASSIGN_OR_RETURN(const std::string behavior, ReadString(split, "behavior"));
  VX_ASSIGN_OR_RETURN(const bool invert, ReadBool(split, "invert", false));
  if (behavior != "Isolated" || invert) {
    return Unsupported(
        "pre_tokenizer: Split: expected behavior \"Isolated\" not inverted, found "
        "\"{}\"{}",
        behavior, invert ? " inverted" : "");
  }
  return *splitter;
}

Status ReadPreTokenizer(const Json& pre_tokenizer, TokenizerParts& parts) {
  bool is_byte_level = false;
  for (const Json* part : Flat(pre_tokenizer, "pretokenizers")) {
    if (is_byte_level) {
      return Unsupported("pre_tokenizer: expected ByteLevel to be the last, found {} behind it",
                         Shown(Field(*part, "type")));
    }
    if (IsType(*part, "Split")) {
      VX_ASSIGN_OR_RETURN(const Splitter splitter, ReadSplit(*part));
      parts.splitters.push_back(splitter);
    } else if (IsType(*part, "Digits")) {
      VX_ASSIGN_OR_RETURN(const bool individual, ReadBool(*part, "individual_digits", false));
      parts.splitters.push_back(individual ? Splitter::kSingleNumbers : Splitter::kNumberRuns);
    } else if (IsType(*part, "ByteLevel")) {
      VX_ASSIGN_OR_RETURN(const bool add_space, ReadBool(*part, "add_prefix_space", true));
      if (add_space) {
        return Unsupported("pre_tokenizer: ByteLevel: expected add_prefix_space false, found true");
      }
      VX_ASSIGN_OR_RETURN(const bool use_regex, ReadBool(*part, "use_regex", true));
      if (use_regex) parts.splitters.push_back(Splitter::kGpt2);
      is_byte_level = true;
    } else {
      return RefusedType("pre_tokenizer", *part,
                         "\"ByteLevel\", \"Split\", \"Digits\" or \"Sequence\"");
    }
  }
  if (is_byte_level) return {};
  return Unsupported("pre_tokenizer: expected a ByteLevel at its end, found none");
}

Status ReadDecoder(const Json& decoder) {
  const std::vector<const Json*> flat = Flat(decoder, "decoders");
  if (flat.size() == 1 && IsType(*flat[0], "ByteLevel")) return {};
  return RefusedType("decoder", flat.empty() ? decoder : *flat[0], "\"ByteLevel\" alone");
}

// Appends the ids of the special token `name` of a TemplateProcessing.
Status ReadTemplateToken(const Json& processor, const Json& name, const TokenTable& tokens,
                         std::vector<int32_t>& ids) {
  const Json& token = name.is_string() ? Field(Field(processor, "special_tokens"),
                                               name.get_ref<const std::string&>().c_str())
                                       : name;
  const Json& token_ids = Field(token, "ids");
  if (!token_ids.is_array()) {
    return InvalidArgument("post_processor: expected ids of the special token {}, found {}",
                           Shown(name), Shown(token_ids));
  }
  for (const Json& value : token_ids) {
    VX_ASSIGN_OR_RETURN(const int64_t id, ReadId(value));
    if (!tokens.Contains(id)) {
      return InvalidArgument("post_processor: expected ids of the vocabulary, found {}", id);
    }
    ids.push_back(static_cast<int32_t>(id));
  }
  return {};
}

// The template of one text: special tokens around "$A".
Status ReadTemplate(const Json& processor, TokenizerParts& parts) {
  std::vector<int32_t> before, after;
  int num_texts = 0;
  const Json& single = Field(processor, "single");
  if (!single.is_array()) {
    return InvalidArgument("post_processor: \"single\": expected an array, found {}",
                           Shown(single));
  }
  for (const Json& item : single) {
    const Json& special = Field(item, "SpecialToken");
    if (!special.is_null()) {
      VX_RETURN_IF_ERROR(ReadTemplateToken(processor, Field(special, "id"), parts.tokens,
                                           num_texts == 0 ? before : after));
    } else if (Field(Field(item, "Sequence"), "id") == "A") {
      ++num_texts;
    } else {
      return InvalidArgument(
          "post_processor: \"single\": expected SpecialToken or Sequence A, "
          "found {}",
          Shown(item));
    }
  }
  if (num_texts != 1) {
    return InvalidArgument("post_processor: \"single\": expected Sequence A once, found {} times",
                           num_texts);
  }
  parts.prefix.insert(parts.prefix.begin(), before.begin(), before.end());
  parts.suffix.insert(parts.suffix.end(), after.begin(), after.end());
  return {};
}

Status ReadPostProcessor(const Json& post_processor, TokenizerParts& parts) {
  for (const Json* part : Flat(post_processor, "processors")) {
    if (IsType(*part, "ByteLevel")) continue;  // changes offsets only
    if (!IsType(*part, "TemplateProcessing")) {
      return RefusedType("post_processor", *part,
                         "\"TemplateProcessing\", \"ByteLevel\" or \"Sequence\"");
    }
    VX_RETURN_IF_ERROR(ReadTemplate(*part, parts));
  }
  return {};
}

Status AddToken(const Json& json, const Json& id_value, TokenizerParts& parts) {
  AddedToken token;
  VX_ASSIGN_OR_RETURN(token.content, ReadString(json, "content"));
  if (token.content.empty()) return {};
  VX_ASSIGN_OR_RETURN(const int64_t id, ReadId(id_value));
  VX_ASSIGN_OR_RETURN(token.single_word, ReadBool(json, "single_word", false));
  VX_ASSIGN_OR_RETURN(token.lstrip, ReadBool(json, "lstrip", false));
  VX_ASSIGN_OR_RETURN(token.rstrip, ReadBool(json, "rstrip", false));
  VX_ASSIGN_OR_RETURN(token.special, ReadBool(json, "special", false));
  VX_ASSIGN_OR_RETURN(token.normalized, ReadBool(json, "normalized", !token.special));
  VX_RETURN_IF_ERROR(parts.tokens.Add(token.content, id, TokenTable::Origin::kAdded));
  token.id = static_cast<int32_t>(id);
  parts.added_tokens.push_back(std::move(token));
  return {};
}

Status ReadAddedTokens(const Json& added_tokens, TokenizerParts& parts) {
  if (added_tokens.is_null()) return {};
  if (!added_tokens.is_array()) {
    return InvalidArgument("added_tokens: expected an array, found {}", Shown(added_tokens));
  }
  for (const Json& token : added_tokens) {
    VX_RETURN_IF_ERROR(AddToken(token, Field(token, "id"), parts));
  }
  return {};
}

// tokenizer_config.json's "added_tokens_decoder" repeats "added_tokens" under their ids; what is
// there and not here is added, as transformers does.
Status ReadAddedTokensDecoder(const Json& decoder, TokenizerParts& parts) {
  if (!decoder.is_object()) return {};
  std::unordered_set<int32_t> added;
  for (const AddedToken& token : parts.added_tokens) added.insert(token.id);
  for (const auto& [key, token] : decoder.items()) {
    VX_ASSIGN_OR_RETURN(const std::string content, ReadString(token, "content"));
    const std::optional<int32_t> known = parts.tokens.FindText(content);
    if (known && added.contains(*known)) continue;
    const bool is_number = !key.empty() && key.size() < 10 &&
                           std::ranges::all_of(key, [](char c) { return c >= '0' && c <= '9'; });
    if (!is_number) {
      return InvalidArgument("added_tokens_decoder: expected token ids, found \"{}\"", key);
    }
    VX_RETURN_IF_ERROR(AddToken(token, Json(std::stoll(key)), parts));
  }
  return {};
}

// "bos_token" or "eos_token": null, a text, or an object with the text as "content".
Result<std::optional<int32_t>> ReadNamedToken(const Json& config, const char* key,
                                              const TokenTable& tokens) {
  const Json& value = Field(config, key);
  if (value.is_null()) return std::optional<int32_t>();
  VX_ASSIGN_OR_RETURN(const std::string text,
                      value.is_object() ? ReadString(value, "content") : ReadString(config, key));
  const std::optional<int32_t> id = tokens.FindText(text);
  if (id) return id;
  return InvalidArgument("\"{}\": expected a token of the vocabulary, found \"{}\"", key, text);
}

Status ReadConfig(std::string_view text, TokenizerParts& parts) {
  if (text.empty()) return {};
  VX_ASSIGN_OR_RETURN(const Json config, ParseObject(text));
  VX_RETURN_IF_ERROR(ReadAddedTokensDecoder(Field(config, "added_tokens_decoder"), parts));
  VX_ASSIGN_OR_RETURN(parts.bos_id, ReadNamedToken(config, "bos_token", parts.tokens));
  VX_ASSIGN_OR_RETURN(parts.eos_id, ReadNamedToken(config, "eos_token", parts.tokens));
  if (parts.eos_id) parts.stop_ids = {*parts.eos_id};
  return {};
}

Status ReadTokenizer(std::string_view text, TokenizerParts& parts) {
  VX_ASSIGN_OR_RETURN(const Json json, ParseObject(text));
  VX_RETURN_IF_ERROR(ReadModel(Field(json, "model"), parts));
  VX_RETURN_IF_ERROR(ReadAddedTokens(Field(json, "added_tokens"), parts));
  VX_RETURN_IF_ERROR(ReadNormalizer(Field(json, "normalizer"), parts));
  VX_RETURN_IF_ERROR(ReadPreTokenizer(Field(json, "pre_tokenizer"), parts));
  VX_RETURN_IF_ERROR(ReadDecoder(Field(json, "decoder")));
  return ReadPostProcessor(Field(json, "post_processor"), parts);
}

// The library looks for the normalised content of such a token and decodes to it, but knows its id
// by the content as written: two texts of one id, which no known model has.
Status RefuseDenormalizedTokens(const TokenizerParts& parts) {
  for (const AddedToken& token : parts.added_tokens) {
    if (parts.nfc && token.normalized && NormalizeNfc(token.content) != token.content) {
      return Unsupported(
          "added token {} with \"normalized\" true: expected content in NFC, found \"{}\"",
          token.id, token.content);
    }
  }
  return {};
}

Error WithPlace(std::string_view file_name, std::string_view place, const Error& error) {
  return Error{error.code, fmt::format("{}: {}{}", file_name, place, error.message)};
}

}  // namespace

Result<Tokenizer> Tokenizer::FromHfJson(std::string_view tokenizer_json,
                                        std::string_view tokenizer_config_json,
                                        std::string_view file_name) {
  TokenizerParts parts;
  try {
    if (const Status read = ReadTokenizer(tokenizer_json, parts); !read.ok()) {
      return WithPlace(file_name, "", read.error());
    }
    if (const Status read = ReadConfig(tokenizer_config_json, parts); !read.ok()) {
      return WithPlace(file_name, "tokenizer_config.json: ", read.error());
    }
    if (const Status refused = RefuseDenormalizedTokens(parts); !refused.ok()) {
      return WithPlace(file_name, "", refused.error());
    }
  } catch (const std::exception& error) {
    return MakeError(ErrorCode::kInternal, "{}: {}", file_name, error.what());
  }
  return Tokenizer(std::move(parts));
}

}  // namespace vexact
