#include "checkpoint/gguf_names.h"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace vexact {
namespace {

using NamePair = std::pair<std::string_view, std::string_view>;

constexpr NamePair kModelNames[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
};

// After "blk.N." and "model.layers.N.".
constexpr NamePair kLayerNames[] = {
    {"attn_norm.weight", "input_layernorm.weight"},
    {"attn_q.weight", "self_attn.q_proj.weight"},
    {"attn_q.bias", "self_attn.q_proj.bias"},
    {"attn_k.weight", "self_attn.k_proj.weight"},
    {"attn_k.bias", "self_attn.k_proj.bias"},
    {"attn_v.weight", "self_attn.v_proj.weight"},
    {"attn_v.bias", "self_attn.v_proj.bias"},
    {"attn_output.weight", "self_attn.o_proj.weight"},
    {"attn_q_norm.weight", "self_attn.q_norm.weight"},
    {"attn_k_norm.weight", "self_attn.k_norm.weight"},
    {"ffn_norm.weight", "post_attention_layernorm.weight"},
    {"ffn_gate.weight", "mlp.gate_proj.weight"},
    {"ffn_up.weight", "mlp.up_proj.weight"},
    {"ffn_down.weight", "mlp.down_proj.weight"},
    {"ffn_gate_inp.weight", "mlp.gate.weight"},
};

// After "blk.N." and "model.layers.N.mlp.experts.E".
constexpr NamePair kExpertNames[] = {
    {"ffn_gate_exps.weight", ".gate_proj.weight"},
    {"ffn_up_exps.weight", ".up_proj.weight"},
    {"ffn_down_exps.weight", ".down_proj.weight"},
};

}  // namespace

std::optional<GgufNameMapping> MapGgufName(std::string_view name) {
  for (const auto& [gguf, hf] : kModelNames) {
    if (name == gguf) return GgufNameMapping{.prefix = std::string(hf), .suffix = ""};
  }
  constexpr std::string_view kBlock = "blk.";
  if (!name.starts_with(kBlock)) return std::nullopt;
  name.remove_prefix(kBlock.size());
  int layer = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  const std::string digits = fmt::to_string(layer);
  if (error != std::errc() || layer < 0 || !name.starts_with(digits + ".")) return std::nullopt;
  name.remove_prefix(digits.size() + 1);
  for (const auto& [gguf, hf] : kLayerNames) {
    if (name == gguf) {
      return GgufNameMapping{
          .prefix = fmt::format("model.layers.{}.{}", layer, hf),
          .suffix = "",
          .is_rotary_projection = name == "attn_q.weight" || name == "attn_k.weight"};
    }
  }
  for (const auto& [gguf, hf] : kExpertNames) {
    if (name == gguf) {
      return GgufNameMapping{.prefix = fmt::format("model.layers.{}.mlp.experts.", layer),
                             .suffix = std::string(hf),
                             .is_merged_experts = true};
    }
  }
  return std::nullopt;
}

}  // namespace vexact
