#include "model/model.h"

#include <fmt/format.h>

namespace vexact {
namespace {

const Family& FamilyOf(ModelFamily family) {
  switch (family) {
    case ModelFamily::kLlama:
      return kLlamaFamily;
    case ModelFamily::kQwen2:
      return kQwen2Family;
    case ModelFamily::kQwen3:
      return kQwen3Family;
    case ModelFamily::kQwen3Moe:
      return kQwen3MoeFamily;
  }
  VX_CHECK(false, "a ModelFamily outside the enumeration");
  return kLlamaFamily;
}

}  // namespace

Result<std::shared_ptr<const Model>> Model::Load(const Checkpoint& checkpoint,
                                                 std::shared_ptr<const Backend> backend,
                                                 const ModelLoadOptions& options) {
  std::shared_ptr<Model> model(new Model);
  model->config_ = checkpoint.config();
  model->backend_ = std::move(backend);
  const ModelConfig& config = model->config_;
  model->family_ = &FamilyOf(config.family);
  const int64_t max_positions =
      options.max_positions > 0 ? options.max_positions : config.max_position_embeddings;
  model->rope_ = BuildRopeTable(config.rope, max_positions);

  VX_ASSIGN_OR_RETURN(model->embeddings_, checkpoint.Load("model.embed_tokens.weight"));
  for (int64_t i = 0; i < config.num_layers; ++i) {
    const LayerLoader load(checkpoint, *model->backend_, fmt::format("model.layers.{}.", i));
    VX_ASSIGN_OR_RETURN(LayerWeights layer, model->family_->load_layer(load, config));
    model->layers_.push_back(std::move(layer));
    if (options.progress) options.progress(i + 1, config.num_layers);
  }
  const LayerLoader load(checkpoint, *model->backend_, "");
  VX_RETURN_IF_ERROR(load.Vector({"model.norm.weight"}, &model->final_norm_));
  VX_RETURN_IF_ERROR(
      load.Linear({config.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight"},
                  &model->lm_head_));
  return std::shared_ptr<const Model>(std::move(model));
}

int64_t Model::KvBytesPerToken() const {
  return int64_t{config_.num_layers} * 2 * config_.num_kv_heads * config_.head_dim *
         static_cast<int64_t>(sizeof(bf16));
}

PagedKv Model::LayerKv(const KvPoolView& pool, int64_t layer) const {
  const int64_t block_elements =
      int64_t{2} * config_.num_kv_heads * pool.block_size * config_.head_dim;
  return {.pool = pool.data + layer * pool.num_blocks * block_elements,
          .num_blocks = pool.num_blocks,
          .block_size = pool.block_size,
          .num_kv_heads = config_.num_kv_heads,
          .head_dim = config_.head_dim,
          .block_stride = block_elements};
}

void Model::Forward(const ForwardInputs& inputs, const KvPoolView& pool, const Workspace& workspace,
                    Rows<bf16> hidden, Stream& stream) const {
  VX_CHECK(inputs.num_tokens <= workspace.max_tokens() && hidden.rows == inputs.num_tokens);
  const Rows<const bf16> table(embeddings_.data, config_.vocab_size, config_.hidden_size);
  backend_->Embedding({.table = table, .ids = inputs.token_ids, .y = hidden}, stream);
  for (size_t i = 0; i < layers_.size(); ++i) {
    const DecoderStep step = {.config = config_,
                              .backend = *backend_,
                              .rope = rope_,
                              .workspace = workspace,
                              .inputs = inputs,
                              .kv = LayerKv(pool, static_cast<int64_t>(i)),
                              .hidden = hidden,
                              .stream = stream};
    family_->run_layer(layers_[i], step);
  }
}

void Model::Logits(Rows<const bf16> hidden, const Workspace& workspace, Rows<float> logits,
                   Stream& stream) const {
  VX_CHECK(hidden.rows <= workspace.max_logit_rows() && logits.rows == hidden.rows);
  const Rows<bf16> normed = workspace.FinalNormed(hidden.rows);
  backend_->RmsNorm({.x = hidden,
                     .weight = final_norm_.data(),
                     .group = config_.hidden_size,
                     .eps = config_.rms_norm_eps,
                     .y = normed},
                    stream);
  backend_->Linear({.x = normed, .weight = &lm_head_, .y_fp32 = logits}, stream);
}

}  // namespace vexact
