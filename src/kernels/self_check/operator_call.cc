#include "kernels/self_check/operator_call.h"

#include "numerics/words.h"

namespace vexact {

void AppendWords(bf16 value, std::vector<uint32_t>& words) {
  words.push_back(CanonicalWord(value));
}
void AppendWords(float value, std::vector<uint32_t>& words) {
  words.push_back(CanonicalWord(value));
}
void AppendWords(uint8_t value, std::vector<uint32_t>& words) { words.push_back(value); }
void AppendWords(int32_t value, std::vector<uint32_t>& words) {
  words.push_back(static_cast<uint32_t>(value));
}
void AppendWords(uint64_t value, std::vector<uint32_t>& words) {
  words.push_back(static_cast<uint32_t>(value));
  words.push_back(static_cast<uint32_t>(value >> 32));
}
void AppendWords(const LogitSums& value, std::vector<uint32_t>& words) {
  AppendWords(value.sum, words);
  AppendWords(value.exponent, words);
  AppendWords(value.max, words);
  AppendWords(value.argmax, words);
  AppendWords(value.fault_id, words);
  AppendWords(value.fault_value, words);
}
void AppendWords(const LogprobAnswer& value, std::vector<uint32_t>& words) {
  AppendWords(value.logprob, words);
  AppendWords(value.rank, words);
  AppendWords(value.num_top, words);
}
void AppendWords(const SampleOutcome& value, std::vector<uint32_t>& words) {
  AppendWords(value.token, words);
  AppendWords(static_cast<int32_t>(value.fault), words);
  AppendWords(value.fault_id, words);
  AppendWords(value.fault_value, words);
}

void CallOutput::AppendRow(int64_t row, std::vector<uint32_t>& words) const {
  const auto first = static_cast<size_t>(guard_ + row * stride_);
  append_(host_.data() + first * element_bytes_, cols, words);
}

void CallOutput::AppendAll(std::vector<uint32_t>& words) const {
  append_(host_.data(), static_cast<int64_t>(host_.size() / element_bytes_), words);
}

Result<const LinearWeight*> OperatorCall::Weight(const std::vector<bf16>& rows,
                                                 int64_t in_features) {
  const auto out_features = static_cast<int64_t>(rows.size()) / in_features;
  VX_ASSIGN_OR_RETURN(LinearWeight weight,
                      backend_.PackLinear(Rows(rows.data(), out_features, in_features)));
  const auto kept = std::make_shared<LinearWeight>(std::move(weight));
  Keep(kept);
  return kept.get();
}

Result<const AttentionPlan*> OperatorCall::Plan(const AttentionLimits& limits) {
  VX_ASSIGN_OR_RETURN(AttentionPlan plan, backend_.MakeAttentionPlan(limits));
  const auto kept = std::make_shared<AttentionPlan>(std::move(plan));
  Keep(kept);
  return kept.get();
}

Status OperatorCall::Finish() {
  for (CallOutput& output : outputs_) {
    backend_.Download(output.host_.data(), output.device_, output.host_.size(), stream_);
  }
  return backend_.Synchronize(stream_);
}

std::byte* OperatorCall::Take(size_t bytes) {
  used_ = (used_ + 255) / 256 * 256;
  VX_CHECK(used_ + bytes <= arena_.bytes(), "a call's arguments fit into its arena");
  std::byte* const at = arena_.data() + used_;
  used_ += bytes;
  return at;
}

std::byte* OperatorCall::Add(CallOutput output) {
  output.device_ = Take(output.host_.size());
  backend_.Upload(output.device_, output.host_.data(), output.host_.size(), stream_);
  std::byte* const first =
      output.device_ + static_cast<size_t>(output.guard_) * output.element_bytes_;
  outputs_.push_back(std::move(output));  // its host bytes stay where they are
  return first;
}

}  // namespace vexact
