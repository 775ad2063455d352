#include "cli/request_run.h"
#include "cli/fail.h"

#include <chrono>
#include <memory>
#include <utility>

#include "cli/request_feeder.h"
#include "cli/result_board.h"
#include "common/flags.h"
#include "common/progress.h"
#include "common/receipt.h"

namespace vexact {
namespace {

using Clock = std::chrono::steady_clock;

// Receipts of the answers that the engine computed.
class ReceiptFile {
 public:
  ReceiptFile(OutputFile file, ModelIdentity model, int32_t max_model_len)
      : file_(std::move(file)), model_(std::move(model)), max_model_len_(max_model_len) {}

  // A request that was refused has none.
  void Write(const RequestResult& result) {
    if (result.request == nullptr || result.prompt_token_ids == nullptr) return;
    file_.WriteLine(ReceiptJson(MakeReceipt(model_, result, max_model_len_)));
  }

  Status Close() { return file_.Close(); }

 private:
  OutputFile file_;
  const ModelIdentity model_;
  const int32_t max_model_len_;
};

Result<std::unique_ptr<ReceiptFile>> OpenReceipts(const RequestRunFlags& flags, Session& session) {
  if (flags.receipts.empty()) return std::unique_ptr<ReceiptFile>();
  VX_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Open(flags.receipts));
  const EngineConfig& config = session.front().config();
  VX_ASSIGN_OR_RETURN(ModelIdentity model, IdentifyModel(flags.engine.model, config));
  return std::make_unique<ReceiptFile>(std::move(file), std::move(model), config.max_model_len);
}

// Writes results as they come and counts what happened to them.
class ResultWriter {
 public:
  // `receipts` may be null.
  ResultWriter(OutputFile output, const RequestRunFlags& flags, ReceiptFile* receipts)
      : output_(std::move(output)), flags_(flags), receipts_(receipts) {}

  // A prompt's text goes out bare, requests of an input as JSON lines.
  void Write(const ResultBoard::News& news) {
    for (const ResultBoard::Delta& delta : news.deltas) WriteDelta(delta);
    for (const RequestResult& result : news.finished) WriteResult(result);
    if (!news.deltas.empty() || !news.finished.empty()) output_.Flush();
  }

  const Status& status() const { return output_.status(); }
  int64_t num_failed() const { return num_failed_; }

  // The digest goes to standard output, after the results if those went there.
  Status Close() {
    if (flags_.digest) {
      const std::string line = fmt::format(
          "{{\"digest\":\"{}\",\"requests\":{},\"tokens\":{},\"logprobs\":{}{}}}", digest_.Finish(),
          digest_.num_requests(), digest_.num_tokens(), digest_.num_logprobs(),
          flags_.engine.config.mode == Mode::kVariant ? ",\"mode\":\"variant\"" : "");
      VX_ASSIGN_OR_RETURN(OutputFile standard_output, OutputFile::Open("-"));
      output_.Flush();
      standard_output.WriteLine(line);
      VX_RETURN_IF_ERROR(standard_output.Close());
    }
    return output_.Close();
  }

 private:
  bool writes_bare_text() const { return flags_.stream && flags_.prompt.has_value(); }

  void WriteDelta(const ResultBoard::Delta& delta) {
    if (!writes_bare_text()) {
      output_.WriteLine(DeltaJson(delta.index, delta.output, delta.show_logprobs));
    } else {
      output_.Write(delta.output.text);
    }
  }

  void WriteResult(const RequestResult& result) {
    if (flags_.digest) digest_.Add(result);
    if (receipts_ != nullptr) receipts_->Write(result);
    if (result.failed()) ++num_failed_;
    if (!writes_bare_text()) {
      output_.WriteLine(ResultJson(result));
      return;
    }
    output_.Write("\n");
    for (const SampleResult& sample : result.samples) {
      if (!sample.error.empty()) fmt::print(stderr, "vexact: {}\n", sample.error);
    }
  }

