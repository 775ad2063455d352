// vexact chat: a conversation in a terminal, or one read from a pipe.

#include <unistd.h>

#include <chrono>
#include <memory>
#include <utility>

#include "chat/json.h"
#include "cli/commands.h"
#include "cli/fail.h"
#include "cli/result_board.h"
#include "cli/session.h"
#include "common/chat_prompt.h"
#include "common/flags.h"
#include "common/line_reader.h"
#include "common/sampling_flags.h"
#include "tokenizer/utf8.h"

namespace vexact {
namespace {

constexpr int32_t kMaxTokens = 1024;  // of an answer, unless --max-tokens says otherwise

constexpr const char* kFooter =
    R"(Each line of standard input is a message; the answer is written as it comes. The prompt is made by the
model's own chat template, of the whole conversation. Answers have at most 1024 tokens unless --max-tokens
says otherwise.
Lines that are commands:
  /system TEXT  the system message from now on; without TEXT: none
  /reset        forgets the conversation, not the system message
  /exit         the end, as the end of the input is
SIGINT and SIGTERM end an answer and the chat.
Exit status: 0 every message was answered, 1 one was not or the run failed, 2 wrong usage.)";

struct ChatFlags {
  EngineFlags engine;
  SamplingFlags sampling;
  std::string system;
  Dict template_variables;
  bool quiet = false;
};

// What is not UTF-8 becomes U+FFFD, as in a prompt: a template takes texts alone.
Value Text(const std::string& bytes) {
  std::string text;
  Utf8Repair repair;
  repair.Append(bytes, text);
  repair.Finish(text);
  return Value::FromText(std::move(text));
}

Value Message(const char* role, const std::string& content) {
  const auto key = [](const char* name) { return std::make_shared<const std::string>(name); };
  Dict message;
  message.Set(key("role"), Value::FromText(role));
  message.Set(key("content"), Text(content));
  return Value::FromDict(std::move(message));
}

// The conversation so far, and how it goes on.
class Conversation {
 public:
  Conversation(const ChatFlags& flags, Session& session, InterruptSignals& interrupts,
               OutputFile& output)
      : flags_(flags),
        session_(session),
        interrupts_(interrupts),
        output_(output),
        board_(/*keep_deltas=*/true),
        system_(flags.system) {
    SamplingParams chat;
    chat.max_tokens = kMaxTokens;
    sampling_ = flags.sampling.Defaults(session.model_config().generation, chat);
  }

  void set_system(const std::string& text) { system_ = text; }
  void Reset() { turns_.clear(); }

  // Writes the answer as it comes. A message without an answer is not part of the conversation.
  Status Answer(const std::string& text) {
    turns_.push_back(Message("user", text));
    const Result<std::string> answer = Generate();
    if (answer.ok()) {
      turns_.push_back(Message("assistant", *answer));
      return {};
    }
    turns_.pop_back();
    return answer.error();
  }

 private:
  Result<std::vector<int32_t>> Prompt() const {
    std::vector<Value> messages;
    if (!system_.empty()) messages.push_back(Message("system", system_));
    messages.insert(messages.end(), turns_.begin(), turns_.end());
    ChatInput input;
    input.messages = Value::FromList(std::move(messages));
    input.variables = flags_.template_variables;
    input.now = LocalTime();
    return EncodeChat(session_.chat_template(), input, session_.tokenizer());
  }

  Result<std::string> Generate() {
    Request request;
    VX_ASSIGN_OR_RETURN(request.prompt_token_ids, Prompt());
    request.sampling = sampling_;
    request.index = next_index_++;
    const int64_t index = *request.index;
    board_.Open(index, {});
    const auto callback = [this, index](const Output& news) { board_.Append(index, news); };
    const Result<RequestId> id = session_.front().Submit(std::move(request), callback);
    if (id.ok()) {
      board_.SetRequestId(index, *id);
    } else {
      board_.Refuse(index, id.error().message);
    }
    return WriteAnswer();
  }

  // Waits for the one request that the board has.
  Result<std::string> WriteAnswer() {
    constexpr std::chrono::milliseconds kPatience(100);
    while (true) {
      const ResultBoard::News news = board_.Collect(kPatience);
      for (const ResultBoard::Delta& delta : news.deltas) output_.Write(delta.output.text);
      output_.Flush();
      if (!news.finished.empty()) {
        const SampleResult& sample = news.finished[0].samples.at(0);
        if (sample.error.empty()) output_.WriteLine("");
        output_.Flush();
        VX_RETURN_IF_ERROR(output_.status());
        if (!sample.error.empty()) return InvalidArgument("{}", sample.error);
        return sample.text;
      }
      if (interrupts_.Triggered() || !output_.status().ok()) {
        for (const RequestId unfinished : board_.UnfinishedIds()) {
          session_.front().Abort(unfinished);
        }
      }
    }
  }

