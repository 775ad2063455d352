#include <map>
#include <set>
#include <utility>

#include "checkpoint/file_tensor.h"
#include "checkpoint/safetensors.h"

namespace vexact {
namespace {

Status AppendFile(const std::shared_ptr<const MappedFile>& file, std::vector<FileTensor>& tensors) {
  VX_ASSIGN_OR_RETURN(std::vector<SafetensorsTensor> found,
                      ParseSafetensors(file->bytes(), file->path()));
  for (SafetensorsTensor& tensor : found) {
    const bool is_bf16 = tensor.dtype == DType::kBf16;
    tensors.push_back(
        {.info = {.name = std::move(tensor.name),
                  .file_dtype = tensor.dtype,
                  .shape = std::move(tensor.shape),
                  .file = file->path(),
                  .file_bytes = tensor.data.size(),
                  .conversion = is_bf16 ? "" : fmt::format("{} to bf16", DTypeName(tensor.dtype))},
         .source = {.file = file, .data = tensor.data}});
  }
  return {};
}

// Every tensor of the index is in the file that it names, and every tensor found is in the index.
Status CheckIndex(const std::vector<ShardEntry>& index, const std::string& directory,
                  const std::vector<FileTensor>& tensors) {
  std::map<std::string_view, std::string_view> file_of;
  for (const FileTensor& tensor : tensors) file_of[tensor.info.name] = tensor.info.file;
  for (const ShardEntry& entry : index) {
    const std::string path = directory + "/" + entry.file;
    const auto found = file_of.find(entry.tensor);
    if (found == file_of.end() || found->second != path) {
      return NotFound(
          "{}: tensor \"{}\": expected here, as the index says, found {}", path, entry.tensor,
          found == file_of.end() ? "no such tensor" : fmt::format("in {}", found->second));
    }
    file_of.erase(found);
  }
  if (!file_of.empty()) {
    const auto& [tensor, file] = *file_of.begin();
    return InvalidArgument("{}: tensor \"{}\": expected in the index's weight_map, found nothing",
                           file, tensor);
  }
  return {};
}

Result<std::vector<FileTensor>> ListShards(const std::string& directory) {
  const std::string index_path = directory + "/model.safetensors.index.json";
  const auto index_file = MappedFile::Open(index_path);
  if (!index_file.ok()) {
    if (index_file.error().code != ErrorCode::kNotFound) return index_file.error();
    return NotFound("{}: expected model.safetensors or model.safetensors.index.json, found neither",
                    directory);
  }
  VX_ASSIGN_OR_RETURN(const std::vector<ShardEntry> index,
                      ParseSafetensorsIndex(index_file.value()->text(), index_path));
  std::set<std::string> files;
  for (const ShardEntry& entry : index) files.insert(entry.file);
  std::vector<FileTensor> tensors;
  for (const std::string& name : files) {
    VX_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(directory + "/" + name));
    VX_RETURN_IF_ERROR(AppendFile(file, tensors));
  }
  VX_RETURN_IF_ERROR(CheckIndex(index, directory, tensors));
  return tensors;
}

}  // namespace

Result<std::vector<FileTensor>> ListSafetensors(const std::string& directory) {
  const auto file = MappedFile::Open(directory + "/model.safetensors");
  if (!file.ok()) {
    if (file.error().code != ErrorCode::kNotFound) return file.error();
    return ListShards(directory);
  }
  std::vector<FileTensor> tensors;
  VX_RETURN_IF_ERROR(AppendFile(file.value(), tensors));
  return tensors;
}

}  // namespace vexact
