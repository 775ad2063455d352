#include "support/straight_line.h"

#include <algorithm>
#include <numeric>

#include "support/sampler_run.h"

namespace vexact {

StraightLine::StraightLine(const Checkpoint& checkpoint, std::shared_ptr<const Backend> backend)
    : config_(checkpoint.config()),
      backend_(std::move(backend)),
      rope_(BuildRopeTable(config_.rope, config_.max_position_embeddings)) {
  for (const TensorInfo& info : checkpoint.tensors()) {
    const Bf16Tensor tensor = checkpoint.Load(info.name).value();
    const bool embeds = info.name == "model.embed_tokens.weight";
    if (tensor.shape.size() == 1 || embeds) vectors_[info.name] = tensor;
    if (tensor.shape.size() == 1 || (embeds && !config_.tie_word_embeddings)) continue;
    const Rows<const bf16> rows(tensor.data, tensor.shape[0], tensor.shape[1]);
    linears_[embeds ? "lm_head.weight" : info.name] = backend_->PackLinear(rows).value();
  }
}

StraightLine::Matrix StraightLine::Linear(const std::string& name, const Matrix& x,
                                          int64_t rows) const {
  const LinearWeight& weight = linears_.at(name + ".weight");
  Matrix y(rows * weight.out_features);
  const auto bias = vectors_.find(name + ".bias");
  Stream stream{&pool_};
  backend_->Linear({.x = {x.data(), rows, weight.in_features},
                    .weight = &weight,
                    .bias = bias == vectors_.end() ? nullptr : bias->second.data,
                    .y = {y.data(), rows, weight.out_features}},
                   stream);
  return y;
}

void StraightLine::Norm(const std::string& name, int64_t group, Matrix* x, int64_t rows) const {
  const auto weight = vectors_.find(name + ".weight");
  if (weight == vectors_.end()) return;  // norms of q and k are in some families only
  const Rows<bf16> view(x->data(), rows, static_cast<int64_t>(x->size()) / rows);
  Stream stream{&pool_};
  backend_->RmsNorm({.x = view,
                     .weight = weight->second.data,
                     .group = group,
                     .eps = config_.rms_norm_eps,
                     .y = view},
                    stream);
}

// One sequence whose "pages" lie one after the other; the pool is full of NaN.
StraightLine::Matrix StraightLine::Attention(const std::string& layer, const Matrix& x,
                                             int64_t rows, const SequenceMask& mask) const {
  Stream stream{&pool_};
  const int64_t d = config_.head_dim;
  const int64_t q_cols = config_.num_heads * d;
  const int64_t kv_cols = config_.num_kv_heads * d;
  Matrix q = Linear(layer + "self_attn.q_proj", x, rows);
  Matrix k = Linear(layer + "self_attn.k_proj", x, rows);
  const Matrix v = Linear(layer + "self_attn.v_proj", x, rows);
  Norm(layer + "self_attn.q_norm", d, &q, rows);
  Norm(layer + "self_attn.k_norm", d, &k, rows);
  std::vector<int32_t> positions(rows);
  std::iota(positions.begin(), positions.end(), 0);
  for (Matrix* m : {&q, &k}) {
    const Rows<bf16> view(m->data(), rows, static_cast<int64_t>(m->size()) / rows);
    RopeReference({.x = view, .head_dim = d, .positions = positions.data(), .table = rope_.view()},
                  stream);
  }
  constexpr int64_t kBlockSize = 64;
  std::vector<int32_t> table((rows + kBlockSize - 1) / kBlockSize);
  std::iota(table.begin(), table.end(), 0);
  const auto num_blocks = static_cast<int64_t>(table.size());
  Matrix pool(num_blocks * 2 * kBlockSize * kv_cols, bf16{0x7fc0});
  const PagedKv kv = {pool.data(),          num_blocks, kBlockSize,
                      config_.num_kv_heads, d,          2 * kBlockSize * kv_cols};
  std::vector<uint8_t> faults(rows);
  KvWriteReference({.k = {k.data(), rows, kv_cols},
                    .v = {v.data(), rows, kv_cols},
                    .slots = positions.data(),
                    .kv = kv,
                    .row_faults = faults.data()},
                   stream);
  const std::vector<int32_t> query_start = {0, static_cast<int32_t>(rows)};
  const auto context_len = static_cast<int32_t>(rows);
  const int32_t block_table_start = 0;
  std::vector<int32_t> reach;
  for (int32_t p = 0; HasReach(mask.kind) && p < context_len; ++p) reach.push_back(mask.ReachAt(p));
  Matrix attended(rows * q_cols);
  backend_->Attention({.q = {q.data(), rows, q_cols},
                       .y = {attended.data(), rows, q_cols},
                       .num_heads = config_.num_heads,
                       .kv = kv,
                       .sequences = {.count = 1,
                                     .query_start = query_start.data(),
                                     .context_len = &context_len,
                                     .block_table_start = &block_table_start,
                                     .block_tables = table.data(),
                                     .mask = {.kind = mask.kind,
                                              .window = config_.sliding_window,
                                              .reach = reach.data()}}},
                      stream);
  return Linear(layer + "self_attn.o_proj", attended, rows);
}

StraightLine::Matrix StraightLine::Mlp(const std::string& mlp, const Matrix& x,
                                       int64_t rows) const {
  Stream stream{&pool_};
  Matrix gate = Linear(mlp + "gate_proj", x, rows);
  const Matrix up = Linear(mlp + "up_proj", x, rows);
  const int64_t cols = static_cast<int64_t>(gate.size()) / rows;
  backend_->SiluMul({.gate = {gate.data(), rows, cols},
                     .up = {up.data(), rows, cols},
                     .y = {gate.data(), rows, cols}},
                    stream);
  return Linear(mlp + "down_proj", gate, rows);
}

StraightLine::Matrix StraightLine::Experts(const std::string& mlp, const Matrix& x,
                                           int64_t rows) const {
  Stream stream{&pool_};
  const int64_t hidden = config_.hidden_size;
  const int64_t k = config_.moe.num_experts_per_tok;
  std::vector<float> scores(rows * config_.moe.num_experts);
  const Rows<float> score_rows(scores.data(), rows, config_.moe.num_experts);
  backend_->Linear({.x = {x.data(), rows, hidden},
                    .weight = &linears_.at(mlp + "gate.weight"),
                    .y_fp32 = score_rows},
                   stream);
  std::vector<int32_t> ids(rows * k);
  std::vector<float> weights(rows * k);
  backend_->MoeRoute({.scores = score_rows,
                      .norm_topk_prob = config_.moe.norm_topk_prob,
                      .ids = {ids.data(), rows, k},
                      .weights = {weights.data(), rows, k}},
                     stream);
  Matrix expert_rows;
  for (int64_t i = 0; i < rows * k; ++i) {
    const Matrix row(x.begin() + i / k * hidden, x.begin() + (i / k + 1) * hidden);
    const Matrix y = Mlp(mlp + "experts." + std::to_string(ids[i]) + ".", row, 1);
    expert_rows.insert(expert_rows.end(), y.begin(), y.end());
  }
  Matrix y(rows * hidden);
  backend_->MoeCombine({.expert_rows = {expert_rows.data(), rows * k, hidden},
                        .weights = {weights.data(), rows, k},
                        .y = {y.data(), rows, hidden}},
                       stream);
  return y;
}

std::vector<float> StraightLine::Logits(const std::vector<int32_t>& ids,
                                        const SequenceMask& mask) const {
  Stream stream{&pool_};
  const auto rows = static_cast<int64_t>(ids.size());
  const int64_t hidden = config_.hidden_size;
  Matrix h(rows * hidden);
  const Rows<bf16> h_rows(h.data(), rows, hidden);
  const auto add = [&h](const Matrix& y) {
    for (size_t i = 0; i < h.size(); ++i) {
      h[i] = Bf16FromFloat(FloatFromBf16(h[i]) + FloatFromBf16(y[i]));
    }
  };
  const Bf16Tensor& table = vectors_.at("model.embed_tokens.weight");
  backend_->Embedding(
      {.table = {table.data, config_.vocab_size, hidden}, .ids = ids.data(), .y = h_rows}, stream);
  for (int32_t i = 0; i < config_.num_layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    Matrix x = h;
    Norm(layer + "input_layernorm", hidden, &x, rows);
    add(Attention(layer, x, rows, mask));
    x = h;
    Norm(layer + "post_attention_layernorm", hidden, &x, rows);
    add(config_.moe.num_experts > 0 ? Experts(layer + "mlp.", x, rows)
                                    : Mlp(layer + "mlp.", x, rows));
  }
  Norm("model.norm", hidden, &h, rows);
  std::vector<float> logits(rows * config_.vocab_size);
  backend_->Linear({.x = h_rows,
                    .weight = &linears_.at("lm_head.weight"),
                    .y_fp32 = {logits.data(), rows, config_.vocab_size}},
                   stream);
  return logits;
}

StraightLineAnswer StraightLine::Answer(const ClaimedAnswer& claim) const {
  std::vector<int32_t> text = claim.prompt;
  text.insert(text.end(), claim.output.begin(), claim.output.end());
  const std::vector<float> logits = Logits(text, claim.mask);
  const auto prompt_len = static_cast<int32_t>(claim.prompt.size());
  const auto params = std::make_shared<const SamplingParams>(claim.params);
  const auto prompt_ids = std::make_shared<const std::vector<int32_t>>(claim.prompt);
  StraightLineAnswer answer;
  // Each token by a sampler that is told everything before it.
  for (int32_t position = 1; position < static_cast<int32_t>(text.size()); ++position) {
    const bool in_prompt = position < prompt_len;
    if (in_prompt && !claim.params.prompt_logprobs) continue;
    const int32_t output_len = std::max(0, position - prompt_len);
    const auto sampler =
        Sampler::Create(*backend_, {.max_num_seqs = 1,
                                    .max_model_len = config_.max_position_embeddings,
                                    .vocab_size = config_.vocab_size,
                                    .max_step_rows = 1,
                                    .max_chunk_rows = 1})
            .value();
    StartedSequence started;
    started.params = params;
    started.seed = *claim.params.seed;
    started.sample_index = claim.sample_index;
    started.prompt_ids = prompt_ids;
    started.output_ids.assign(claim.output.begin(), claim.is_score
                                                        ? claim.output.end()
                                                        : claim.output.begin() + output_len);
    started.stop_ids = claim.stop_ids;
    sampler->Start(started);
    LogitRow row;
    row.position = position;
    row.output_len = output_len;
    row.in_prompt = in_prompt;
    row.draws = !in_prompt && !claim.is_score;
    row.target_id = row.draws ? 0 : text[position];
    StepResult result;
    result.sequences.resize(1);
    const float* const row_logits = logits.data() + int64_t{position - 1} * config_.vocab_size;
    RunSampler(*backend_, sampler.get(), {row_logits, 1, config_.vocab_size}, std::span(&row, 1),
               &result);
    const SequenceResult& found = result.sequences[0];
    if (answer.fault.empty()) answer.fault = found.fault.message;
    if (!found.fault.empty()) break;
    (in_prompt ? answer.prompt : answer.output)
        .push_back(row.draws ? found.drawn : found.targets.at(0));
  }
  return answer;
}

}  // namespace vexact
