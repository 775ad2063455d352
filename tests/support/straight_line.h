// StraightLine: a decoder that knows no batch, no pages, no cache, no chunks and no steps: one text
// goes through one layer after the other, all positions at once, and operators that the engine has
// fused run one by one. What the engine answers has to be
// what this answers, bit for bit.
#ifndef VEXACT_SUPPORT_STRAIGHT_LINE_H_
#define VEXACT_SUPPORT_STRAIGHT_LINE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "batch/sequence_mask.h"
#include "checkpoint/checkpoint.h"
#include "kernels/backend.h"
#include "request/request.h"

namespace vexact {

// A prompt and the output that someone says follows it.
struct ClaimedAnswer {
  std::vector<int32_t> prompt = {};
  std::vector<int32_t> output = {};
  SamplingParams params = {};  // with a seed
  int32_t sample_index = 0;
  std::vector<int32_t> stop_ids = {};
  bool is_score = false;  // the output was given, not drawn
  SequenceMask mask = {};
};

struct StraightLineAnswer {
  std::vector<TokenLogprob> prompt;  // of prompt tokens 1, 2, ...
  // [i]: what is drawn after the prompt and the first i tokens of the claimed output; for a score,
  // what is reported about the claimed token. By induction the claim is right if all are its own.
  std::vector<TokenLogprob> output;
  std::string fault;  // of the first one that fails
};

class StraightLine {
 public:
  // `backend` uses the host's memory.
  StraightLine(const Checkpoint& checkpoint, std::shared_ptr<const Backend> backend);

  // Logits after each token of a text: [ids, vocabulary].
  std::vector<float> Logits(const std::vector<int32_t>& ids, const SequenceMask& mask = {}) const;

  StraightLineAnswer Answer(const ClaimedAnswer& claim) const;

 private:
  using Matrix = std::vector<bf16>;  // [tokens, columns]

  Matrix Linear(const std::string& name, const Matrix& x, int64_t rows) const;
  void Norm(const std::string& name, int64_t group, Matrix* x, int64_t rows) const;
  Matrix Attention(const std::string& layer, const Matrix& x, int64_t rows,
                   const SequenceMask& mask) const;
  Matrix Mlp(const std::string& mlp, const Matrix& x, int64_t rows) const;
  Matrix Experts(const std::string& mlp, const Matrix& x, int64_t rows) const;

  ModelConfig config_;
  std::shared_ptr<const Backend> backend_;
  std::map<std::string, LinearWeight> linears_;  // every matrix but the embedding
  std::map<std::string, Bf16Tensor> vectors_;    // every vector, and the embedding
  RopeTable rope_;
  mutable ThreadPool pool_ = ThreadPool::Create(1).value();
};

}  // namespace vexact

#endif  // VEXACT_SUPPORT_STRAIGHT_LINE_H_
