#include "engine/load_model.h"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <system_error>

#include "base/threads.h"
#include "checkpoint/mapped_file.h"
#include "kernels/self_check/self_check.h"
#include "request/token_ids.h"

namespace vexact {
namespace {

constexpr int32_t kNormalToken = 1;  // of tokenizer.ggml.token_type; a file may leave the list out

TokenizerVocabulary VocabularyOf(const GgufTokenizer& gguf) {
  return {.source = "tokenizer.ggml",
          .model = gguf.model,
          .pre = gguf.pre,
          .tokens = gguf.tokens,
          .token_types = gguf.token_types.empty()
                             ? std::vector<int32_t>(gguf.tokens.size(), kNormalToken)
                             : gguf.token_types,
          .merges = gguf.merges,
          .bos_id = gguf.bos_token_id,
          .eos_id = gguf.eos_token_id,
          .eot_id = gguf.eot_token_id,
          .eom_id = gguf.eom_token_id,
          .add_bos = gguf.add_bos_token,
          .add_eos = gguf.add_eos_token};
}

Result<Tokenizer> TokenizerFromFiles(const HfTokenizerFiles& files) {
  VX_ASSIGN_OR_RETURN(const auto json, MappedFile::Open(files.tokenizer_json));
  if (files.tokenizer_config_json.empty()) {
    return Tokenizer::FromHfJson(json->text(), "", files.tokenizer_json);
  }
  VX_ASSIGN_OR_RETURN(const auto config, MappedFile::Open(files.tokenizer_config_json));
  return Tokenizer::FromHfJson(json->text(), config->text(), files.tokenizer_json);
}

// The file's content, or nothing where there is no file.
Result<std::string> ReadIfThere(const std::string& path) {
  std::error_code ignored;
  if (!std::filesystem::is_regular_file(path, ignored)) return std::string();
  VX_ASSIGN_OR_RETURN(const auto file, MappedFile::Open(path));
  return std::string(file->text());
}

Result<ChatTemplateSource> GgufTemplate(const GgufTokenizer& gguf, const Tokenizer& tokenizer) {
  if (gguf.chat_template.empty()) {
    return NotFound("expected a chat template (tokenizer.chat_template), found none");
  }
  ChatTemplateSource source{.text = gguf.chat_template, .tool_use_text = "", .special_tokens = {}};
  const auto add = [&](const char* name, std::optional<int32_t> id) {
    if (id && tokenizer.Contains(*id))
      source.special_tokens.emplace_back(name, tokenizer.TokenBytes(*id));
  };
  add("bos_token", tokenizer.bos_id());
  add("eos_token", tokenizer.eos_id());
  return source;
}

// Beside tokenizer.json: without a tokenizer there is nothing to chat with.
Result<ChatTemplateSource> HfTemplate(const HfTokenizerFiles& files) {
  if (files.tokenizer_json.empty()) {
    return NotFound("expected a tokenizer.json with a chat template beside it, found none");
  }
  const std::filesystem::path folder = std::filesystem::path(files.tokenizer_json).parent_path();
  const std::string config_path = (folder / "tokenizer_config.json").string();
  VX_ASSIGN_OR_RETURN(const std::string config, ReadIfThere(config_path));
  VX_ASSIGN_OR_RETURN(const std::string jinja,
                      ReadIfThere((folder / "chat_template.jinja").string()));
  return ChatTemplateFromHf(config, jinja, config_path);
}

}  // namespace

Result<LoadFormat> ParseLoadFormat(std::string_view name) {
  if (name == "auto") return LoadFormat::kAuto;
  if (name == "dummy") return LoadFormat::kDummy;
  return InvalidArgument("expected auto or dummy, found \"{}\"", name);
}

Result<Checkpoint> OpenCheckpoint(const ModelSource& source, ThreadPool* pool) {
  if (source.load_format == LoadFormat::kDummy) {
    return Checkpoint::OpenDummy(source.path, source.dummy_seed, pool);
  }
  return Checkpoint::Open(source.path);
}

Result<std::shared_ptr<const Tokenizer>> LoadTokenizer(const Checkpoint& checkpoint) {
  if (checkpoint.gguf_tokenizer().has_value()) {
    VX_ASSIGN_OR_RETURN(Tokenizer tokenizer,
                        Tokenizer::FromVocabulary(VocabularyOf(*checkpoint.gguf_tokenizer())));
    return std::make_shared<const Tokenizer>(std::move(tokenizer));
  }
  const HfTokenizerFiles& files = *checkpoint.hf_tokenizer_files();
  if (files.tokenizer_json.empty()) return std::shared_ptr<const Tokenizer>();
  VX_ASSIGN_OR_RETURN(Tokenizer tokenizer, TokenizerFromFiles(files));
  return std::make_shared<const Tokenizer>(std::move(tokenizer));
}

Result<ChatTemplate> LoadChatTemplate(const Checkpoint& checkpoint, const Tokenizer* tokenizer) {
  const std::optional<GgufTokenizer>& gguf = checkpoint.gguf_tokenizer();
  VX_ASSIGN_OR_RETURN(
      const ChatTemplateSource source,
      gguf ? GgufTemplate(*gguf, *tokenizer) : HfTemplate(*checkpoint.hf_tokenizer_files()));
  return ChatTemplate::Parse(source);
}

Result<std::shared_ptr<const Backend>> OpenBackend(std::string_view device, Mode mode,
                                                   AttentionKernels attention) {
  if (device != "cpu" && device != "cuda" && device != "auto") {
    return InvalidArgument("device: expected cpu, cuda or auto, found \"{}\"", device);
  }
  if (device != "cpu") {
    Result<std::unique_ptr<Backend>> gpu = MakeSm90Backend(mode, attention);
    if (gpu.ok()) return std::shared_ptr<const Backend>(std::move(gpu).value());
    if (device == "cuda" || gpu.error().code != ErrorCode::kUnsupported) return gpu.error();
  }
  return std::shared_ptr<const Backend>(MakeCpuBackend(mode));
}

Result<std::shared_ptr<const Backend>> MakeBackend(std::string_view device, Mode mode,
                                                   AttentionKernels attention) {
  VX_ASSIGN_OR_RETURN(auto backend, OpenBackend(device, mode, attention));
  if (backend->UsesHostMemory()) return backend;
  if (mode == Mode::kVariant && attention == AttentionKernels::kCute) {
    VX_ASSIGN_OR_RETURN(const auto canonical, OpenBackend(device, Mode::kInvariant, attention));
    VX_RETURN_IF_ERROR(CheckDevice(*canonical));
  } else {
    VX_RETURN_IF_ERROR(CheckDevice(*backend));
  }
  return backend;
}

Status CheckDevice(const Backend& device) {
  constexpr int kMaxThreads = 16;  // more do not help calls this small
  VX_ASSIGN_OR_RETURN(ThreadPool pool,
                      ThreadPool::Create(std::min(HardwareThreads(), kMaxThreads)));
  VX_ASSIGN_OR_RETURN(const SelfCheckReport report,
                      RunSelfCheck(device, *MakeCpuBackend(), SelfCheckScope::kShort, pool));
  const Status status = report.status(fmt::format("device {}", device.Description()));
  if (status.ok()) return {};
  return MakeError(ErrorCode::kInternal,
                   "{}; this device's answers cannot be trusted: see vexact doctor, or use the CPU",
                   status.error().message);
}

std::vector<int32_t> StopTokenIds(const ModelConfig& config, const Tokenizer* tokenizer) {
  std::vector<int32_t> ids = config.stop_token_ids;
  if (tokenizer != nullptr) {
    ids.insert(ids.end(), tokenizer->stop_ids().begin(), tokenizer->stop_ids().end());
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

Result<LoadedModel> LoadModel(const ModelSource& source, std::shared_ptr<const Backend> backend,
                              const ModelLoadOptions& options) {
  std::optional<ThreadPool> pool;  // idle threads are not worth having where nothing is generated
  if (source.load_format == LoadFormat::kDummy) {
    VX_ASSIGN_OR_RETURN(pool, ThreadPool::Create(HardwareThreads()));
  }
  VX_ASSIGN_OR_RETURN(const Checkpoint checkpoint, OpenCheckpoint(source, pool ? &*pool : nullptr));
  LoadedModel loaded;
  VX_ASSIGN_OR_RETURN(loaded.tokenizer, LoadTokenizer(checkpoint));
  loaded.chat_template = LoadChatTemplate(checkpoint, loaded.tokenizer.get());
  VX_ASSIGN_OR_RETURN(loaded.model, Model::Load(checkpoint, std::move(backend), options));
  loaded.eos_token_ids = StopTokenIds(loaded.model->config(), loaded.tokenizer.get());
  VX_RETURN_IF_ERROR(CheckTokenIds(source.path + ": the tokenizer's stop ids", loaded.eos_token_ids,
                                   loaded.model->config().vocab_size));
  return loaded;
}

}  // namespace vexact
