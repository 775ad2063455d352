// vexact generate: prompts in, continuations out.

#include <memory>

#include "cli/commands.h"
#include "cli/request_run.h"
#include "common/flags.h"

namespace vexact {
namespace {

constexpr const char* kFooter =
    R"(Input: one JSON object a line with "prompt", "prompt_token_ids" or "messages", and any of max_tokens,
min_tokens, temperature, top_p, top_k, min_p, seed, n, stop, stop_token_ids, include_stop_str_in_output,
ignore_eos, skip_special_tokens, detokenize, logprobs, prompt_logprobs, presence_penalty,
frequency_penalty, repetition_penalty, logit_bias ({"id": bias}), allowed_token_ids, bad_words,
cache_salt; with the --mask that reads them prefix_len, document_ids; beside messages also tools,
chat_template_kwargs, add_generation_prompt. The model's chat template makes a prompt of messages. Blank
lines are passed over.
Output: one JSON object a request, in input order: index, prompt_token_ids, prompt_logprobs,
outputs[] of index, text, token_ids, logprobs, cumulative_logprob, finish_reason, stop_reason, seed,
num_cached_tokens, timings. A request that fails has finish_reason "error" and "error" says why; the
others go on. With --stream, {"index", "delta"} lines come before a request's result.
SIGINT and SIGTERM end requests with finish_reason "abort".
Exit status: 0 every request was answered, 1 one failed or the run did, 2 wrong usage.)";

}  // namespace

void AddGenerate(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<RequestRunFlags>();
  CLI::App* const command = app.add_subcommand("generate", "Continue prompts");
  command->footer(kFooter);
  CLI::Option_group* const source = command->add_option_group("Input", "one of");
  source->add_option("--prompt", flags->prompt, "one prompt")->type_name("TEXT");
  source->add_option("--input", flags->input, "requests as JSON lines; - is standard input")
      ->type_name("FILE.jsonl|-");
  source->require_option(1);
  command->add_flag("--stream", flags->stream,
                    "write pieces of answers as they come: bare text with --prompt, JSON lines "
                    "with --input");
  command
      ->add_option("--receipts", flags->receipts,
                   "write for each answer what is needed to compute it again, for `vexact verify`")
      ->type_name("FILE");
  AddRunFlags(*command, *flags);
  flags->sampling.AddForGenerate(*command);
  command->callback([flags, &chosen] {
    if (flags->stream && flags->prompt && flags->sampling.Defaults({}).n > 1) {
      throw CLI::ValidationError("--stream",
                                 "with --prompt expected one output, found --n above 1");
    }
    chosen = [flags] { return RunRequests(RequestKind::kGenerate, *flags); };
  });
}

}  // namespace vexact
