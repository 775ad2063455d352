#include "checkpoint/gguf.h"

#include <gtest/gtest.h>

#include <string>

#include "support/gguf_writer.h"

namespace vexact {
namespace {

// The parsed file views `bytes`.
Result<GgufFile> Parse(const std::string& bytes) {
  return ParseGguf({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, "m.gguf");
}

std::string ErrorOf(const std::string& bytes) {
  const auto parsed = Parse(bytes);
  return parsed.ok() ? "" : parsed.error().message;
}

std::string ErrorOf(const GgufWriter& writer) { return ErrorOf(writer.Bytes()); }

// Two tensors of 64 and 32 bytes.
GgufWriter SmallFile() {
  GgufWriter writer;
  writer.SetString("general.architecture", "llama");
  writer.tensors() = {{"a", kGgufF32, {2, 8}, std::string(64, 'a')},
                      {"b", kGgufBf16, {16}, std::string(32, 'b')}};
  return writer;
}

TEST(ParseGguf, ListsTensorsOutermostSizeFirst) {
  for (const uint32_t version : {2u, 3u}) {
    GgufWriter writer = SmallFile();
    writer.version = version;
    const std::string bytes = writer.Bytes();
    const auto file = Parse(bytes);
    ASSERT_TRUE(file.ok()) << file.error().message;
    ASSERT_EQ(file->tensors.size(), 2u);
    EXPECT_EQ(file->tensors[0].name, "a");
    EXPECT_EQ(file->tensors[0].dtype, DType::kF32);
    EXPECT_EQ(file->tensors[0].shape, (std::vector<int64_t>{2, 8}));
    EXPECT_EQ(std::to_integer<char>(file->tensors[0].data[63]), 'a');
    EXPECT_EQ(file->tensors[1].data.size(), 32u);
    EXPECT_EQ(std::to_integer<char>(file->tensors[1].data[0]), 'b');
  }
}

TEST(ParseGguf, FollowsTheStatedAlignment) {
  GgufWriter writer = SmallFile();
  writer.alignment = 64;
  writer.SetUint32("general.alignment", 64);
  writer.tensors()[0].data.resize(24);
  writer.tensors()[0].shape = {6};
  const std::string bytes = writer.Bytes();
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.error().message;
  EXPECT_EQ(std::to_integer<char>(file->tensors[1].data[0]), 'b');
  writer.SetUint32("general.alignment", 12);
  EXPECT_EQ(ErrorOf(writer), "m.gguf: \"general.alignment\": expected a multiple of 8, found 12");
  writer.SetUint32("general.alignment", 0);
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: \"general.alignment\": expected an integer from 8 to 1048576, found 0");
}

TEST(ParseGguf, RefusesOtherFilesAndVersions) {
  EXPECT_EQ(ErrorOf(""),
            "m.gguf: expected the word GGUF of 4 bytes at offset 0, found the end at "
            "0");
  EXPECT_EQ(ErrorOf("PK\x03\x04 and more"),
            "m.gguf: expected a GGUF file, found other first bytes");
  GgufWriter writer = SmallFile();
  writer.version = 1;
  EXPECT_EQ(ErrorOf(writer), "m.gguf: expected GGUF version 2 or 3, little-endian, found 0x1");
  writer.version = 0x03000000;
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: expected GGUF version 2 or 3, little-endian, found 0x3000000");
}

TEST(ParseGguf, EveryTruncationIsAnError) {
  const std::string bytes = SmallFile().Bytes();
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_NE(ErrorOf(bytes.substr(0, size)), "") << size;
  }
  EXPECT_EQ(ErrorOf(bytes.substr(0, bytes.size() - 1)),
            "m.gguf: tensor \"b\": expected 32 bytes at offset 64 of the data, found 95 bytes of "
            "data in all");
}

TEST(ParseGguf, RefusesCountsThatCannotFit) {
  const std::string head = "GGUF" + BytesOf(uint32_t{3});
  EXPECT_EQ(ErrorOf(head + BytesOf(UINT64_MAX) + BytesOf(uint64_t{0})),
            "m.gguf: expected a number of tensors that fits in 0 bytes, found "
            "18446744073709551615");
  EXPECT_EQ(ErrorOf(head + BytesOf(uint64_t{0}) + BytesOf(UINT64_MAX)),
            "m.gguf: expected a number of metadata that fits in 0 bytes, found "
            "18446744073709551615");
}

TEST(ParseGguf, RefusesArraysLongerThanTheFile) {
  GgufWriter writer = SmallFile();
  for (const uint32_t element_type : {4u, 8u, 10u}) {
    writer.SetRaw("long", 9, BytesOf(element_type) + BytesOf(UINT64_MAX / 4));
    EXPECT_TRUE(ErrorOf(writer).starts_with("m.gguf: expected the value of \"long\" of "));
  }
}

TEST(ParseGguf, RefusesNestedArraysUnknownTypesAndDuplicateKeys) {
  GgufWriter writer = SmallFile();
  writer.SetRaw("deep", 9, BytesOf(uint32_t{9}) + BytesOf(uint64_t{0}));
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: \"deep\": expected a GGUF value or an array of scalars or "
            "strings, found type 9");
  writer.SetRaw("deep", 13, "");
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: \"deep\": expected a GGUF value or an array of scalars or "
            "strings, found type 13");
  std::string twice = SmallFile().Bytes();
  twice.replace(twice.find(BytesOf(uint64_t{1})), 8, BytesOf(uint64_t{2}));
  const std::string entry = twice.substr(24, 8 + 20 + 4 + 8 + 5);
  EXPECT_EQ(ErrorOf(twice.substr(0, 24) + entry + twice.substr(24)),
            "m.gguf: \"general.architecture\": expected one such key, found two");
}

