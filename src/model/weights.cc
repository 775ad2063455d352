#include "model/weights.h"

#include <cstring>

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

int64_t ElementsOf(const Bf16Tensor& tensor) {
  int64_t elements = 1;
  for (const int64_t size : tensor.shape) elements *= size;
  return elements;
}

void CopyParts(const Stacked& stacked, bf16* out) {
  for (const Bf16Tensor& part : stacked.parts) {
    const int64_t elements = ElementsOf(part);
    std::memcpy(out, part.data, elements * sizeof(bf16));
    out += elements;
  }
}

}  // namespace

Status LayerLoader::Linear(std::initializer_list<std::string> names, LinearWeight* weight) const {
  VX_ASSIGN_OR_RETURN(const Stacked stacked, LoadStacked(checkpoint_, prefix_, names));
  if (stacked.parts.size() == 1) {
    VX_ASSIGN_OR_RETURN(*weight, backend_.PackLinear(Rows<const bf16>(stacked.parts[0].data,
                                                                      stacked.rows, stacked.cols)));
    return {};
  }
  std::vector<bf16> rows(stacked.rows * stacked.cols);
  CopyParts(stacked, rows.data());
  VX_ASSIGN_OR_RETURN(
      *weight, backend_.PackLinear(Rows<const bf16>(rows.data(), stacked.rows, stacked.cols)));
  return {};
}

Status LayerLoader::Vector(std::initializer_list<std::string> names, VectorWeight* weight) const {
  VX_ASSIGN_OR_RETURN(const Stacked stacked, LoadStacked(checkpoint_, prefix_, names));
  VX_ASSIGN_OR_RETURN(weight->storage, backend_.Allocate(stacked.rows * sizeof(bf16)));
  weight->size = stacked.rows;
  CopyParts(stacked, weight->storage.as<bf16>());
  return {};
}

}  // namespace vexact
