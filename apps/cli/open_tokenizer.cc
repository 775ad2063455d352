#include "cli/open_tokenizer.h"

#include <filesystem>

#include "checkpoint/mapped_file.h"
#include "engine/load_model.h"

namespace vexact {
namespace {

namespace fs = std::filesystem;

Result<std::shared_ptr<const Tokenizer>> FromDirectory(const fs::path& directory) {
  const fs::path file = directory / "tokenizer.json";
  const fs::path config_file = directory / "tokenizer_config.json";
  VX_ASSIGN_OR_RETURN(const auto json, MappedFile::Open(file.string()));
  std::string config_text;
  std::error_code ignored;
  if (fs::exists(config_file, ignored)) {
    VX_ASSIGN_OR_RETURN(const auto config, MappedFile::Open(config_file.string()));
    config_text = config->text();
  }
  VX_ASSIGN_OR_RETURN(Tokenizer tokenizer,
                      Tokenizer::FromHfJson(json->text(), config_text, file.string()));
  return std::make_shared<const Tokenizer>(std::move(tokenizer));
}

}  // namespace

Result<std::shared_ptr<const Tokenizer>> OpenTokenizer(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return FromDirectory(path);
  VX_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(path));
  return LoadTokenizer(checkpoint);
}

}  // namespace vexact
