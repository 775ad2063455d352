#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include <string>

#include "support/safetensors_writer.h"

namespace vexact {
namespace {

// The parsed tensors view `bytes`.
Result<std::vector<SafetensorsTensor>> Parse(const std::string& bytes) {
  return ParseSafetensors({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()}, "m");
}

std::string ErrorOf(const std::string& bytes) {
  const auto parsed = Parse(bytes);
  return parsed.ok() ? "" : parsed.error().message;
}

std::string ErrorOf(std::string_view header, size_t data_bytes) {
  return ErrorOf(SafetensorsBytes(header, std::string(data_bytes, 'x')));
}

TEST(ParseSafetensors, ListsTensorsWithTheirBytes) {
  const std::string bytes = SafetensorsBytes({{"b", "BF16", {2, 2}, "12345678"},
                                              {"a", "F32", {1}, "abcd"},
                                              {"empty", "F16", {0, 3}, ""},
                                              {"scalar", "F16", {}, "zz"}});
  const auto tensors = Parse(bytes);
  ASSERT_TRUE(tensors.ok()) << tensors.error().message;
  ASSERT_EQ(tensors->size(), 4u);
  EXPECT_EQ((*tensors)[0].name, "a");
  EXPECT_EQ((*tensors)[0].dtype, DType::kF32);
  EXPECT_EQ((*tensors)[1].shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(std::to_integer<char>((*tensors)[1].data[7]), '8');
  EXPECT_EQ((*tensors)[2].data.size(), 0u);
  EXPECT_EQ((*tensors)[3].data.size(), 2u);
}

TEST(ParseSafetensors, PassesOverMetadata) {
  const auto tensors = Parse(SafetensorsBytes(R"({"__metadata__": {"format": "pt"}})", ""));
  ASSERT_TRUE(tensors.ok());
  EXPECT_TRUE(tensors->empty());
}

TEST(ParseSafetensors, RefusesShortFilesAndLongHeaders) {
  EXPECT_EQ(ErrorOf("1234567"), "m: expected at least 8 bytes, found 7");
  EXPECT_EQ(ErrorOf(std::string("\x03\0\0\0\0\0\0\0{}", 10)),
            "m: expected a header of at most 2 bytes, found 3");
  EXPECT_EQ(ErrorOf(std::string(8, '\xff') + "{}"),
            "m: expected a header of at most 2 bytes, found 18446744073709551615");
}

TEST(ParseSafetensors, RefusesOtherDtypesByName) {
  EXPECT_EQ(ErrorOf(R"({"w": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}})", 1),
            "m: tensor \"w\": expected dtype BF16, F16 or F32, found F8_E4M3");
  EXPECT_EQ(ErrorOf(R"({"w": {"shape": [1], "data_offsets": [0, 1]}})", 1),
            "m: tensor \"w\": expected dtype BF16, F16 or F32, found none");
}

TEST(ParseSafetensors, RefusesShapesWhoseProductOverflows) {
  for (const char* shape :
       {"[4294967296, 4294967296]", "[9223372036854775807]", "[18446744073709551615]", "[-1]",
        "[1.5]", "7", "[[1]]", "[1,1,1,1,1,1,1,1,1]"}) {
    const std::string header =
        R"({"w": {"dtype": "F32", "data_offsets": [0, 4], "shape": )" + std::string(shape) + "}}";
    const std::string error = ErrorOf(header, 4);
    EXPECT_TRUE(
        error.starts_with("m: tensor \"w\": \"shape\": expected a list of at most 8 sizes "
                          "whose product fits, found "))
        << error;
  }
}

TEST(ParseSafetensors, RefusesOffsetsOutsideTheData) {
  for (const char* offsets :
       {"[0, 5]", "[3, 1]", "[0, 18446744073709551615]", "[-4, 0]", "[0]", "[0, 4, 8]", "\"0\""}) {
    const std::string header =
        R"({"w": {"dtype": "F32", "shape": [1], "data_offsets": )" + std::string(offsets) + "}}";
    const std::string error = ErrorOf(header, 4);
    EXPECT_TRUE(
        error.starts_with("m: tensor \"w\": \"data_offsets\": expected [begin, end] within "
                          "4 bytes of data, found "))
        << error;
  }
}

TEST(ParseSafetensors, RefusesBytesThatDoNotFitTheShape) {
  EXPECT_EQ(ErrorOf(R"({"w": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 10]}})", 10),
            "m: tensor \"w\": expected 12 bytes for bf16 [2, 3], found 10");
}

TEST(ParseSafetensors, RefusesOverlapsHolesAndBytesLeftOver) {
  const auto two = [](int begin, int end) {
    return R"({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
               "b": {"dtype": "F32", "shape": [1], "data_offsets": [)" +
           std::to_string(begin) + "," + std::to_string(end) + "]}}";
  };
  EXPECT_EQ(ErrorOf(two(4, 8), 8), "");
  EXPECT_EQ(ErrorOf(two(2, 6), 6),
            "m: tensor \"b\": expected data from byte 4, where the tensor before ends, found 2");
  EXPECT_EQ(ErrorOf(two(6, 10), 10),
            "m: tensor \"b\": expected data from byte 4, where the tensor before ends, found 6");
  EXPECT_EQ(ErrorOf(two(4, 8), 9), "m: expected 8 bytes of data, found 9");
}

TEST(ParseSafetensors, RefusesEntriesThatAreNotObjects) {
  EXPECT_EQ(ErrorOf(R"({"w": 3})", 0), "m: tensor \"w\": expected an object, found 3");
}

TEST(ParseSafetensorsIndex, ListsTensorsAndFiles) {
  const auto index =
      ParseSafetensorsIndex(R"({"weight_map": {"b": "x.safetensors", "a": "y.safetensors"}})", "i");
  ASSERT_TRUE(index.ok()) << index.error().message;
  ASSERT_EQ(index->size(), 2u);
  EXPECT_EQ((*index)[0].tensor, "a");
  EXPECT_EQ((*index)[0].file, "y.safetensors");
}

TEST(ParseSafetensorsIndex, RefusesPathsAndOtherFiles) {
  for (const char* file :
       {R"("../x.safetensors")", R"("/etc/x.safetensors")", R"("x.bin")", R"("")", "3"}) {
    const auto index =
        ParseSafetensorsIndex(R"({"weight_map": {"a": )" + std::string(file) + "}}", "i");
    ASSERT_FALSE(index.ok()) << file;
    EXPECT_EQ(index.error().message,
              "i: \"weight_map.a\": expected the plain name of a .safetensors file beside the "
              "index, found " +
                  std::string(file));
  }
  EXPECT_EQ(ParseSafetensorsIndex("{}", "i").error().message,
            "i: \"weight_map\": expected an object, found nothing");
}

}  // namespace
}  // namespace vexact
