#include "model/model.h"

#include <fmt/format.h>

#include <algorithm>

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
  VX_ASSIGN_OR_RETURN(OwnedStream owned, model->backend_->MakeStream(nullptr));
  Stream& stream = owned.stream;
  const auto weights = std::make_shared<Weights>();
  VX_RETURN_IF_ERROR(model->LoadRope(options, stream, weights.get()));

  for (int64_t i = 0; i < config.num_layers; ++i) {
    const LayerLoader load(checkpoint, *model->backend_, stream,
                           fmt::format("model.layers.{}.", i));
    VX_ASSIGN_OR_RETURN(LayerWeights layer, model->family_->load_layer(load, config));
    weights->layers.push_back(std::move(layer));
    if (options.progress) options.progress(i + 1, config.num_layers);
  }
  const LayerLoader load(checkpoint, *model->backend_, stream, "");
  VX_RETURN_IF_ERROR(load.Vector({"model.norm.weight"}, &weights->final_norm));
  VX_RETURN_IF_ERROR(
      load.Linear({config.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight"},
                  &weights->lm_head));
  VX_RETURN_IF_ERROR(model->LoadEmbeddings(checkpoint, stream, weights.get()));
  model->weights_ = weights;
  return std::shared_ptr<const Model>(std::move(model));
}

Result<std::shared_ptr<const Model>> Model::On(std::shared_ptr<const Backend> backend) const {
  if (!backend->SharesWeightsWith(*backend_)) {
    return InvalidArgument("weights by handle: expected a backend {}, found {}", backend_->name(),
                           backend->name());
  }
  std::shared_ptr<Model> model(new Model(*this));
  model->backend_ = std::move(backend);
  return std::shared_ptr<const Model>(std::move(model));
}

Status Model::LoadRope(const ModelLoadOptions& options, Stream& stream, Weights* weights) const {
  const int64_t max_positions =
      options.max_positions > 0 ? options.max_positions : config_.max_position_embeddings;
  const RopeTable table = BuildRopeTable(config_.rope, max_positions);
  const size_t bytes = table.cos.size() * sizeof(bf16);
  VX_ASSIGN_OR_RETURN(weights->rope_cos, backend_->Allocate(bytes));
  VX_ASSIGN_OR_RETURN(weights->rope_sin, backend_->Allocate(bytes));
  backend_->Upload(weights->rope_cos.data(), table.cos.data(), bytes, stream);
  backend_->Upload(weights->rope_sin.data(), table.sin.data(), bytes, stream);
  weights->rope = {table.max_positions, table.half, weights->rope_cos.as<bf16>(),
                   weights->rope_sin.as<bf16>()};
  return backend_->Synchronize(stream);
}

// The words are resident once: lm_head's where they are tied and it holds plain rows, the mapped
// file's where operators read the host's memory.
Status Model::LoadEmbeddings(const Checkpoint& checkpoint, Stream& stream, Weights* weights) const {
  if (config_.tie_word_embeddings && weights->lm_head.rows.data != nullptr) {
    weights->embeddings = weights->lm_head.rows;
    return {};
  }
  VX_ASSIGN_OR_RETURN(weights->host_embeddings, checkpoint.Load("model.embed_tokens.weight"));
  const bf16* words = weights->host_embeddings.data;
  if (!backend_->UsesHostMemory()) {
    const size_t bytes = sizeof(bf16) * config_.vocab_size * config_.hidden_size;
    VX_ASSIGN_OR_RETURN(weights->device_embeddings, backend_->Allocate(bytes));
    backend_->Upload(weights->device_embeddings.data(), words, bytes, stream);
    VX_RETURN_IF_ERROR(backend_->Synchronize(stream));
    weights->host_embeddings = Bf16Tensor();
    words = weights->device_embeddings.as<bf16>();
  }
  weights->embeddings = Rows<const bf16>(words, config_.vocab_size, config_.hidden_size);
  return {};
}

std::vector<LinearProblem> Model::LinearProblems() const {
  std::vector<LinearProblem> problems;
  const auto add = [&](const LinearWeight& weight, bool has_bias, bool fp32_output) {
    const LinearProblem problem{weight.out_features, weight.in_features, has_bias, fp32_output};
    const bool known = std::ranges::find(problems, problem) != problems.end();
    if (weight.out_features > 0 && !known) problems.push_back(problem);
  };
  for (const LayerWeights& layer : weights_->layers) {
    add(layer.qkv, layer.qkv_bias.size > 0, false);
    add(layer.o, false, false);
    add(layer.gate_up, false, false);
    add(layer.down, false, false);
    add(layer.router, false, true);
    for (const ExpertWeights& expert : layer.experts) {
      add(expert.gate_up, false, false);
      add(expert.down, false, false);
    }
  }
  add(weights_->lm_head, false, true);
  return problems;
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
  backend_->PlanAttention(inputs.sequences, workspace.attention_plan(), stream);
  backend_->Embedding({.table = weights_->embeddings,
                       .ids = inputs.token_ids,
                       .y = hidden,
                       .slots = inputs.pending_slots,
                       .newest = inputs.newest_tokens},
                      stream);
  const Rows<bf16> normed = workspace.Normed(inputs.num_tokens);
  backend_->RmsNorm({.x = hidden,
                     .weight = weights_->layers.front().input_norm.data(),
                     .group = config_.hidden_size,
                     .eps = config_.rms_norm_eps,
                     .y = normed},
                    stream);
  for (size_t i = 0; i < weights_->layers.size(); ++i) {
    const bool is_last = i + 1 == weights_->layers.size();
    const DecoderStep step = {
        .config = config_,
        .backend = *backend_,
        .rope = weights_->rope,
        .workspace = workspace,
        .inputs = inputs,
        .kv = LayerKv(pool, static_cast<int64_t>(i)),
        .hidden = hidden,
        .next_norm = is_last ? weights_->final_norm : weights_->layers[i + 1].input_norm,
        .next_normed = is_last ? hidden : normed,
        .stream = stream};
    family_->run_layer(weights_->layers[i], step);
  }
}

void Model::Logits(Rows<const bf16> hidden, const Workspace& workspace, Rows<float> logits,
                   Stream& stream) const {
  VX_CHECK(hidden.rows <= workspace.max_logit_rows() && logits.rows == hidden.rows);
  backend_->Linear({.x = hidden, .weight = &weights_->lm_head, .y_fp32 = logits}, stream);
}

}  // namespace vexact
