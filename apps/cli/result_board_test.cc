#include "cli/result_board.h"

#include <gtest/gtest.h>

#include <thread>

namespace vexact {
namespace {

using std::chrono::milliseconds;

Output Last(std::string text) {
  Output output;
  output.text = std::move(text);
  output.token_ids = {1, 2};
  output.finish_reason = FinishReason::kLength;
  return output;
}

std::vector<int64_t> IndicesOf(const ResultBoard::News& news) {
  std::vector<int64_t> indices;
  for (const RequestResult& result : news.finished) indices.push_back(result.index);
  return indices;
}

TEST(ResultBoard, ResultsComeInInputOrderWhateverFinishesFirst) {
  ResultBoard board(/*keep_deltas=*/false);
  for (int64_t i = 0; i < 3; ++i) board.Open(i, {});
  board.Append(2, Last("c"));
  EXPECT_TRUE(board.Collect(milliseconds(0)).finished.empty());
  board.Append(0, Last("a"));
  EXPECT_EQ(IndicesOf(board.Collect(milliseconds(0))), (std::vector<int64_t>{0}));
  board.Refuse(1, "no");
  EXPECT_EQ(IndicesOf(board.Collect(milliseconds(0))), (std::vector<int64_t>{1, 2}));
}

TEST(ResultBoard, IsDoneWhenTheInputIsClosedAndEverythingCollected) {
  ResultBoard board(false);
  EXPECT_FALSE(board.Collect(milliseconds(0)).all_done);
  board.Open(0, {});
  board.CloseInput();
  EXPECT_FALSE(board.Collect(milliseconds(0)).all_done);
  board.Append(0, Last("a"));
  EXPECT_TRUE(board.Collect(milliseconds(0)).all_done);
  const ProgressCounts counts = board.Counts();
  EXPECT_EQ(counts.done, 1);
  EXPECT_EQ(counts.tokens, 2);
}

TEST(ResultBoard, DeltasComeBeforeTheResultTheyBelongTo) {
  ResultBoard board(/*keep_deltas=*/true);
  board.Open(0, {.logprobs = true, .prompt_logprobs = false});
  Output first;
  first.text = "a";
  board.Append(0, first);
  board.Append(0, Last("b"));
  const ResultBoard::News news = board.Collect(milliseconds(0));
  ASSERT_EQ(news.deltas.size(), 2u);
  EXPECT_EQ(news.deltas[0].output.text + news.deltas[1].output.text,
            news.finished[0].samples[0].text);
  EXPECT_TRUE(news.deltas[0].show_logprobs);
}

TEST(ResultBoard, KnowsWhichRequestsAreStillRunning) {
  ResultBoard board(false);
  for (int64_t i = 0; i < 3; ++i) {
    board.Open(i, {});
    board.SetRequestId(i, 10 + i);
  }
  board.Append(1, Last("b"));
  board.Open(3, {});  // not submitted yet
  EXPECT_EQ(board.UnfinishedIds(), (std::vector<RequestId>{10, 12}));
}

TEST(ResultBoard, NewsWakesTheCollector) {
  ResultBoard board(false);
  board.Open(0, {});
  std::thread engine([&board] { board.Append(0, Last("a")); });
  const ResultBoard::News news = board.Collect(std::chrono::hours(1));
  EXPECT_EQ(news.finished.size(), 1u);
  engine.join();
}

}  // namespace
}  // namespace vexact