TEST(ParseGguf, RefusesOtherTensorTypesByName) {
  GgufWriter writer = SmallFile();
  writer.tensors()[0].type = kGgufQ6K;
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: tensor \"a\": expected F32, F16, BF16, Q8_0, Q4_0 or Q4_1, found Q6_K");
  writer.tensors()[0].type = 4;
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: tensor \"a\": expected F32, F16, BF16, Q8_0, Q4_0 or Q4_1, found type 4");
}

TEST(ParseGguf, RefusesShapesThatOverflowAndPartialBlocks) {
  GgufWriter writer = SmallFile();
  writer.tensors()[0].shape = {1LL << 32, 1LL << 32};
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: tensor \"a\": expected sizes from 1 whose product fits, "
            "found 4294967296 at dimension 1");
  writer.tensors()[0].shape = {0};
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: tensor \"a\": expected sizes from 1 whose product fits, "
            "found 0 at dimension 0");
  writer.tensors()[0].shape = {-1};
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: tensor \"a\": expected sizes from 1 whose product fits, "
            "found 18446744073709551615 at dimension 0");
  writer.tensors()[0].shape = {};
  EXPECT_EQ(ErrorOf(writer), "m.gguf: tensor \"a\": expected 1 to 4 dimensions, found 0");
  writer.tensors()[0].shape = {2, 2, 2, 2, 2};
  EXPECT_EQ(ErrorOf(writer), "m.gguf: tensor \"a\": expected 1 to 4 dimensions, found 5");
  writer.tensors()[0].shape = {2, 48};
  writer.tensors()[0].type = kGgufQ8_0;
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: tensor \"a\": expected rows of a multiple of 32 elements for "
            "q8_0, found 48");
}

TEST(ParseGguf, RefusesOffsetsThatOverlapOrLeaveTheData) {
  GgufWriter writer = SmallFile();
  writer.tensors()[1].offset = 32;
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: tensor \"b\": expected an offset from 64, the end of \"a\", found 32");
  writer.tensors()[1].offset = 72;
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: tensor \"b\": expected an offset that is a multiple of 32, found 72");
  writer.tensors()[1].offset = INT64_MAX - 31;
  EXPECT_EQ(ErrorOf(writer),
            "m.gguf: tensor \"b\": expected 32 bytes at offset "
            "9223372036854775776 of the data, found 96 bytes of data in all");
}

