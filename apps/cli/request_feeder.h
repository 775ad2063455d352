// RequestFeeder: reads request lines and submits them, on a thread of its own, so that results come
// out while a slow writer still produces requests.
#ifndef VEXACT_CLI_REQUEST_FEEDER_H_
#define VEXACT_CLI_REQUEST_FEEDER_H_

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "cli/result_board.h"
#include "common/line_reader.h"
#include "common/request_json.h"
#include "engine/engine_front.h"
#include "tokenizer/tokenizer.h"

namespace vexact {

struct FeederOptions {
  RequestKind kind = RequestKind::kGenerate;
  const Result<ChatTemplate>* chat_template = nullptr;  // the model's; outlives the feeder
  SamplingParams defaults;
  bool need_logprobs = false;  // of every token, also where the request does not ask
  bool keep_requests = false;  // in their results
};

class RequestFeeder {
 public:
  // `tokenizer` may be null; all must outlive the feeder.
  RequestFeeder(const FeederOptions& options, const Tokenizer* tokenizer, EngineFront& front,
                ResultBoard& board);
  ~RequestFeeder();
  RequestFeeder(const RequestFeeder&) = delete;
  RequestFeeder& operator=(const RequestFeeder&) = delete;

  // Starts the thread that reads all lines; blank ones are passed over. Call once. kIo: the system
  // refused the thread.
  Status Start(LineReader reader);
  // Submits one request, on the caller's thread, and closes the board's input.
  void SubmitOnly(Request request);

  // Reads no further and waits until the thread has ended.
  void Stop();
  // Whether reading failed; call after Stop.
  const Status& status() const { return status_; }

 private:
  void ReadAll(LineReader reader);
  void FeedLine(const LineReader::Line& line);
  Result<ParsedRequest> ParseLine(const LineReader::Line& line, const std::string& where) const;
  // `where` ("line 3: ", or nothing) begins the message of a request that the engine refuses.
  void Submit(ParsedRequest parsed, const std::string& where);
  void Refuse(std::string error);

  const FeederOptions options_;
  const Tokenizer* const tokenizer_;
  EngineFront& front_;
  ResultBoard& board_;
  std::atomic<bool> stopping_ = false;
  Status status_;
  int64_t next_index_ = 0;
  std::thread thread_;
};

}  // namespace vexact

#endif  // VEXACT_CLI_REQUEST_FEEDER_H_
