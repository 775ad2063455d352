#include "checkpoint/file_tensor.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "checkpoint/expected_tensors.h"

namespace vexact {
namespace {

std::string Describe(const TensorInfo& info) {
  return fmt::format("{} [{}]", DTypeName(info.file_dtype), fmt::join(info.shape, ", "));
}

FileTensor* Find(std::vector<FileTensor>& sorted, std::string_view name) {
  const auto it = std::lower_bound(
      sorted.begin(), sorted.end(), name,
      [](const FileTensor& tensor, std::string_view key) { return tensor.info.name < key; });
  return it == sorted.end() || it->info.name != name ? nullptr : &*it;
}

bool IsRotaryBuffer(const FileTensor& tensor) {
  return tensor.info.name.ends_with("rotary_emb.inv_freq");
}

// A tied model's file may hold the embedding twice; other words there would be a second truth.
Status DropTiedHead(std::vector<FileTensor>& sorted) {
  const FileTensor* head = Find(sorted, "lm_head.weight");
  const FileTensor* embedding = Find(sorted, "model.embed_tokens.weight");
  if (head == nullptr || embedding == nullptr) return {};
  const auto head_data = head->source.data;
  const auto embedding_data = embedding->source.data;
  if (head->info.file_dtype != embedding->info.file_dtype ||
      head_data.size() != embedding_data.size() ||
      std::memcmp(head_data.data(), embedding_data.data(), head_data.size()) != 0) {
    return InvalidArgument(
        "{}: tensor \"lm_head.weight\": expected none, or the words of the tied "
        "model.embed_tokens.weight, found {} with other words",
        head->info.file, Describe(head->info));
  }
  sorted.erase(sorted.begin() + (head - sorted.data()));
  return {};
}

}  // namespace

Status CheckTensors(const ModelConfig& config, const std::string& path,
                    std::vector<FileTensor>& tensors) {
  std::erase_if(tensors, IsRotaryBuffer);
  std::sort(tensors.begin(), tensors.end(),
            [](const FileTensor& a, const FileTensor& b) { return a.info.name < b.info.name; });
  for (size_t i = 1; i < tensors.size(); ++i) {
    if (tensors[i].info.name == tensors[i - 1].info.name) {
      return InvalidArgument("{}: tensor \"{}\": expected once, found again in {}",
                             tensors[i - 1].info.file, tensors[i].info.name, tensors[i].info.file);
    }
  }
  if (config.tie_word_embeddings) VX_RETURN_IF_ERROR(DropTiedHead(tensors));
  std::vector<bool> is_expected(tensors.size());
  const auto check = [&](const ExpectedTensor& expected) -> Status {
    const FileTensor* found = Find(tensors, expected.name);
    if (found == nullptr) {
      return NotFound("{}: tensor \"{}\": expected bf16 [{}], found no such tensor", path,
                      expected.name, fmt::join(expected.shape, ", "));
    }
    if (found->info.shape != expected.shape) {
      return InvalidArgument("{}: tensor \"{}\": expected bf16 [{}], found {}", found->info.file,
                             expected.name, fmt::join(expected.shape, ", "), Describe(found->info));
    }
    is_expected[found - tensors.data()] = true;
    return {};
  };
  VX_RETURN_IF_ERROR(VisitExpectedTensors(config, check));
  const auto extra = std::find(is_expected.begin(), is_expected.end(), false);
  if (extra != is_expected.end()) {
    const TensorInfo& info = tensors[extra - is_expected.begin()].info;
    return InvalidArgument("{}: tensor \"{}\": expected no such tensor in a {} model, found {}",
                           info.file, info.name, ModelFamilyName(config.family), Describe(info));
  }
  return {};
}

}  // namespace vexact
