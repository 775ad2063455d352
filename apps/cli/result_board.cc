#include "cli/result_board.h"

#include <utility>

#include "base/check.h"

namespace vexact {

void ResultBoard::Open(int64_t index, Shown shown) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_[index];
  entry.result.index = index;
  entry.result.show_logprobs = shown.logprobs;
  entry.result.show_prompt_logprobs = shown.prompt_logprobs;
  entry.result.request = std::move(shown.request);
  ++counts_.total;
}

void ResultBoard::SetRequestId(int64_t index, RequestId id) {
  const std::lock_guard lock(mutex_);
  const auto entry = entries_.find(index);
  if (entry != entries_.end()) entry->second.id = id;  // else it is finished and collected already
}

void ResultBoard::Refuse(int64_t index, std::string error) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_.at(index);
  entry.result = RefusedResult(index, std::move(error));
  Finish(entry);
}

void ResultBoard::Append(int64_t index, const Output& output) {
  const std::lock_guard lock(mutex_);
  Entry& entry = entries_.at(index);
  VX_CHECK(!entry.done, "no output after a request's last");
  AppendOutput(output, entry.result);
  counts_.tokens += static_cast<int64_t>(output.token_ids.size());
  if (keep_deltas_) {
    deltas_.push_back({index, entry.result.show_logprobs, output});
    news_.notify_all();
  }
  if (entry.result.finished()) Finish(entry);
}

void ResultBoard::Finish(Entry& entry) {
  entry.done = true;
  ++counts_.done;
  if (FirstIsDone()) news_.notify_all();
}

void ResultBoard::CloseInput() {
  const std::lock_guard lock(mutex_);
  counts_.total_is_final = true;
  news_.notify_all();
}

ResultBoard::News ResultBoard::Collect(std::chrono::milliseconds limit) {
  std::unique_lock lock(mutex_);
  const auto all_done = [this] { return counts_.total_is_final && entries_.empty(); };
  news_.wait_for(lock, limit, [&] { return !deltas_.empty() || FirstIsDone() || all_done(); });
  News news;
  news.deltas.swap(deltas_);
  while (FirstIsDone()) {
    news.finished.push_back(std::move(entries_.begin()->second.result));
    entries_.erase(entries_.begin());
  }
  news.all_done = all_done();
  return news;
}

std::vector<RequestId> ResultBoard::UnfinishedIds() {
  const std::lock_guard lock(mutex_);
  std::vector<RequestId> ids;
  for (const auto& [index, entry] : entries_) {
    if (!entry.done && entry.id >= 0) ids.push_back(entry.id);
  }
  return ids;
}

ProgressCounts ResultBoard::Counts() {
  const std::lock_guard lock(mutex_);
  return counts_;
}

}  // namespace vexact
