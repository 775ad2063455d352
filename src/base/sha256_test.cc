#include "base/sha256.h"

#include <gtest/gtest.h>

#include <string_view>

namespace vexact {
namespace {

std::string HexOf(std::string_view text) {
  Sha256 hash;
  hash.Update(std::as_bytes(std::span(text.data(), text.size())));
  return hash.FinishHex();
}

TEST(Sha256, GivesTheStandardsAnswers) {  // FIPS 180-4 examples
  EXPECT_EQ(HexOf(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HexOf("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, PiecesAreTheWhole) {
  Sha256 hash;
  for (const char c : std::string_view("abc")) hash.UpdateValue(c);
  EXPECT_EQ(hash.FinishHex(), HexOf("abc"));
}

}  // namespace
}  // namespace vexact
