#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <new>
#include <system_error>
#include <utility>

#include "checkpoint/hf_config.h"

namespace vexact {
namespace {

// Uninitialised; null when there is no memory.
std::shared_ptr<bf16[]> Allocate(size_t elements) {
  return std::shared_ptr<bf16[]>(new (std::nothrow) bf16[elements]);
}

bool IsAlignedForBf16(const std::byte* data) {
  return reinterpret_cast<uintptr_t>(data) % alignof(bf16) == 0;
}

}  // namespace

Checkpoint::Checkpoint(ModelConfig config, std::string path, std::vector<FileTensor> tensors)
    : config_(std::move(config)), path_(std::move(path)) {
  tensors_.reserve(tensors.size());
  sources_.reserve(tensors.size());
  for (FileTensor& tensor : tensors) {
    tensors_.push_back(std::move(tensor.info));
    sources_.push_back(std::move(tensor.source));
  }
}

Result<Checkpoint> Checkpoint::OpenGguf(const std::string& path) {
  VX_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  VX_ASSIGN_OR_RETURN(const GgufFile gguf, ParseGguf(file->bytes(), path));
  VX_ASSIGN_OR_RETURN(ModelConfig config, ReadGgufConfig(gguf));
  VX_ASSIGN_OR_RETURN(std::vector<FileTensor> tensors, ListGgufTensors(gguf, file, config));
  VX_RETURN_IF_ERROR(CheckTensors(config, path, tensors));
  VX_ASSIGN_OR_RETURN(GgufTokenizer tokenizer, ReadGgufTokenizer(gguf.metadata, config.vocab_size));
  Checkpoint checkpoint(std::move(config), path, std::move(tensors));
  checkpoint.gguf_tokenizer_ = std::move(tokenizer);
  return checkpoint;
}

Result<Checkpoint> Checkpoint::OpenDirectory(const std::string& path) {
  VX_ASSIGN_OR_RETURN(ModelConfig config, ReadHfConfig(path));
  VX_ASSIGN_OR_RETURN(std::vector<FileTensor> tensors, ListSafetensors(path));
  VX_RETURN_IF_ERROR(CheckTensors(config, path, tensors));
  Checkpoint checkpoint(std::move(config), path, std::move(tensors));
  const auto path_if_file = [&path](std::string_view name) {
    std::string file = fmt::format("{}/{}", path, name);
    std::error_code ignored;
    return std::filesystem::is_regular_file(file, ignored) ? file : std::string();
  };
  checkpoint.hf_tokenizer_files_ = {.tokenizer_json = path_if_file("tokenizer.json"),
                                    .tokenizer_config_json = path_if_file("tokenizer_config.json")};
  return checkpoint;
}

Result<Checkpoint> Checkpoint::Open(const std::string& path) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    return NotFound("{}: expected a model directory or a GGUF file, found nothing", path);
  }
  return std::filesystem::is_directory(status) ? OpenDirectory(path) : OpenGguf(path);
}

Result<Bf16Tensor> Checkpoint::Load(std::string_view hf_name) const {
  const auto found = std::lower_bound(
      tensors_.begin(), tensors_.end(), hf_name,
      [](const TensorInfo& info, std::string_view name) { return info.name < name; });
  if (found == tensors_.end() || found->name != hf_name) {
    return NotFound("{}: tensor \"{}\": expected one of the config's tensors, found no such tensor",
                    path_, hf_name);
  }
  const TensorInfo& info = *found;
  const TensorSource& source = sources_[found - tensors_.begin()];
  if (info.file_dtype == DType::kBf16 && !source.unpermute_rotary_rows &&
      IsAlignedForBf16(source.data.data())) {
    return Bf16Tensor{.data = reinterpret_cast<const bf16*>(source.data.data()),
                      .shape = info.shape,
                      .storage = source.file,
                      .is_mapped = true};
  }
  size_t elements = 1;
  for (const int64_t size : info.shape) elements *= size;
  auto words = Allocate(elements);
  auto permuted = source.unpermute_rotary_rows ? Allocate(elements) : nullptr;
  if (!words || (source.unpermute_rotary_rows && !permuted)) {
    return MakeError(ErrorCode::kResourceExhausted,
                     "{}: tensor \"{}\": expected {} bytes of memory, found less", info.file,
                     hf_name, elements * sizeof(bf16));
  }
  if (source.unpermute_rotary_rows) {
    ConvertToBf16(info.file_dtype, source.data, {permuted.get(), elements});
    UnpermuteRotaryRows({permuted.get(), elements}, config_.head_dim, info.shape.back(),
                        {words.get(), elements});
  } else {
    ConvertToBf16(info.file_dtype, source.data, {words.get(), elements});
  }
  const bf16* data = words.get();
  return Bf16Tensor{
      .data = data, .shape = info.shape, .storage = std::move(words), .is_mapped = false};
}

}  // namespace vexact
