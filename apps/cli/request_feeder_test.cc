#include "cli/request_feeder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <vector>

#include "support/backends.h"
#include "support/engine_runs.h"
#include "support/random_model.h"
#include "support/test_scale.h"

namespace vexact {
namespace {

using std::chrono::milliseconds;

std::string Line(int salt) {
  return fmt::format(
      R"({{"prompt_token_ids": [{}, 2, 3], "max_tokens": 6, "ignore_eos": true, "seed": {}}})",
      4 + salt % 50, salt);
}

// An engine, a board and a feeder that reads from a pipe; the test's thread writes and collects.
class RequestFeederTest : public testing::Test {
 protected:
  RequestFeederTest()
      : front_(EngineFront::Create(MakeEngine()).value()), feeder_({}, nullptr, *front_, board_) {
    int ends[2];
    VX_CHECK(pipe(ends) == 0);
    write_end_ = ends[1];
    auto reader = LineReader::Open("/dev/fd/" + std::to_string(ends[0]));
    close(ends[0]);
    VX_CHECK(feeder_.Start(std::move(reader).value()).ok());
  }
  ~RequestFeederTest() override { CloseInput(); }

  static std::unique_ptr<Engine> MakeEngine() {
    static const Checkpoint* const checkpoint = new Checkpoint(MakeRandomCheckpoint({}));
    EngineConfig config;
    config.num_threads = 2;
    config.kv_cache_memory_bytes = 1 << 20;
    return Engine::Create(config, LoadModelOf(*checkpoint, BestDevice()), nullptr).value();
  }

  void Write(const std::string& text) const {
    EXPECT_EQ(write(write_end_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void CloseInput() {
    if (write_end_ >= 0) close(write_end_);
    write_end_ = -1;
  }
  // Until there are `count` results, or all are done.
  std::vector<RequestResult> Collect(size_t count) {
    std::vector<RequestResult> results;
    for (int patience = 600; results.size() < count && patience > 0; --patience) {
      ResultBoard::News news = board_.Collect(milliseconds(100));
      for (RequestResult& result : news.finished) results.push_back(std::move(result));
      if (news.all_done) break;
    }
    return results;
  }

  ResultBoard board_{/*keep_deltas=*/false};
  std::unique_ptr<EngineFront> front_;
  RequestFeeder feeder_;
  int write_end_ = -1;
};

TEST_F(RequestFeederTest, AnswersWhileTheWriterStillWrites) {
  const auto engine = MakeEngine();
  for (int i = 0; i < 3; ++i) {
    Write(Line(i) + "\n");
    const std::vector<RequestResult> results = Collect(1);
    ASSERT_EQ(results.size(), 1u);
    EXPECT_EQ(results[0].index, i);
    Request request;
    request.prompt_token_ids = {4 + i, 2, 3};
    request.sampling.max_tokens = 6;
    request.sampling.ignore_eos = true;
    request.sampling.seed = i;
    EXPECT_EQ(results[0].samples.at(0).token_ids, RunAlone(engine.get(), request).token_ids);
  }
  CloseInput();
  EXPECT_TRUE(Collect(1).empty());
  feeder_.Stop();
  EXPECT_TRUE(feeder_.status().ok());
}

// The feeder's thread submits, the engine's appends and this one collects, all at once.
TEST_F(RequestFeederTest, RefusedLinesStandInTheirPlacesAmongManyAnswers) {
  const int count = ScaledCases(300, 40);
  std::thread writer([this, count] {
    for (int i = 0; i < count; ++i) Write(i % 5 == 3 ? "{\"prompt\": 1}\n\n" : Line(i) + "\n");
    CloseInput();
  });
  const std::vector<RequestResult> results = Collect(count);
  writer.join();
  ASSERT_EQ(results.size(), static_cast<size_t>(count));
  int line = 0;  // a blank line, which is no request, follows each wrong one
  for (int i = 0; i < count; ++i) {
    ++line;
    EXPECT_EQ(results[i].index, i);
    EXPECT_EQ(results[i].failed(), i % 5 == 3) << i;
    if (i % 5 != 3) continue;
    EXPECT_THAT(results[i].samples.at(0).error,
                testing::StartsWith(fmt::format("line {}: ", line)));
    ++line;
  }
  EXPECT_EQ(board_.Counts().done, count);
}

TEST_F(RequestFeederTest, WhatTheEngineRefusesIsNamedByItsLine) {
  Write("\n{\"prompt_token_ids\": [99999]}\n");
  const std::vector<RequestResult> results = Collect(1);
  ASSERT_EQ(results.size(), 1u);
  EXPECT_THAT(results[0].samples.at(0).error, testing::StartsWith("line 2: prompt_token_ids: "));
}

TEST_F(RequestFeederTest, StopEndsTheWaitForASilentWriterAndClosesTheInput) {
  Write(Line(0) + "\n{\"prom");
  EXPECT_EQ(Collect(1).size(), 1u);
  feeder_.Stop();
  EXPECT_TRUE(board_.Collect(milliseconds(0)).all_done);
  EXPECT_TRUE(feeder_.status().ok());
}

}  // namespace
}  // namespace vexact
