// ResultBoard: where the engine's outputs are gathered until they can be written in input order.
#ifndef VEXACT_CLI_RESULT_BOARD_H_
#define VEXACT_CLI_RESULT_BOARD_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "common/progress.h"
#include "common/request_result.h"

namespace vexact {

// Thread contract: every member may be called from any thread. Requests are opened in input order
// by one thread, which then closes the input; the engine's thread appends; one thread collects.
class ResultBoard {
 public:
  // `keep_deltas`: outputs are also handed out piece by piece.
  explicit ResultBoard(bool keep_deltas) : keep_deltas_(keep_deltas) {}

  struct Shown {
    bool logprobs = false;
    bool prompt_logprobs = false;
    std::shared_ptr<const Request> request = nullptr;  // as RequestResult's
  };

  // Announces the next request; its result has this index.
  void Open(int64_t index, Shown shown);
  // Remembers which engine request it became, for UnfinishedIds.
  void SetRequestId(int64_t index, RequestId id);
  // Ends a request that the engine did not take.
  void Refuse(int64_t index, std::string error);
  void Append(int64_t index, const Output& output);
  // No request will be opened any more.
  void CloseInput();

  struct Delta {
    int64_t index = 0;
    bool show_logprobs = false;
    Output output;
  };
  struct News {
    std::vector<Delta> deltas;            // in order of arrival
    std::vector<RequestResult> finished;  // in input order, without gaps, each once
    bool all_done = false;                // the input is closed and nothing more will come
  };
  // Waits until there is news, at most `limit`.
  News Collect(std::chrono::milliseconds limit);

  std::vector<RequestId> UnfinishedIds();
  ProgressCounts Counts();

 private:
  struct Entry {
    RequestResult result;
    RequestId id = -1;
    bool done = false;
  };
  bool FirstIsDone() const { return !entries_.empty() && entries_.begin()->second.done; }
  void Finish(Entry& entry);

  const bool keep_deltas_;
  std::mutex mutex_;  // guards everything below
  std::condition_variable news_;
  std::map<int64_t, Entry> entries_;  // by index; those not yet collected
  std::vector<Delta> deltas_;
  ProgressCounts counts_{.total_is_final = false};
};

}  // namespace vexact

#endif  // VEXACT_CLI_RESULT_BOARD_H_
