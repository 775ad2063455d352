// vexact score: log-probabilities of given tokens, in one prefill.

#include <memory>

#include "cli/commands.h"
#include "cli/request_run.h"

namespace vexact {
namespace {

constexpr const char* kFooter =
    R"(Input: one JSON object a line with "prompt", "prompt_token_ids" or "messages", "completion"
(tokenised on its own) or "completion_token_ids", and the fields of `vexact generate` (n must be 1). Fields
that only choose or stop (max_tokens, seed, stop, ...) have no effect, so that a line of generate can be
scored.
Output: as `vexact generate`; outputs[0] has the completion's tokens with their log-probabilities
(logprobs 0 unless asked for more): the same bits as if generate had drawn them.
Exit status: 0 every request was answered, 1 one failed or the run did, 2 wrong usage.)";

}  // namespace

void AddScore(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<RequestRunFlags>();
  CLI::App* const command = app.add_subcommand("score", "Log-probabilities of given completions");
  command->footer(kFooter);
  command->add_option("--input", flags->input, "requests as JSON lines; - is standard input")
      ->required()
      ->type_name("FILE.jsonl|-");
  AddRunFlags(*command, *flags);
  flags->sampling.AddForScore(*command);
  command->callback(
      [flags, &chosen] { chosen = [flags] { return RunRequests(RequestKind::kScore, *flags); }; });
}

}  // namespace vexact
