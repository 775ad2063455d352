#include "support/gguf_writer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "base/check.h"
#include "checkpoint/expected_tensors.h"

namespace vexact {
namespace {

constexpr uint32_t kInt32 = 5;
constexpr uint32_t kUint32 = 4;
constexpr uint32_t kFloat32 = 6;
constexpr uint32_t kBool = 7;
constexpr uint32_t kString = 8;
constexpr uint32_t kArray = 9;
constexpr int kBlock = 32;

std::string StringBytes(std::string_view text) {
  return BytesOf(uint64_t{text.size()}) + std::string(text);
}

template <typename T>
std::string ArrayBytes(uint32_t type, const std::vector<T>& values) {
  std::string bytes = BytesOf(type) + BytesOf(uint64_t{values.size()});
  for (const T& value : values) bytes += BytesOf(value);
  return bytes;
}

uint64_t AlignUp(uint64_t offset, uint64_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

// d = the value of largest magnitude over `levels`, as ggml's reference quantisers do.
std::string EncodeQ8Block(std::span<const bf16> words) {
  float largest = 0.0f;
  for (const bf16 word : words) largest = std::max(largest, std::fabs(FloatFromBf16(word)));
  const float d = largest / 127.0f;
  std::string bytes = BytesOf(F16FromFloat(d));
  for (const bf16 word : words) {
    const float q = d == 0.0f ? 0.0f : std::round(FloatFromBf16(word) / d);
    bytes += BytesOf(static_cast<int8_t>(q));
  }
  return bytes;
}

// `levels` are q = 0..15, already chosen for the 32 values.
std::string PackNibbles(const int (&levels)[kBlock]) {
  std::string bytes;
  for (int i = 0; i < kBlock / 2; ++i) {
    bytes += static_cast<char>(levels[i] | (levels[i + kBlock / 2] << 4));
  }
  return bytes;
}

std::string EncodeQ4Block(std::span<const bf16> words, bool has_minimum) {
  float low = FloatFromBf16(words[0]);
  float high = low;
  for (const bf16 word : words) {
    low = std::min(low, FloatFromBf16(word));
    high = std::max(high, FloatFromBf16(word));
  }
  const float farthest = std::fabs(low) > std::fabs(high) ? low : high;
  const float d = has_minimum ? (high - low) / 15.0f : farthest / -8.0f;
  const float origin = has_minimum ? low : -8.0f * d;
  int levels[kBlock];
  for (int i = 0; i < kBlock; ++i) {
    const float q = d == 0.0f ? 0.0f : std::round((FloatFromBf16(words[i]) - origin) / d);
    levels[i] = static_cast<int>(std::clamp(q, 0.0f, 15.0f));
  }
  std::string bytes = BytesOf(F16FromFloat(d));
  if (has_minimum) bytes += BytesOf(F16FromFloat(low));
  return bytes + PackNibbles(levels);
}

std::string EncodeBlock(uint32_t type, std::span<const bf16> words) {
  return type == kGgufQ8_0 ? EncodeQ8Block(words) : EncodeQ4Block(words, type == kGgufQ4_1);
}

// llama.cpp's order of a head's rows: rotate_half's rows i and i + D/2 become 2i and 2i + 1.
std::vector<bf16> PermuteRows(std::span<const bf16> words, int64_t head_dim, int64_t cols) {
  std::vector<bf16> permuted;
  const int64_t heads = static_cast<int64_t>(words.size()) / (head_dim * cols);
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t i = 0; i < head_dim / 2; ++i) {
      for (const int64_t row : {i, i + head_dim / 2}) {
        const auto from = words.subspan((head * head_dim + row) * cols, cols);
        permuted.insert(permuted.end(), from.begin(), from.end());
      }
    }
  }
  return permuted;
}

std::string ReplaceFirst(std::string text, std::string_view from, std::string_view to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

// The file's name of a tensor; a name without an expert's number for merged experts.
std::string GgufName(std::string name) {
  static constexpr std::pair<std::string_view, std::string_view> kParts[] = {
      {"model.embed_tokens", "token_embd"},
      {"model.norm", "output_norm"},
      {"lm_head", "output"},
      {"model.layers.", "blk."},
      {"input_layernorm", "attn_norm"},
      {"post_attention_layernorm", "ffn_norm"},
      {"self_attn.q_proj", "attn_q"},
      {"self_attn.k_proj", "attn_k"},
      {"self_attn.v_proj", "attn_v"},
      {"self_attn.o_proj", "attn_output"},
      {"self_attn.q_norm", "attn_q_norm"},
      {"self_attn.k_norm", "attn_k_norm"},
      {"mlp.gate_proj", "ffn_gate"},
      {"mlp.up_proj", "ffn_up"},
      {"mlp.down_proj", "ffn_down"},
      {"mlp.gate.", "ffn_gate_inp."},
      {"mlp.experts.gate_proj", "ffn_gate_exps"},
      {"mlp.experts.up_proj", "ffn_up_exps"},
      {"mlp.experts.down_proj", "ffn_down_exps"},
  };
  const size_t expert = name.find("experts.");
  if (expert != std::string::npos) {
    const size_t number = expert + std::string_view("experts.").size();
    name.erase(number, name.find('.', number) + 1 - number);
  }
  for (const auto& [from, to] : kParts) name = ReplaceFirst(std::move(name), from, to);
  return name;
}

std::string_view ArchitectureName(ModelFamily family) {
  return family == ModelFamily::kQwen3Moe ? "qwen3moe" : ModelFamilyName(family);
}

void WriteConfig(const ModelConfig& config, GgufWriter& writer) {
  const std::string prefix = std::string(ArchitectureName(config.family)) + ".";
  writer.SetString("general.architecture", ArchitectureName(config.family));
  writer.SetUint32(prefix + "context_length", config.max_position_embeddings);
  writer.SetUint32(prefix + "embedding_length", config.hidden_size);
  writer.SetUint32(prefix + "block_count", config.num_layers);
  writer.SetUint32(prefix + "feed_forward_length", config.intermediate_size);
  writer.SetUint32(prefix + "attention.head_count", config.num_heads);
  writer.SetUint32(prefix + "attention.head_count_kv", config.num_kv_heads);
  writer.SetUint32(prefix + "attention.key_length", config.head_dim);
  writer.SetUint32(prefix + "attention.value_length", config.head_dim);
  writer.SetFloat32(prefix + "attention.layer_norm_rms_epsilon", config.rms_norm_eps);
  writer.SetFloat32(prefix + "rope.freq_base", static_cast<float>(config.rope.theta));
  if (config.family == ModelFamily::kQwen3Moe) {
    writer.SetUint32(prefix + "expert_count", config.moe.num_experts);
    writer.SetUint32(prefix + "expert_used_count", config.moe.num_experts_per_tok);
    writer.SetUint32(prefix + "expert_feed_forward_length", config.moe.moe_intermediate_size);
  }
  if (config.bos_token_id) writer.SetUint32("tokenizer.ggml.bos_token_id", *config.bos_token_id);
  const char* const stops[] = {"eos", "eot", "eom"};
  for (size_t i = 0; i < std::min<size_t>(config.stop_token_ids.size(), 3); ++i) {
    writer.SetUint32(std::string("tokenizer.ggml.") + stops[i] + "_token_id",
                     config.stop_token_ids[i]);
  }
}

}  // namespace

void GgufWriter::SetRaw(std::string_view key, uint32_t type, std::string value) {
  const auto it = std::find_if(values_.begin(), values_.end(),
                               [key](const Value& existing) { return existing.key == key; });
  if (it == values_.end()) {
    values_.push_back({std::string(key), type, std::move(value)});
  } else {
    *it = {std::string(key), type, std::move(value)};
  }
}

void GgufWriter::SetUint32(std::string_view key, uint32_t value) {
  SetRaw(key, kUint32, BytesOf(value));
}
void GgufWriter::SetFloat32(std::string_view key, float value) {
  SetRaw(key, kFloat32, BytesOf(value));
}
void GgufWriter::SetBool(std::string_view key, bool value) { SetRaw(key, kBool, BytesOf(value)); }
void GgufWriter::SetString(std::string_view key, std::string_view value) {
  SetRaw(key, kString, StringBytes(value));
}
void GgufWriter::SetStrings(std::string_view key, const std::vector<std::string>& values) {
  std::string bytes = BytesOf(kString) + BytesOf(uint64_t{values.size()});
  for (const std::string& value : values) bytes += StringBytes(value);
  SetRaw(key, kArray, std::move(bytes));
}
void GgufWriter::SetInt32s(std::string_view key, const std::vector<int32_t>& values) {
  SetRaw(key, kArray, ArrayBytes(kInt32, values));
}
void GgufWriter::SetFloat32s(std::string_view key, const std::vector<float>& values) {
  SetRaw(key, kArray, ArrayBytes(kFloat32, values));
}
void GgufWriter::Remove(std::string_view key) {
  std::erase_if(values_, [key](const Value& value) { return value.key == key; });
}

GgufWriter::Tensor& GgufWriter::TensorNamed(std::string_view name) {
  const auto it = std::find_if(tensors_.begin(), tensors_.end(),
                               [name](const Tensor& tensor) { return tensor.name == name; });
  VX_CHECK(it != tensors_.end(), name);
  return *it;
}

std::string GgufWriter::Bytes() const {
  std::string head = "GGUF" + BytesOf(version) + BytesOf(uint64_t{tensors_.size()}) +
                     BytesOf(uint64_t{values_.size()});
  for (const Value& value : values_) {
    head += StringBytes(value.key) + BytesOf(value.type) + value.bytes;
  }
  std::string data;
  for (const Tensor& tensor : tensors_) {
    data.resize(AlignUp(data.size(), alignment));
    const uint64_t offset = tensor.offset < 0 ? data.size() : static_cast<uint64_t>(tensor.offset);
    head += StringBytes(tensor.name) + BytesOf(static_cast<uint32_t>(tensor.shape.size()));
    for (auto size = tensor.shape.rbegin(); size != tensor.shape.rend(); ++size) {
      head += BytesOf(static_cast<uint64_t>(*size));
    }
    head += BytesOf(tensor.type) + BytesOf(offset);
    data += tensor.data;
  }
  head.resize(AlignUp(head.size(), alignment));
  return head + data;
}

uint16_t F16FromFloat(float x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const float magnitude = std::fabs(x);
  if (magnitude >= 65520.0f) return sign | 0x7c00;
  // The spacing of binary16 at this magnitude; at least that of its subnormals, 2^-24.
  const int exponent = magnitude == 0.0f ? -24 : std::max(std::ilogb(magnitude) - 10, -24);
  const float steps = std::nearbyint(std::ldexp(magnitude, -exponent));
  const int field = exponent == -24 ? 0 : exponent + 24;
  return static_cast<uint16_t>(sign | (static_cast<int>(steps) + (field << 10)));
}

std::string EncodeGguf(uint32_t type, std::span<const bf16> words) {
  std::string bytes;
  if (type == kGgufF32 || type == kGgufF16 || type == kGgufBf16) {
    for (const bf16 word : words) {
      bytes += type == kGgufF32   ? BytesOf(FloatFromBf16(word))
               : type == kGgufF16 ? BytesOf(F16FromFloat(FloatFromBf16(word)))
                                  : BytesOf(word);
    }
    return bytes;
  }
  VX_CHECK(words.size() % kBlock == 0);
  for (size_t i = 0; i < words.size(); i += kBlock)
    bytes += EncodeBlock(type, words.subspan(i, kBlock));
  return bytes;
}

GgufWriter GgufFromCheckpoint(const Checkpoint& checkpoint, uint32_t matrix_type) {
  const ModelConfig& config = checkpoint.config();
  GgufWriter writer;
  WriteConfig(config, writer);
  const auto add = [&](const ExpectedTensor& expected) -> Status {
    VX_ASSIGN_OR_RETURN(const Bf16Tensor tensor, checkpoint.Load(expected.name));
    size_t elements = 1;
    for (const int64_t size : expected.shape) elements *= size;
    std::vector<bf16> words(tensor.data, tensor.data + elements);
    const std::string name = GgufName(expected.name);
    const bool is_q_or_k = name.ends_with("attn_q.weight") || name.ends_with("attn_k.weight");
    if (config.family == ModelFamily::kLlama && is_q_or_k) {
      words = PermuteRows(words, config.head_dim, expected.shape[1]);
    }
    const bool is_matrix = expected.shape.size() > 1;
    const uint32_t type =
        is_matrix && !name.ends_with("ffn_gate_inp.weight") ? matrix_type : kGgufF32;
    std::string bytes = EncodeGguf(type, words);
    const auto merged =
        std::find_if(writer.tensors().begin(), writer.tensors().end(),
                     [&name](const GgufWriter::Tensor& other) { return other.name == name; });
    if (merged != writer.tensors().end()) {
      merged->data += bytes;
      ++merged->shape[0];
      return {};
    }
    std::vector<int64_t> shape = expected.shape;
    if (name.find("_exps.") != std::string::npos) shape.insert(shape.begin(), 1);
    writer.tensors().push_back({name, type, std::move(shape), std::move(bytes)});
    return {};
  };
  const Status status = VisitExpectedTensors(config, add);
  VX_CHECK(status.ok(), status.ok() ? "" : status.error().message);
  return writer;
}

}  // namespace vexact
