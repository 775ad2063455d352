#include "checkpoint/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "support/temp_dir.h"

namespace vexact {
namespace {

TEST(MappedFile, GivesTheFilesBytes) {
  const TempDir dir;
  const auto file = MappedFile::Open(dir.Write("a", std::string("x\0y", 3)));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ((*file)->text(), std::string_view("x\0y", 3));
}

TEST(MappedFile, EmptyFileHasNoBytes) {
  const TempDir dir;
  const auto file = MappedFile::Open(dir.Write("a", ""));
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE((*file)->bytes().empty());
}

TEST(MappedFile, BytesOutliveTheDirectoryEntry) {
  std::shared_ptr<const MappedFile> file;
  {
    const TempDir dir;
    file = MappedFile::Open(dir.Write("a", "still here")).value();
  }
  EXPECT_EQ(file->text(), "still here");
}

TEST(MappedFile, MissingFileIsNotFound) {
  const TempDir dir;
  const auto file = MappedFile::Open(dir.path() + "/none");
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(file.error().message,
            dir.path() + "/none: expected a readable file, found: No such file or directory");
}

TEST(MappedFile, DirectoryIsRefused) {
  const TempDir dir;
  const auto file = MappedFile::Open(dir.path());
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().message, dir.path() + ": expected a regular file, found a directory");
}

TEST(MappedFile, PipeIsRefusedWithoutWaitingForAWriter) {
  const TempDir dir;
  const std::string path = dir.path() + "/pipe";
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  const auto file = MappedFile::Open(path);
  ASSERT_FALSE(file.ok());
  EXPECT_EQ(file.error().message,
            path + ": expected a regular file, found a device, pipe or socket");
}

}  // namespace
}  // namespace vexact
