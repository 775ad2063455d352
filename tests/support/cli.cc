#include "support/cli.h"
#include "support/paths.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <sstream>

#include "tokenizer/byte_level.h"
#include "tokenizer/utf8.h"

namespace vexact {
namespace {

using nlohmann::json;

std::string ByteTokenizer() {
  json vocabulary = {{"<|unk|>", 0}, {"<|bos|>", 1}, {"<|eos|>", 2}};
  json added = json::array();
  for (const char* text : {"<|unk|>", "<|bos|>", "<|eos|>"}) {
    added.push_back({{"id", vocabulary[text]},
                     {"content", text},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", true}});
  }
  for (int byte = 0; byte < 256; ++byte) {
    std::string text;
    AppendUtf8(CharOfByte(static_cast<uint8_t>(byte)), text);
    vocabulary[text] = 3 + byte;
  }
  return json{
      {"version", "1.0"},
      {"added_tokens", added},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", json::array()}}}}
      .dump();
}

std::unique_ptr<const TempDir> MakeTinyModel() {
  auto folder = std::make_unique<const TempDir>();
  for (const auto& file : std::filesystem::directory_iterator(SourceDir() + "/models/tiny-llama")) {
    std::filesystem::copy_file(file.path(),
                               std::filesystem::path(folder->path()) / file.path().filename());
  }
  folder->Write("tokenizer.json", ByteTokenizer());
  folder->Write("chat_template.jinja",
                "{{ bos_token }}{% for message in messages %}"
                "{{ message.role[0] + ':' + message.content + ';' }}{% endfor %}"
                "{{ 'a:' if add_generation_prompt }}{{ mark }}");
  folder->Write("tokenizer_config.json", R"({"bos_token": "<|bos|>", "eos_token": "<|eos|>"})");
  return folder;
}

}  // namespace

std::string VexactPath() { return BinaryDir() + "/vexact"; }

const std::string& TinyModel() {
  static const std::unique_ptr<const TempDir> kFolder = MakeTinyModel();
  return kFolder->path();
}

ProgramResult Vexact(const std::vector<std::string>& arguments, const std::string& input) {
  return RunProgram(VexactPath(), arguments, input);
}

ProgramResult RunRequests(const std::string& command, const std::string& requests,
                          const std::vector<std::string>& flags) {
  std::vector<std::string> arguments = {command, "--model", TinyModel(), "--input", "-"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  return Vexact(arguments, requests);
}

std::vector<json> Answers(const std::string& command, const std::string& requests,
                          const std::vector<std::string>& flags) {
  const ProgramResult result = RunRequests(command, requests, flags);
  EXPECT_EQ(result.exit_status, 0) << result.err << result.out;
  return JsonLines(result.out);
}

std::vector<json> JsonLines(const std::string& text) {
  std::vector<json> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(json::parse(line));
  return lines;
}

}  // namespace vexact
