#include "common/line_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <vector>

namespace vexact {
namespace {

class LineReaderTest : public testing::Test {
 protected:
  std::string Write(const std::string& bytes) {
    const std::string path = testing::TempDir() + "vexact_line_reader_" + std::to_string(getpid());
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }

  std::vector<std::string> ReadAll(const std::string& bytes, size_t max_line_bytes) {
    auto reader = LineReader::Open(Write(bytes), max_line_bytes);
    std::vector<std::string> lines;
    LineReader::Line line;
    while (*reader->Next([] { return true; }, line) == LineReader::Outcome::kLine) {
      EXPECT_EQ(line.number, static_cast<int64_t>(lines.size()) + 1);
      lines.push_back(line.too_long ? "<too long>" : line.text);
    }
    return lines;
  }
};

TEST_F(LineReaderTest, SplitsAtLineEndsAndKeepsAnUnfinishedLastLine) {
  EXPECT_THAT(ReadAll("a\r\n\nlast", 100), testing::ElementsAre("a", "", "last"));
  EXPECT_THAT(ReadAll("a\n", 100), testing::ElementsAre("a"));
  EXPECT_THAT(ReadAll("", 100), testing::IsEmpty());
}

TEST_F(LineReaderTest, ALineOverTheLimitIsReportedAndTheNextOneIsRead) {
  const std::string long_line(200000, 'x');  // several reads long
  EXPECT_THAT(ReadAll("a\n" + long_line + "\nb\n", 1000),
              testing::ElementsAre("a", "<too long>", "b"));
  EXPECT_THAT(ReadAll(long_line + "\nb\n", 200000), testing::ElementsAre(long_line, "b"));
}

TEST_F(LineReaderTest, NamesAFileThatIsNotThere) {
  const auto reader = LineReader::Open("/nowhere/requests.jsonl");
  ASSERT_FALSE(reader.ok());
  EXPECT_THAT(reader.error().message, testing::HasSubstr("/nowhere/requests.jsonl"));
}

TEST_F(LineReaderTest, AClosedStandardInputIsAnErrorAndNotAWait) {
  const int kept = dup(STDIN_FILENO);
  close(STDIN_FILENO);
  const auto reader = LineReader::Open("-");
  if (kept >= 0) dup2(kept, STDIN_FILENO);
  close(kept);
  ASSERT_FALSE(reader.ok());
  EXPECT_THAT(reader.error().message, testing::HasSubstr("standard input: expected a file"));
}

TEST_F(LineReaderTest, GivesUpWaitingForASilentWriterWhenTold) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  auto reader = LineReader::Open("/dev/fd/" + std::to_string(ends[0]));
  ASSERT_TRUE(reader.ok());
  ASSERT_EQ(write(ends[1], "one\ntw", 6), 6);
  LineReader::Line line;
  EXPECT_EQ(*reader->Next([] { return false; }, line), LineReader::Outcome::kLine);
  EXPECT_EQ(line.text, "one");
  EXPECT_EQ(*reader->Next([] { return false; }, line), LineReader::Outcome::kStopped);
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace vexact
