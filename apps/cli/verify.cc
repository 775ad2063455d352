// vexact verify: receipts in, whether this machine computes the same answers out.

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/replay.h"
#include "cli/result_board.h"
#include "cli/session.h"
#include "common/flags.h"
#include "common/line_reader.h"
#include "common/progress.h"
#include "common/receipt.h"

namespace vexact {
namespace {

struct VerifyFlags {
  EngineFlags engine;
  std::string receipts;
  std::string output;
  bool quiet = false;
};

constexpr const char* kFooter =
    R"(Every receipt's answer is computed again, together with the others, and compared word for word:
tokens, log-probabilities, ranks and top lists, of the prompt where they were asked for, and how each
output finished. Each output takes one prefill: its tokens are given, and drawn again at every
position. A model of other weights, profile, tokenizer or stop ids is refused before anything is
computed.
Output: one JSON object a receipt, in their order: {"line", "index", "equal": true} or
{"line", "index", "equal": false, "output", "position", "field", "receipt", "replay"}: the first
difference; output and position count from 0; or {"line", "index", "equal": null, "reason":
"timeout"}: --request-timeout-s ended the replay, which so says nothing about the receipt.
Exit status: 0 every receipt is equal, 1 one differs or the run failed, 2 wrong usage, 3 none
differs, but a replay timed out.)";

constexpr int kExitTimeout = 3;

struct NumberedReceipt {
  int64_t line = 0;
  Receipt receipt;
};

Result<std::vector<NumberedReceipt>> ReadReceipts(const std::string& path) {
  VX_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path));
  std::vector<NumberedReceipt> receipts;
  LineReader::Line line;
  while (true) {
    VX_ASSIGN_OR_RETURN(const auto outcome, reader.Next([] { return true; }, line));
    if (outcome != LineReader::Outcome::kLine) break;
    const std::string where = fmt::format("{}: line {}", path, line.number);
    if (line.too_long) {
      return InvalidArgument("{}: expected at most {} bytes, found more", where,
                             LineReader::kMaxLineBytes);
    }
    if (line.text.find_first_not_of(" \t") == std::string::npos) continue;
    VX_ASSIGN_OR_RETURN(Receipt receipt, ParseReceipt(line.text, where));
    receipts.push_back({line.number, std::move(receipt)});
  }
  // Of nothing everything would be equal.
  if (receipts.empty()) return InvalidArgument("{}: expected receipts, found none", path);
  return receipts;
}

Status CheckModels(const std::vector<NumberedReceipt>& receipts, const ModelIdentity& model,
                   const VerifyFlags& flags) {
  for (const NumberedReceipt& numbered : receipts) {
    if (const Status status = CheckModel(model, numbered.receipt.model); !status.ok()) {
      return InvalidArgument("{}: line {}: {}", flags.receipts, numbered.line,
                             status.error().message);
    }
    if (numbered.receipt.model.engine_version != model.engine_version && !flags.quiet) {
      fmt::print(stderr, "{}: line {}: made by version {}, replayed by {}\n", flags.receipts,
                 numbered.line, numbered.receipt.model.engine_version, model.engine_version);
    }
  }
  return {};
}

std::string VerdictJson(const NumberedReceipt& numbered,
                        const std::optional<Difference>& difference) {
  std::string json = fmt::format("{{\"line\":{},\"index\":{},\"equal\":{}", numbered.line,
                                 numbered.receipt.answer.index, !difference.has_value());
  if (difference) {
    const auto text_of = [](const std::optional<int32_t>& number) {
      return number ? fmt::format("{}", *number) : "null";
    };
    json += fmt::format(",\"output\":{},\"position\":{},\"field\":\"{}\",\"receipt\":{}",
                        text_of(difference->output), text_of(difference->position),
                        difference->field, difference->receipt);
    json += fmt::format(",\"replay\":{}", difference->replay);
  }
  return json + "}";
}

std::string TimeoutJson(const NumberedReceipt& numbered) {
  return fmt::format(R"({{"line":{},"index":{},"equal":null,"reason":"timeout"}})", numbered.line,
                     numbered.receipt.answer.index);
}

bool TimedOut(const std::vector<RequestResult>& results) {
  return std::ranges::any_of(results, [](const RequestResult& result) {
    return std::ranges::find(result.samples, FinishReason::kTimeout,
                             &SampleResult::finish_reason) != result.samples.end();
  });
}

// Submits every receipt's requests; returns how many each has.
std::vector<size_t> SubmitAll(const std::vector<NumberedReceipt>& receipts, EngineFront& front,
                              ResultBoard& board) {
  std::vector<size_t> counts;
  int64_t index = 0;
  for (const NumberedReceipt& numbered : receipts) {
    std::vector<Request> requests = ReplayRequests(numbered.receipt);
    counts.push_back(requests.size());
    for (Request& request : requests) {
      board.Open(index, {});
      const auto callback = [&board, index](const Output& output) { board.Append(index, output); };
      const Result<RequestId> id = front.Submit(std::move(request), callback);
      if (id.ok()) {
        board.SetRequestId(index, *id);
      } else {
        board.Refuse(index, id.error().message);
      }
      ++index;
    }
  }
  board.CloseInput();
  return counts;
}