TEST(GgufMetadata, ReadsEveryIntegerTypeWithinTheRange) {
  GgufWriter writer = SmallFile();
  writer.SetRaw("u8", 0, BytesOf(uint8_t{200}));
  writer.SetRaw("i8", 1, BytesOf(int8_t{-5}));
  writer.SetRaw("u16", 2, BytesOf(uint16_t{60000}));
  writer.SetRaw("i16", 3, BytesOf(int16_t{-300}));
  writer.SetRaw("i32", 5, BytesOf(int32_t{-70000}));
  writer.SetRaw("u64", 10, BytesOf(UINT64_MAX));
  writer.SetRaw("i64", 11, BytesOf(int64_t{-1} << 40));
  writer.SetBool("bool", true);
  const std::string bytes = writer.Bytes();
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const IntegerRange all = {INT64_MIN, INT64_MAX};
  EXPECT_EQ(*file->metadata.Integer("u8", all), 200);
  EXPECT_EQ(*file->metadata.Integer("i8", all), -5);
  EXPECT_EQ(*file->metadata.Integer("u16", all), 60000);
  EXPECT_EQ(*file->metadata.Integer("i16", all), -300);
  EXPECT_EQ(*file->metadata.Integer("i32", all), -70000);
  EXPECT_EQ(*file->metadata.Integer("i64", all), int64_t{-1} << 40);
  EXPECT_EQ(file->metadata.Integer("u64", {0, INT64_MAX}).error().message,
            "m.gguf: \"u64\": expected an integer from 0 to 9223372036854775807, found "
            "18446744073709551615");
  EXPECT_EQ(file->metadata.Integer("bool", {0, 1}).error().message,
            "m.gguf: \"bool\": expected an integer from 0 to 1, found true");
  EXPECT_EQ(file->metadata.Integer("none", {0, 1}).error().message,
            "m.gguf: \"none\": expected an integer from 0 to 1, found nothing");
}

TEST(GgufMetadata, ReadsFloatsBoolsStringsAndArrays) {
  GgufWriter writer = SmallFile();
  writer.SetFloat32("float", 1e-5f);
  writer.SetRaw("double", 12, BytesOf(1e-5));
  writer.SetBool("bool", false);
  writer.SetStrings("strings", {"a", "", "bc"});
  writer.SetInt32s("ints", {3, -1});
  writer.SetFloat32s("floats", {0.5f});
  const std::string bytes = writer.Bytes();
  const auto file = Parse(bytes);
  ASSERT_TRUE(file.ok()) << file.error().message;
  const GgufMetadata& metadata = file->metadata;
  EXPECT_EQ(*metadata.OptionalFloat("float"), 1e-5f);
  EXPECT_EQ(*metadata.OptionalFloat("none"), std::nullopt);
  EXPECT_EQ(metadata.OptionalFloat("double").error().message,
            "m.gguf: \"double\": expected a finite float32, found 1e-05");
  EXPECT_EQ(*metadata.OptionalBool("bool"), false);
  EXPECT_EQ(*metadata.OptionalString("general.architecture"), "llama");
  EXPECT_EQ(metadata.OptionalString("ints").error().message,
            "m.gguf: \"ints\": expected a string, found an array of 2 values of type 5");
  EXPECT_EQ(*metadata.Strings("strings"), (std::vector<std::string>{"a", "", "bc"}));
  EXPECT_EQ(*metadata.Integers("ints"), (std::vector<int32_t>{3, -1}));
  EXPECT_EQ(*metadata.Floats("floats"), std::vector<float>{0.5f});
  EXPECT_TRUE(metadata.Strings("none")->empty());
  EXPECT_EQ(metadata.Integers("strings").error().message,
            "m.gguf: \"strings\": expected an array of int32, found an array of 3 values of type "
            "8");
}

}  // namespace
}  // namespace vexact
