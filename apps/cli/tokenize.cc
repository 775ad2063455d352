// vexact tokenize: texts to token ids and back. Needs a model's tokenizer, not its weights.

#include <memory>
#include <utility>

#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/open_tokenizer.h"
#include "common/engine_flags.h"
#include "common/flags.h"
#include "common/line_reader.h"
#include "common/output_file.h"
#include "common/request_json.h"
#include "common/request_result.h"

namespace vexact {
namespace {

struct TokenizeFlags {
  std::string model;
  std::string input;
  std::string output;
  bool decode = false;
  bool add_special_tokens = false;
  bool skip_special_tokens = false;
};

constexpr const char* kFooter =
    R"(Input: {"prompt": TEXT} a line; with --decode {"prompt_token_ids": [ID, ...]}.
Output: {"prompt_token_ids": [...]} a line; with --decode {"prompt": TEXT}; {"error": TEXT} for a line
that is wrong. Special tokens written in a text are found.
Exit status: 0 every line was answered, 1 one failed or the run did, 2 wrong usage.)";

Result<std::string> AnswerLine(const TokenizeFlags& flags, const Tokenizer& tokenizer,
                               const LineReader::Line& line) {
  const std::string where = fmt::format("line {}", line.number);
  if (line.too_long) {
    return InvalidArgument("{}: expected at most {} bytes, found more", where,
                           LineReader::kMaxLineBytes);
  }
  std::string json;
  if (flags.decode) {
    VX_ASSIGN_OR_RETURN(const auto ids, ParseTokenIdsLine(line.text, where));
    const Result<std::string> text = tokenizer.Decode(ids, flags.skip_special_tokens);
    if (!text.ok()) return InvalidArgument("{}: {}", where, text.error().message);
    json = "{\"prompt\":";
    AppendJsonString(*text, json);
  } else {
    VX_ASSIGN_OR_RETURN(const auto text, ParsePromptLine(line.text, where));
    json = "{\"prompt_token_ids\":";
    AppendJsonIds(tokenizer.Encode(text, {.add_special_tokens = flags.add_special_tokens}), json);
  }
  return json + "}";
}

// The number of lines that were wrong.
Result<int64_t> TokenizeLines(const TokenizeFlags& flags, const Tokenizer& tokenizer) {
  VX_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(flags.input));
  VX_ASSIGN_OR_RETURN(OutputFile output, OutputFile::Open(flags.output));
  int64_t num_failed = 0;
  LineReader::Line line;
  while (output.status().ok()) {
    // Who waits for an answer before the next line has it.
    const auto keep_waiting = [&output] {
      output.Flush();
      return true;
    };
    VX_ASSIGN_OR_RETURN(const auto outcome, reader.Next(keep_waiting, line));
    if (outcome != LineReader::Outcome::kLine) break;
    if (!line.too_long && line.text.find_first_not_of(" \t") == std::string::npos) continue;
    const Result<std::string> answer = AnswerLine(flags, tokenizer, line);
    if (answer.ok()) {
      output.WriteLine(*answer);
      continue;
    }
    ++num_failed;
    std::string json = "{\"error\":";
    AppendJsonString(answer.error().message, json);
    output.WriteLine(json + "}");
  }
  VX_RETURN_IF_ERROR(output.Close());
  return num_failed;
}

int Run(const TokenizeFlags& flags) {
  if (const Status status = CheckApart({{"--model", flags.model}, {"--input", flags.input}},
                                       {{"--output", flags.output}});
      !status.ok()) {
    return Fail(status.error(), kExitUsage);
  }
  const auto tokenizer = OpenTokenizer(flags.model);
  const Result<int64_t> num_failed =
      tokenizer.ok() ? TokenizeLines(flags, **tokenizer) : tokenizer.error();
  if (!num_failed.ok()) return Fail(num_failed.error());
  return *num_failed == 0 ? kExitSuccess : kExitFailure;
}

}  // namespace

void AddTokenize(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* const command = app.add_subcommand("tokenize", "Texts to token ids and back");
  command->footer(kFooter);
  AddModelFlag(*command, flags->model);
  command->add_option("--input", flags->input, "JSON lines; - is standard input")
      ->required()
      ->type_name("FILE.jsonl|-");
  command->add_option("--output", flags->output, "file for the results [standard output]")
      ->type_name("FILE");
  CLI::Option* const decode = command->add_flag("--decode", flags->decode, "token ids to text");
  command
      ->add_flag("--add-special-tokens", flags->add_special_tokens,
                 "add what the model's tokenizer adds around a prompt (bos, eos)")
      ->excludes(decode);
  command
      ->add_flag("--skip-special-tokens", flags->skip_special_tokens,
                 "leave special tokens out of decoded text")
      ->needs(decode);
  command->callback([flags, &chosen] { chosen = [flags] { return Run(*flags); }; });
}

}  // namespace vexact
