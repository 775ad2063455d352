#include <utility>

#include "checkpoint/file_tensor.h"
#include "checkpoint/gguf_names.h"

namespace vexact {
namespace {

std::string ConversionNote(DType dtype, bool unpermute_rotary_rows) {
  std::string note;
  if (dtype != DType::kBf16) note = fmt::format("{} to bf16", DTypeName(dtype));
  if (unpermute_rotary_rows)
    note += note.empty() ? "rotary rows reordered" : ", rotary rows reordered";
  return note;
}

// Expert e of a merged tensor [experts, outputs, inputs] is its e-th part.
Status AppendExperts(const FileTensor& merged, const GgufNameMapping& mapping,
                     const ModelConfig& config, std::vector<FileTensor>& tensors) {
  const TensorInfo& info = merged.info;
  if (info.shape.size() != 3 || info.shape[0] != config.moe.num_experts) {
    return InvalidArgument(
        "{}: tensor \"{}\": expected [{} experts, outputs, inputs], found "
        "{} [{}]",
        info.file, info.name, config.moe.num_experts, DTypeName(info.file_dtype),
        fmt::join(info.shape, ", "));
  }
  const uint64_t expert_bytes = info.file_bytes / info.shape[0];
  for (int64_t expert = 0; expert < info.shape[0]; ++expert) {
    FileTensor tensor = merged;
    tensor.info.name = fmt::format("{}{}{}", mapping.prefix, expert, mapping.suffix);
    tensor.info.shape = {info.shape[1], info.shape[2]};
    tensor.info.file_bytes = expert_bytes;
    tensor.source.data = merged.source.data.subspan(expert * expert_bytes, expert_bytes);
    tensors.push_back(std::move(tensor));
  }
  return {};
}

}  // namespace

Result<std::vector<FileTensor>> ListGgufTensors(const GgufFile& gguf,
                                                const std::shared_ptr<const MappedFile>& file,
                                                const ModelConfig& config) {
  std::vector<FileTensor> tensors;
  for (const GgufTensor& found : gguf.tensors) {
    if (found.name == "rope_freqs.weight") {
      return Unsupported("{}: tensor \"{}\": expected no rotary frequency factors, found {} [{}]",
                         file->path(), found.name, DTypeName(found.dtype),
                         fmt::join(found.shape, ", "));
    }
    const std::optional<GgufNameMapping> mapping = MapGgufName(found.name);
    const bool unpermute =
        config.family == ModelFamily::kLlama && mapping && mapping->is_rotary_projection;
    FileTensor tensor = {
        .info = {.name = found.name,
                 .file_dtype = found.dtype,
                 .shape = found.shape,
                 .file = file->path(),
                 .file_bytes = found.data.size(),
                 .conversion = ConversionNote(found.dtype, unpermute)},
        .source = {.file = file, .data = found.data, .unpermute_rotary_rows = unpermute}};
    if (mapping && mapping->is_merged_experts) {
      VX_RETURN_IF_ERROR(AppendExperts(tensor, *mapping, config, tensors));
      continue;
    }
    if (mapping) tensor.info.name = mapping->prefix;
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

}  // namespace vexact