struct Verdicts {
  int64_t num_receipts = 0;
  int64_t num_equal = 0;
  int64_t num_timed_out = 0;
};

// Replays everything and writes a verdict for each; a signal ends it early.
Verdicts Replay(const std::vector<NumberedReceipt>& receipts, Session& session, bool show_progress,
                InterruptSignals& interrupts, OutputFile& output) {
  constexpr std::chrono::milliseconds kPatience(100);
  ResultBoard board(/*keep_deltas=*/false);
  const std::vector<size_t> counts = SubmitAll(receipts, session.front(), board);
  ProgressBar progress(show_progress);
  Verdicts verdicts;
  std::vector<RequestResult> results;  // of the next receipt
  const auto judge_complete = [&] {
    while (static_cast<size_t>(verdicts.num_receipts) < receipts.size() &&
           results.size() == counts[verdicts.num_receipts]) {
      const NumberedReceipt& numbered = receipts[verdicts.num_receipts++];
      if (TimedOut(results)) {
        results.clear();
        ++verdicts.num_timed_out;
        output.WriteLine(TimeoutJson(numbered));
        continue;
      }
      const RequestResult replay =
          JoinReplay(numbered.receipt, std::exchange(results, {}), session.tokenizer());
      const auto difference = FirstDifference(numbered.receipt.answer, replay);
      verdicts.num_equal += difference ? 0 : 1;
      output.WriteLine(VerdictJson(numbered, difference));
    }
  };
  while (output.status().ok() && !interrupts.Triggered()) {
    ResultBoard::News news = board.Collect(kPatience);
    if (!news.finished.empty()) progress.Clear();
    judge_complete();  // those without a request
    for (RequestResult& result : news.finished) {
      results.push_back(std::move(result));
      judge_complete();
    }
    if (news.all_done) break;
    progress.Update(board.Counts());
  }
  // The callbacks use the board: nothing may be left running when it goes.
  for (const RequestId id : board.UnfinishedIds()) session.front().Abort(id);
  session.front().Drain();
  return verdicts;
}

int Run(const VerifyFlags& flags) {
  for (const Status& status :
       {RequireInvariant(flags.engine.config, "verify"),
        CheckApart({{"--model", flags.engine.model.path}, {"RECEIPTS", flags.receipts}},
                   {{"--output", flags.output}, {"--batch-probe", flags.engine.batch_probe}})}) {
    if (!status.ok()) return Fail(status.error(), kExitUsage);
  }
  const Result<std::vector<NumberedReceipt>> receipts = ReadReceipts(flags.receipts);
  if (!receipts.ok()) return Fail(receipts.error());
  Result<OutputFile> output = OutputFile::Open(flags.output);
  if (!output.ok()) return Fail(output.error());
  InterruptSignals interrupts;
  int exit_status = kExitSuccess;
  const auto session = Session::Open(flags.engine, flags.quiet, interrupts, exit_status);
  if (session == nullptr) return exit_status;
  const auto model = IdentifyModel(flags.engine.model, session->front().config());
  if (!model.ok()) return Fail(model.error());
  if (const Status status = CheckModels(*receipts, *model, flags); !status.ok()) {
    return Fail(status.error());
  }
  const auto start = std::chrono::steady_clock::now();
  const Verdicts verdicts = Replay(*receipts, *session, !flags.quiet, interrupts, *output);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const auto num_receipts = static_cast<int64_t>(receipts->size());
  if (!flags.quiet) {
    fmt::print(stderr, "{} receipts, {} equal, {} timed out, {:.2f} s\n", num_receipts,
               verdicts.num_equal, verdicts.num_timed_out, elapsed.count());
  }
  for (const Status& status : {output->Close(), session->Close()}) {
    if (!status.ok()) return Fail(status.error());
  }
  if (verdicts.num_equal + verdicts.num_timed_out < num_receipts) return kExitFailure;
  if (verdicts.num_timed_out == 0) return kExitSuccess;
  return Fail(
      {ErrorCode::kResourceExhausted,
       fmt::format("verify: expected every replay within --request-timeout-s ({} s), found "
                   "{} of {} timed out: nothing is known of their receipts",
                   flags.engine.config.request_timeout_s, verdicts.num_timed_out, num_receipts)},
      kExitTimeout);
}

}  // namespace

void AddVerify(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<VerifyFlags>();
  CLI::App* const command =
      app.add_subcommand("verify", "Compute answers again and compare them with their receipts");
  command->footer(kFooter);
  command
      ->add_option("receipts", flags->receipts,
                   "what `vexact generate --receipts` wrote; - is standard input")
      ->required()
      ->type_name("RECEIPTS");
  command->add_option("--output", flags->output, "file for the results [standard output]")
      ->type_name("FILE");
  command->add_flag("--quiet", flags->quiet, "no log and no progress on standard error");
  AddEngineFlags(*command, flags->engine);
  command->callback([flags, &chosen] { chosen = [flags] { return Run(*flags); }; });
}

}  // namespace vexact
