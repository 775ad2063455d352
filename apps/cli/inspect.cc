// vexact inspect: what a checkpoint is, without loading it.

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "checkpoint/checkpoint.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "common/engine_flags.h"
#include "common/flags.h"
#include "common/output_file.h"
#include "engine/load_model.h"

namespace vexact {
namespace {

using nlohmann::ordered_json;

struct InspectFlags {
  ModelSource model;
  bool json = false;
  bool tensors = false;
};

int64_t ElementsOf(const TensorInfo& tensor) {
  int64_t elements = 1;
  for (const int64_t size : tensor.shape) elements *= size;
  return elements;
}

// Key and value bf16 words of one token in all layers.
int64_t KvBytesPerToken(const ModelConfig& config) {
  return int64_t{2} * config.num_layers * config.num_kv_heads * config.head_dim *
         static_cast<int64_t>(sizeof(bf16));
}

ordered_json TensorJson(const TensorInfo& tensor) {
  return {{"name", tensor.name},
          {"dtype", DTypeName(tensor.file_dtype)},
          {"shape", tensor.shape},
          {"bytes", tensor.file_bytes},
          {"conversion", tensor.conversion},
          {"file", tensor.file}};
}

struct Totals {
  int64_t parameters = 0;
  int64_t file_bytes = 0;
  std::map<std::string, int64_t> tensors_by_dtype;
  std::map<std::string, int64_t> conversions;  // tensors by what loading does to them
};

Totals TotalsOf(std::span<const TensorInfo> tensors) {
  Totals totals;
  for (const TensorInfo& tensor : tensors) {
    totals.parameters += ElementsOf(tensor);
    totals.file_bytes += static_cast<int64_t>(tensor.file_bytes);
    ++totals.tensors_by_dtype[std::string(DTypeName(tensor.file_dtype))];
    if (!tensor.conversion.empty()) ++totals.conversions[tensor.conversion];
  }
  return totals;
}

// Whether there is one that chats can use, or why it is refused.
ordered_json ChatTemplateState(const Result<ChatTemplate>& chat) {
  if (chat.ok()) return true;
  if (chat.error().code == ErrorCode::kNotFound) return false;
  return chat.error().message;
}

Result<ordered_json> Describe(const Checkpoint& checkpoint, bool with_tensors) {
  const ModelConfig& config = checkpoint.config();
  const Totals totals = TotalsOf(checkpoint.tensors());
  VX_ASSIGN_OR_RETURN(const auto tokenizer, LoadTokenizer(checkpoint));
  ordered_json json = {
      {"architecture", ModelFamilyName(config.family)},
      {"parameters", totals.parameters},
      {"layers", config.num_layers},
      {"hidden_size", config.hidden_size},
      {"heads", config.num_heads},
      {"kv_heads", config.num_kv_heads},
      {"head_dim", config.head_dim},
      {"vocab_size", config.vocab_size},
      {"context_length", config.max_position_embeddings},
      {"tied_embeddings", config.tie_word_embeddings},
      {"tensors", checkpoint.tensors().size()},
      {"tensors_by_dtype", totals.tensors_by_dtype},
      {"file_bytes", totals.file_bytes},
      {"memory_bytes", totals.parameters * static_cast<int64_t>(sizeof(bf16))},
      {"converted", totals.conversions},
      {"stop_token_ids", StopTokenIds(config, tokenizer.get())},
      {"kv_bytes_per_token", KvBytesPerToken(config)},
  };
  if (config.family == ModelFamily::kQwen3Moe) {
    json["experts"] = config.moe.num_experts;
    json["experts_per_token"] = config.moe.num_experts_per_tok;
  }
  json["chat_template"] = ChatTemplateState(LoadChatTemplate(checkpoint, tokenizer.get()));
  json["tokenizer_tokens"] = tokenizer ? ordered_json(tokenizer->vocab_size()) : nullptr;
  if (with_tensors) {
    json["tensor_list"] = ordered_json::array();
    for (const TensorInfo& tensor : checkpoint.tensors()) {
      json["tensor_list"].push_back(TensorJson(tensor));
    }
  }
  return json;
}

// A path or an error message need not be UTF-8: U+FFFD stands for what is not.
std::string Dump(const ordered_json& json) {
  return json.dump(-1, ' ', /*ensure_ascii=*/false, ordered_json::error_handler_t::replace);
}

// One aligned line a field; lists of tensors one line each.
void PrintTable(const ordered_json& json, OutputFile& output) {
  for (const auto& [name, value] : json.items()) {
    if (name == "tensor_list") {
      for (const ordered_json& tensor : value) output.WriteLine(Dump(tensor));
    } else {
      const std::string text = value.is_string() ? value.get<std::string>() : Dump(value);
      output.WriteLine(fmt::format("{:<20} {}", name, text));
    }
  }
}

Status Inspect(const InspectFlags& flags) {
  VX_ASSIGN_OR_RETURN(const Checkpoint checkpoint, OpenCheckpoint(flags.model, nullptr));
  VX_ASSIGN_OR_RETURN(const ordered_json json, Describe(checkpoint, flags.tensors));
  VX_ASSIGN_OR_RETURN(OutputFile output, OutputFile::Open("-"));
  if (flags.json) {
    output.WriteLine(Dump(json));
  } else {
    PrintTable(json, output);
  }
  return output.Close();
}

int Run(const InspectFlags& flags) {
  const Status status = Inspect(flags);
  return status.ok() ? kExitSuccess : Fail(status.error());
}

}  // namespace

void AddInspect(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<InspectFlags>();
  CLI::App* const command = app.add_subcommand(
      "inspect", "Architecture, parameters, dtypes, conversions and sizes of a checkpoint");
  command->footer(
      "\"converted\" counts tensors by what loading does to their words; \"memory_bytes\" are the "
      "weights once loaded.\nExit status: 0 success, 1 failure at run time, 2 wrong usage.");
  AddModelSourceFlags(*command, flags->model);
  command->add_flag("--json", flags->json, "one JSON object instead of a table");
  command->add_flag("--tensors", flags->tensors, "also every tensor");
  command->callback([flags, &chosen] { chosen = [flags] { return Run(*flags); }; });
}

}  // namespace vexact