  const ChatFlags& flags_;
  Session& session_;
  InterruptSignals& interrupts_;
  OutputFile& output_;
  ResultBoard board_;
  SamplingParams sampling_;
  std::string system_;
  std::vector<Value> turns_;
  int64_t next_index_ = 0;
};

enum class Reply { kGoOn, kFailed, kExit };

// Obeys one line of input.
Reply Obey(const std::string& line, Conversation& conversation) {
  if (line.find_first_not_of(" \t") == std::string::npos) return Reply::kGoOn;
  if (line == "/exit") return Reply::kExit;
  if (line == "/reset") {
    conversation.Reset();
  } else if (line == "/system") {
    conversation.set_system("");
  } else if (line.starts_with("/system ")) {
    conversation.set_system(line.substr(line.find(' ') + 1));
  } else if (line.starts_with('/')) {
    fmt::print(stderr, "vexact: expected /system, /reset, /exit or a message, found {}\n", line);
    return Reply::kFailed;
  } else if (const Status status = conversation.Answer(line); !status.ok()) {
    fmt::print(stderr, "vexact: {}\n", status.error().message);
    return Reply::kFailed;
  }
  return Reply::kGoOn;
}

// Every line, to the end of the input, /exit, a signal, or an output that is closed.
Result<bool> ReadLines(LineReader& reader, InterruptSignals& interrupts, const OutputFile& output,
                       Conversation& conversation) {
  const bool asks = isatty(STDIN_FILENO) != 0;
  bool all_answered = true;
  LineReader::Line line;
  while (output.status().ok()) {
    if (asks) fmt::print(stderr, "> ");
    VX_ASSIGN_OR_RETURN(const LineReader::Outcome outcome,
                        reader.Next([&] { return !interrupts.Triggered(); }, line));
    if (outcome == LineReader::Outcome::kEnd) break;
    if (outcome == LineReader::Outcome::kStopped) return false;
    if (line.too_long) {
      return InvalidArgument("line {}: expected at most {} bytes, found more", line.number,
                             LineReader::kMaxLineBytes);
    }
    const Reply reply = Obey(line.text, conversation);
    if (reply == Reply::kExit) break;
    if (reply == Reply::kFailed) all_answered = false;
    if (interrupts.Triggered()) return false;
  }
  return all_answered;
}

int Run(const ChatFlags& flags) {
  if (const Status status = flags.sampling.Check(); !status.ok()) {
    return Fail(status.error(), kExitUsage);
  }
  Result<LineReader> reader = LineReader::Open("-");
  if (!reader.ok()) return Fail(reader.error());
  Result<OutputFile> output = OutputFile::Open("-");
  if (!output.ok()) return Fail(output.error());
  InterruptSignals interrupts;
  int exit_status = kExitSuccess;
  const auto session = Session::Open(flags.engine, flags.quiet, interrupts, exit_status);
  if (session == nullptr) return exit_status;
  if (!session->chat_template().ok()) return Fail(session->chat_template().error());
  Conversation conversation(flags, *session, interrupts, *output);
  const Result<bool> all_answered = ReadLines(*reader, interrupts, *output, conversation);
  for (const Status& status : {all_answered.ok() ? Status() : Status(all_answered.error()),
                               output->Close(), session->Close()}) {
    if (!status.ok()) return Fail(status.error());
  }
  return *all_answered ? kExitSuccess : kExitFailure;
}

}  // namespace

void AddChat(CLI::App& app, Command& chosen) {
  const auto flags = std::make_shared<ChatFlags>();
  CLI::App* const command = app.add_subcommand("chat", "Talk with a model");
  command->footer(kFooter);
  command->add_option("--system", flags->system, "the system message [none]")->type_name("TEXT");
  const auto set_variables = [flags](const std::string& text) -> Status {
    VX_ASSIGN_OR_RETURN(const Value value, ParseChatJson(text, "JSON"));
    if (value.dict() == nullptr) {
      return InvalidArgument("expected a JSON object, found {}", value.TypeName());
    }
    flags->template_variables = *value.dict();
    return {};
  };
  AddTextFlag(*command, "--chat-template-kwargs", set_variables,
              "what else the template sees, as {\"enable_thinking\": false}")
      ->type_name("JSON");
  command->add_flag("--quiet", flags->quiet, "no log on standard error");
  AddEngineFlags(*command, flags->engine);
  flags->sampling.AddForGenerate(*command);
  command->callback([flags, &chosen] {
    if (flags->sampling.Defaults({}).n > 1) {
      throw CLI::ValidationError("--n", "expected one answer in a chat, found more");
    }
    chosen = [flags] { return Run(*flags); };
  });
}

}  // namespace vexact