  OutputFile output_;
  const RequestRunFlags& flags_;
  ReceiptFile* const receipts_;
  AnswerDigest digest_;
  int64_t num_failed_ = 0;
};

void LogSummary(const ProgressCounts& counts, int64_t num_failed, double seconds) {
  fmt::print(stderr, "{} requests, {} failed, {} output tokens, {:.2f} s, {:.1f} tokens/s\n",
             counts.done, num_failed, counts.tokens, seconds,
             seconds > 0 ? static_cast<double>(counts.tokens) / seconds : 0.0);
}

// Collects until everything has ended; true unless a signal or a full disk cut it short.
bool CollectAll(EngineFront& front, ResultBoard& board, RequestFeeder& feeder, ResultWriter& writer,
                InterruptSignals& interrupts, ProgressBar& progress) {
  constexpr std::chrono::milliseconds kPatience(100);
  bool cut_short = false;
  while (true) {
    const ResultBoard::News news = board.Collect(kPatience);
    if (!news.deltas.empty() || !news.finished.empty()) progress.Clear();
    writer.Write(news);
    if (news.all_done) return !cut_short;
    progress.Update(board.Counts());
    if (!cut_short && (interrupts.Triggered() || !writer.status().ok())) {
      cut_short = true;
      feeder.Stop();
      for (const RequestId id : board.UnfinishedIds()) front.Abort(id);
    }
  }
}

Status CheckFlags(const RequestRunFlags& flags) {
  VX_RETURN_IF_ERROR(flags.sampling.Check());
  if (!flags.receipts.empty()) {
    VX_RETURN_IF_ERROR(RequireInvariant(flags.engine.config, "--receipts"));
  }
  return CheckApart({{"--model", flags.engine.model.path}, {"--input", flags.input}},
                    {{"--output", flags.output},
                     {"--receipts", flags.receipts},
                     {"--batch-probe", flags.engine.batch_probe}});
}

}  // namespace

void AddRunFlags(CLI::App& app, RequestRunFlags& flags) {
  app.add_option("--output", flags.output, "file for the results [standard output]")
      ->type_name("FILE");
  app.add_flag("--digest", flags.digest,
               "end with {\"digest\": ...} on standard output: SHA-256 over token ids and "
               "logprob bits in input order; the same digest is the same answer. In mode variant, "
               "where the next run may have another, it says \"mode\": \"variant\"");
  app.add_flag("--quiet", flags.quiet, "no log and no progress on standard error");
  AddEngineFlags(app, flags.engine);
}

int RunRequests(RequestKind kind, const RequestRunFlags& flags) {
  if (const Status status = CheckFlags(flags); !status.ok()) {
    return Fail(status.error(), kExitUsage);
  }
  std::optional<LineReader> reader;  // before the output, which opening empties
  if (!flags.prompt) {
    Result<LineReader> opened = LineReader::Open(flags.input);
    if (!opened.ok()) return Fail(opened.error());
    reader.emplace(std::move(opened).value());
  }
  Result<OutputFile> output = OutputFile::Open(flags.output);
  if (!output.ok()) return Fail(output.error());
  InterruptSignals interrupts;
  int exit_status = kExitSuccess;
  const auto session = Session::Open(flags.engine, flags.quiet, interrupts, exit_status);
  if (session == nullptr) return exit_status;

  const auto receipts = OpenReceipts(flags, *session);
  if (!receipts.ok()) return Fail(receipts.error());
  const Clock::time_point start = Clock::now();
  ResultBoard board(flags.stream);
  ResultWriter writer(std::move(output).value(), flags, receipts->get());
  FeederOptions feeding;
  feeding.kind = kind;
  feeding.chat_template = &session->chat_template();
  feeding.defaults = flags.sampling.Defaults(session->model_config().generation);
  feeding.need_logprobs = flags.digest || !flags.receipts.empty();
  feeding.keep_requests = !flags.receipts.empty();
  RequestFeeder feeder(feeding, session->tokenizer(), session->front(), board);
  if (reader) {
    if (const Status started = feeder.Start(std::move(*reader)); !started.ok()) {
      return Fail(started.error());
    }
  } else {
    Request request;
    request.prompt = *flags.prompt;
    request.sampling = feeding.defaults;
    feeder.SubmitOnly(std::move(request));
  }
  bool complete = false;
  {
    ProgressBar progress(!flags.quiet && !(flags.stream && flags.prompt));
    complete = CollectAll(session->front(), board, feeder, writer, interrupts, progress);
  }
  feeder.Stop();
  const std::chrono::duration<double> elapsed = Clock::now() - start;
  if (!flags.quiet) LogSummary(board.Counts(), writer.num_failed(), elapsed.count());
  const Status receipts_closed = *receipts ? (*receipts)->Close() : Status();
  for (const Status& status :
       {feeder.status(), writer.Close(), receipts_closed, session->Close()}) {
    if (status.ok()) continue;
    fmt::print(stderr, "vexact: {}\n", status.error().message);
    complete = false;
  }
  return complete && writer.num_failed() == 0 ? kExitSuccess : kExitFailure;
}

}  // namespace vexact
