#include "checkpoint/checkpoint.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <new>
#include <set>
#include <system_error>
#include <utility>

#include "checkpoint/dummy_tensors.h"
#include "checkpoint/expected_tensors.h"
#include "checkpoint/hf_config.h"

namespace vexact {
namespace {

size_t ElementsOf(const TensorInfo& info) {
  size_t elements = 1;
  for (const int64_t size : info.shape) elements *= size;
  return elements;
}

// Uninitialised.
Result<std::shared_ptr<bf16[]>> Allocate(const TensorInfo& info) {
  const size_t elements = ElementsOf(info);
  std::shared_ptr<bf16[]> words(new (std::nothrow) bf16[elements]);
  if (words == nullptr) {
    return MakeError(ErrorCode::kResourceExhausted,
                     "{}: tensor \"{}\": expected {} bytes of memory, found less", info.file,
                     info.name, elements * sizeof(bf16));
  }
  return words;
}

HfTokenizerFiles FindTokenizerFiles(const std::string& directory) {
  const auto path_if_file = [&directory](std::string_view name) {
    std::string file = fmt::format("{}/{}", directory, name);
    std::error_code ignored;
    return std::filesystem::is_regular_file(file, ignored) ? file : std::string();
  };
  return {.tokenizer_json = path_if_file("tokenizer.json"),
          .tokenizer_config_json = path_if_file("tokenizer_config.json")};
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
  checkpoint.hf_tokenizer_files_ = FindTokenizerFiles(path);
  return checkpoint;
}

Result<Checkpoint> Checkpoint::OpenDummy(const std::string& path, int64_t seed, ThreadPool* pool) {
  std::error_code ignored;
  if (std::filesystem::is_regular_file(path, ignored)) {
    return InvalidArgument(
        "{}: expected a directory, whose config.json gives the shapes of dummy weights, found a "
        "file",
        path);
  }
  VX_ASSIGN_OR_RETURN(ModelConfig config, ReadHfConfig(path));
  std::vector<FileTensor> tensors;
  const auto append = [&](const ExpectedTensor& expected) -> Status {
    FileTensor& tensor = tensors.emplace_back();
    tensor.info.name = expected.name;
    tensor.info.shape = expected.shape;
    tensor.info.file = path + "/config.json";
    tensor.info.conversion = fmt::format("generated from seed {}", seed);
    return {};
  };
  VX_RETURN_IF_ERROR(VisitExpectedTensors(config, append));
  std::ranges::sort(tensors, {}, [](const FileTensor& tensor) { return tensor.info.name; });
  Checkpoint checkpoint(std::move(config), path, std::move(tensors));
  checkpoint.dummy_ = {.seed = seed, .pool = pool};
  checkpoint.hf_tokenizer_files_ = FindTokenizerFiles(path);
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

std::vector<std::string> Checkpoint::files() const {
  std::set<std::string> paths;
  for (const TensorInfo& info : tensors_) paths.insert(info.file);
  if (hf_tokenizer_files_) paths.insert(path_ + "/config.json");
  return {paths.begin(), paths.end()};
}

std::optional<int64_t> Checkpoint::dummy_seed() const {
  return dummy_ ? std::optional(dummy_->seed) : std::nullopt;
}

Result<Bf16Tensor> Checkpoint::Load(std::string_view hf_name) const {
  const auto found = std::lower_bound(
      tensors_.begin(), tensors_.end(), hf_name,
      [](const TensorInfo& info, std::string_view name) { return info.name < name; });
  if (found == tensors_.end() || found->name != hf_name) {
    return NotFound("{}: tensor \"{}\": expected one of the config's tensors, found no such tensor",
                    path_, hf_name);
  }
  if (dummy_) return Generate(*found, *dummy_);
  return Convert(*found, sources_[found - tensors_.begin()]);
}

Result<Bf16Tensor> Checkpoint::Convert(const TensorInfo& info, const TensorSource& source) const {
  if (info.file_dtype == DType::kBf16 && !source.unpermute_rotary_rows &&
      IsAlignedForBf16(source.data.data())) {
    return Bf16Tensor{.data = reinterpret_cast<const bf16*>(source.data.data()),
                      .shape = info.shape,
                      .storage = source.file,
                      .is_mapped = true};
  }
  const size_t elements = ElementsOf(info);
  VX_ASSIGN_OR_RETURN(auto words, Allocate(info));
  if (source.unpermute_rotary_rows) {
    VX_ASSIGN_OR_RETURN(const auto permuted, Allocate(info));
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

Result<Bf16Tensor> Checkpoint::Generate(const TensorInfo& info, const DummySource& source) const {
  VX_ASSIGN_OR_RETURN(auto words, Allocate(info));
  GenerateDummy(DummyKey(info.name, source.seed),
                DummyDistributionOf(info.name, info.shape, config_.hidden_size),
                {words.get(), ElementsOf(info)}, source.pool);
  const bf16* data = words.get();
  return Bf16Tensor{
      .data = data, .shape = info.shape, .storage = std::move(words), .is_mapped = false};
}

}  // namespace vexact
