#include "model/weights.h"

#include <vector>

namespace vexact {
namespace {

// The tensors' words one after the other; all have `dims` dimensions and, beyond the first, equal
// shapes. (Checkpoint::Open has compared every shape with the configuration.)
struct Stacked {
  int64_t rows = 0;
  int64_t cols = 1;
  std::vector<Bf16Tensor> parts;
};

Result<Stacked> LoadStacked(const Checkpoint& checkpoint, const std::string& prefix,
                            std::initializer_list<std::string> names) {
  Stacked stacked;
  for (const std::string& name : names) {
    VX_ASSIGN_OR_RETURN(Bf16Tensor part, checkpoint.Load(prefix + name));
    stacked.rows += part.shape[0];
    stacked.cols = part.shape.size() > 1 ? part.shape[1] : 1;
    stacked.parts.push_back(std::move(part));
  }
  return stacked;
}

}  // namespace

Status LayerLoader::Linear(std::initializer_list<std::string> names, LinearWeight* weight) const {
  VX_ASSIGN_OR_RETURN(const Stacked stacked, LoadStacked(checkpoint_, prefix_, names));
  std::vector<Rows<const bf16>> parts;
  for (const Bf16Tensor& part : stacked.parts) {
    parts.emplace_back(part.data, part.shape[0], stacked.cols);
  }
  VX_ASSIGN_OR_RETURN(*weight, backend_.PackLinear(parts));
  return {};
}

Status LayerLoader::Vector(std::initializer_list<std::string> names, VectorWeight* weight) const {
  VX_ASSIGN_OR_RETURN(const Stacked stacked, LoadStacked(checkpoint_, prefix_, names));
  VX_ASSIGN_OR_RETURN(weight->storage, backend_.Allocate(stacked.rows * sizeof(bf16)));
  weight->size = stacked.rows;
  std::vector<bf16> values;
  for (const Bf16Tensor& part : stacked.parts) {
    values.insert(values.end(), part.data, part.data + part.shape[0]);
  }
  backend_.Upload(weight->storage.data(), values.data(), values.size() * sizeof(bf16), stream_);
  return backend_.Synchronize(stream_);
}

}  // namespace vexact
