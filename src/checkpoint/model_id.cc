#include "checkpoint/model_id.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <type_traits>
#include <vector>

#include "base/sha256.h"
#include "checkpoint/mapped_file.h"

namespace vexact {
namespace {

namespace fs = std::filesystem;
using Digest = std::array<uint8_t, 32>;

constexpr size_t kPieceWords = size_t{1} << 20;

void AddText(std::string_view text, Sha256* sha256) {
  sha256->UpdateValue(static_cast<uint64_t>(text.size()));
  sha256->Update(std::as_bytes(std::span<const char>(text)));
}

Digest TensorDigest(const std::string& name, const Bf16Tensor& tensor, ThreadPool& pool) {
  size_t num_words = 1;
  for (const int64_t size : tensor.shape) num_words *= size;
  const std::span<const bf16> words(tensor.data, num_words);
  std::vector<Digest> pieces((num_words + kPieceWords - 1) / kPieceWords);
  pool.ParallelFor(static_cast<int64_t>(pieces.size()), [&](int64_t i) {
    const size_t begin = static_cast<size_t>(i) * kPieceWords;
    Sha256 piece;
    piece.Update(std::as_bytes(words.subspan(begin, std::min(kPieceWords, num_words - begin))));
    pieces[i] = piece.Finish();
  });
  Sha256 sha256;
  AddText(name, &sha256);
  sha256.UpdateValue(static_cast<uint64_t>(tensor.shape.size()));
  for (const int64_t size : tensor.shape) sha256.UpdateValue(static_cast<uint64_t>(size));
  for (const Digest& piece : pieces) sha256.UpdateValue(piece);
  return sha256.Finish();
}

// What the cache knows a checkpoint by: one line for each of its files.
Result<std::string> CacheKey(const Checkpoint& checkpoint) {
  std::string key = "vexact weights id\n";
  if (checkpoint.dummy_seed()) key += fmt::format("dummy seed {}\n", *checkpoint.dummy_seed());
  for (const std::string& file : checkpoint.files()) {
    struct stat status {};
    if (stat(file.c_str(), &status) != 0) {
      return MakeError(ErrorCode::kIo, "{}: expected a readable file, found: {}", file,
                       std::strerror(errno));
    }
    std::error_code ignored;
    key += fmt::format("size {} mtime {}.{:09} inode {}:{} {}\n", status.st_size,
                       status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_dev, status.st_ino,
                       fs::absolute(file, ignored).lexically_normal().string());
  }
  return key;
}

// The id in a cache file that was written for this key.
std::optional<std::string> ReadCached(const fs::path& file, const std::string& key) {
  std::ifstream stream(file, std::ios::binary);
  std::stringstream content;
  content << stream.rdbuf();
  const std::string text = content.str();
  constexpr size_t kIdDigits = 64;
  if (!stream || text.size() != key.size() + kIdDigits || !text.starts_with(key)) return {};
  const std::string id = text.substr(key.size());
  const bool is_hex = id.find_first_not_of("0123456789abcdef") == std::string::npos;
  return is_hex ? std::optional(id) : std::nullopt;
}

// Whole or not at all: a reader never sees a part.
void WriteCached(const fs::path& file, const std::string& content) {
  std::error_code error;
  fs::create_directories(file.parent_path(), error);
  const fs::path part = fmt::format("{}.{}", file.string(), getpid());
  std::ofstream stream(part, std::ios::binary);
  stream << content;
  stream.close();
  if (stream) {
    fs::rename(part, file, error);
  } else {
    error = std::make_error_code(std::errc::io_error);
  }
  if (error) fs::remove(part, error);
}

template <typename T>
void AddOptional(const std::optional<T>& value, Sha256* sha256) {
  sha256->UpdateValue(static_cast<uint8_t>(value.has_value()));
  if (value) sha256->UpdateValue(*value);
}

void AddTexts(const std::vector<std::string>& texts, Sha256* sha256) {
  sha256->UpdateValue(static_cast<uint64_t>(texts.size()));
  for (const std::string& text : texts) AddText(text, sha256);
}

template <typename T>
void AddNumbers(const std::vector<T>& numbers, Sha256* sha256) {
  sha256->UpdateValue(static_cast<uint64_t>(numbers.size()));
  for (const T number : numbers) sha256->UpdateValue(number);
}

std::string GgufTokenizerId(const GgufTokenizer& tokenizer) {
  Sha256 sha256;
  AddText(tokenizer.model, &sha256);
  AddText(tokenizer.pre, &sha256);
  AddTexts(tokenizer.tokens, &sha256);
  AddNumbers(tokenizer.token_types, &sha256);
  AddNumbers(tokenizer.scores, &sha256);
  AddTexts(tokenizer.merges, &sha256);
  for (const auto& id : {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.eot_token_id,
                         tokenizer.eom_token_id, tokenizer.unknown_token_id}) {
    AddOptional(id, &sha256);
  }
  for (const auto& flag :
       {tokenizer.add_bos_token, tokenizer.add_eos_token, tokenizer.add_space_prefix}) {
    AddOptional(flag, &sha256);
  }
  return sha256.FinishHex();
}

}  // namespace

Result<std::string> WeightsId(const Checkpoint& checkpoint, ThreadPool& pool) {
  Sha256 sha256;
  for (const TensorInfo& info : checkpoint.tensors()) {
    VX_ASSIGN_OR_RETURN(const Bf16Tensor tensor, checkpoint.Load(info.name));
    sha256.UpdateValue(TensorDigest(info.name, tensor, pool));
  }
  return sha256.FinishHex();
}

Result<std::string> CachedWeightsId(const Checkpoint& checkpoint, const std::string& cache_folder,
                                    ThreadPool& pool) {
  VX_ASSIGN_OR_RETURN(const std::string key, CacheKey(checkpoint));
  Sha256 sha256;
  AddText(key, &sha256);
  const fs::path file = fs::path(cache_folder) / ("weights_id_" + sha256.FinishHex());
  if (const std::optional<std::string> id = ReadCached(file, key)) return *id;
  VX_ASSIGN_OR_RETURN(const std::string id, WeightsId(checkpoint, pool));
  WriteCached(file, key + id);
  return id;
}

Result<std::string> TokenizerId(const Checkpoint& checkpoint) {
  if (checkpoint.gguf_tokenizer()) return GgufTokenizerId(*checkpoint.gguf_tokenizer());
  const HfTokenizerFiles& files = *checkpoint.hf_tokenizer_files();
  if (files.tokenizer_json.empty()) return std::string();
  Sha256 sha256;
  for (const std::string& path : {files.tokenizer_json, files.tokenizer_config_json}) {
    if (path.empty()) continue;
    VX_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
    AddText(file->text(), &sha256);
  }
  return sha256.FinishHex();
}

}  // namespace vexact
