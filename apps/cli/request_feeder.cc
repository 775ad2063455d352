#include "cli/request_feeder.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/threads.h"
#include "common/chat_prompt.h"

namespace vexact {
namespace {

bool IsBlank(const std::string& text) { return text.find_first_not_of(" \t") == std::string::npos; }

}  // namespace

RequestFeeder::RequestFeeder(const FeederOptions& options, const Tokenizer* tokenizer,
                             EngineFront& front, ResultBoard& board)
    : options_(options), tokenizer_(tokenizer), front_(front), board_(board) {}

RequestFeeder::~RequestFeeder() { Stop(); }

Status RequestFeeder::Start(LineReader reader) {
  VX_ASSIGN_OR_RETURN(thread_,
                      StartThread("reading requests", [this, reader = std::move(reader)]() mutable {
                        ReadAll(std::move(reader));
                      }));
  return {};
}

void RequestFeeder::SubmitOnly(Request request) {
  Submit({.request = std::move(request)}, "");
  board_.CloseInput();
}

void RequestFeeder::Stop() {
  stopping_ = true;
  if (thread_.joinable()) thread_.join();
}

void RequestFeeder::ReadAll(LineReader reader) {
  const auto keep_waiting = [this] { return !stopping_.load(); };
  LineReader::Line line;
  while (keep_waiting()) {
    const Result<LineReader::Outcome> outcome = reader.Next(keep_waiting, line);
    if (!outcome.ok()) status_ = outcome.error();
    if (!outcome.ok() || *outcome != LineReader::Outcome::kLine) break;
    FeedLine(line);
  }
  board_.CloseInput();
}

Result<ParsedRequest> RequestFeeder::ParseLine(const LineReader::Line& line,
                                               const std::string& where) const {
  if (line.too_long) {
    return InvalidArgument("{}: expected at most {} bytes, found more", where,
                           LineReader::kMaxLineBytes);
  }
  VX_ASSIGN_OR_RETURN(ParsedRequest parsed,
                      ParseRequest(line.text, options_.kind, options_.defaults, where));
  if (parsed.completion && tokenizer_ == nullptr) {
    return InvalidArgument(
        "{}: \"completion\": expected \"completion_token_ids\", since the "
        "model has no tokenizer",
        where);
  }
  if (parsed.chat) {
    parsed.chat->now = LocalTime();
    auto ids = EncodeChat(*options_.chat_template, *parsed.chat, tokenizer_);
    if (!ids.ok()) return Error{ids.error().code, where + ": " + ids.error().message};
    parsed.request.prompt_token_ids = std::move(ids).value();
  }
  return parsed;
}

void RequestFeeder::FeedLine(const LineReader::Line& line) {
  if (!line.too_long && IsBlank(line.text)) return;
  const std::string where = fmt::format("line {}", line.number);
  Result<ParsedRequest> parsed = ParseLine(line, where);
  if (parsed.ok()) {
    Submit(std::move(parsed).value(), where + ": ");
  } else {
    Refuse(parsed.error().message);
  }
}

void RequestFeeder::Refuse(std::string error) {
  const int64_t index = next_index_++;
  board_.Open(index, {});
  board_.Refuse(index, std::move(error));
}

void RequestFeeder::Submit(ParsedRequest parsed, const std::string& where) {
  const int64_t index = next_index_++;
  Request& request = parsed.request;
  SamplingParams& sampling = request.sampling;
  request.index = index;
  if (parsed.completion) {
    request.completion_token_ids =
        tokenizer_->Encode(*parsed.completion, {.add_special_tokens = false});
  }
  if (options_.kind == RequestKind::kScore) {
    if (!sampling.logprobs) sampling.logprobs = 0;
    // Nothing is drawn; min_tokens still decides which stop ids are forbidden where.
    sampling.max_tokens = std::max(sampling.max_tokens, sampling.min_tokens);
  }
  board_.Open(index, {.logprobs = sampling.logprobs.has_value(),
                      .prompt_logprobs = sampling.prompt_logprobs.has_value(),
                      .request = options_.keep_requests ? std::make_shared<const Request>(request)
                                                        : nullptr});
  if (options_.need_logprobs && !sampling.logprobs) sampling.logprobs = 0;
  const auto callback = [this, index](const Output& output) { board_.Append(index, output); };
  const Result<RequestId> id = front_.Submit(std::move(request), callback);
  if (id.ok()) {
    board_.SetRequestId(index, *id);
  } else {
    board_.Refuse(index, where + id.error().message);
  }
}

}  // namespace vexact
