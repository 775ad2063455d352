// The whole product of modes, names, devices and masks: what is allowed, and what each refusal
// says.
#include "engine/attention_choice.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace vexact {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::vector<Mode> kModes = {Mode::kInvariant, Mode::kVariant};
const std::vector<std::optional<AttentionDevice>> kDevices = {
    std::nullopt, AttentionDevice::kCpu, AttentionDevice::kHopper, AttentionDevice::kOtherGpu};
const std::vector<std::string_view> kNames = {"fa-invariant", "fa-variant", "fa-invariant-cute",
                                              "fa-variant-cute", "flex"};

// The rules again, in the words of the documents rather than as a table.
bool ContradictsMode(std::string_view name, Mode mode) {
  return name.find(mode == Mode::kInvariant ? "-variant" : "-invariant") != std::string_view::npos;
}
bool ContradictsDevice(std::string_view name, std::optional<AttentionDevice> device) {
  const bool portable = name.find("-cute") != std::string_view::npos;
  if (device == AttentionDevice::kCpu) return portable;
  return device == AttentionDevice::kOtherGpu && !portable;
}

TEST(AttentionChoice, EveryCombinationIsAllowedOrRefusedByWhatContradictsIt) {
  int64_t allowed = 0;
  for (const Mode mode : kModes) {
    for (const auto& device : kDevices) {
      for (const std::string_view mask : AttentionMasks()) {
        for (const std::string_view name : kNames) {
          SCOPED_TRACE(fmt::format("{} {} {} {}", ModeName(mode), name, mask,
                                   device ? static_cast<int>(*device) : -1));
          const auto choice = ChooseAttention({mode, name, device, mask});
          if (ContradictsMode(name, mode)) {
            ASSERT_FALSE(choice.ok());
            EXPECT_THAT(choice.error().message,
                        AllOf(HasSubstr(fmt::format("attn_impl {} contradicts mode {}:", name,
                                                    ModeName(mode))),
                              HasSubstr("; use "), HasSubstr(", or mode ")));
          } else if (ContradictsDevice(name, device)) {
            ASSERT_FALSE(choice.ok());
            EXPECT_THAT(
                choice.error().message,
                AllOf(HasSubstr(fmt::format("attn_impl {} contradicts ", name)),
                      HasSubstr(device == AttentionDevice::kCpu ? "device cpu:" : "not Hopper:"),
                      HasSubstr("; use ")));
          } else if (mask != "causal" && name != "flex") {
            ASSERT_FALSE(choice.ok());
            EXPECT_THAT(
                choice.error().message,
                AllOf(HasSubstr(fmt::format("attn_impl {} contradicts mask {}:", name, mask)),
                      HasSubstr("; use ")));
          } else {
            ASSERT_TRUE(choice.ok()) << choice.error().message;
            EXPECT_EQ((*choice)->name, name);
            ++allowed;
          }
        }
      }
    }
  }
  // Where the device is not known yet, a CPU or a Hopper card: one name for each mode, causal, and
  // flex in both modes with every mask; where it is not known yet, a Hopper card or another: one
  // more for each mode, causal.
  EXPECT_EQ(allowed, 3 * (2 + 2 * 4 + 2));
}

TEST(AttentionChoice, TheTableHasTheNamesOfTheDocuments) {
  std::vector<std::string_view> names;
  for (const AttentionImpl& impl : AttentionImpls()) names.push_back(impl.name);
  EXPECT_EQ(names, kNames);
}

TEST(AttentionChoice, AMasksKindIsItsPlaceInTheListOfNames) {
  EXPECT_EQ(MaskKindOf("causal"), MaskKind::kCausal);
  EXPECT_EQ(MaskKindOf("sliding-window"), MaskKind::kSlidingWindow);
  EXPECT_EQ(MaskKindOf("prefix-lm"), MaskKind::kPrefixLm);
  EXPECT_EQ(MaskKindOf("document"), MaskKind::kDocument);
}

TEST(AttentionChoice, WithoutANameItFollowsTheModeAndTheMask) {
  for (const auto& device : {std::optional<AttentionDevice>(), std::optional(AttentionDevice::kCpu),
                             std::optional(AttentionDevice::kHopper)}) {
    EXPECT_EQ((*ChooseAttention({Mode::kInvariant, "", device}))->name, "fa-invariant");
    EXPECT_EQ((*ChooseAttention({Mode::kVariant, "", device}))->name, "fa-variant");
    EXPECT_EQ((*ChooseAttention({Mode::kInvariant, "", device, "document"}))->name, "flex");
    EXPECT_EQ((*ChooseAttention({Mode::kVariant, "", device, "prefix-lm"}))->name, "flex");
  }
  EXPECT_EQ((*ChooseAttention({Mode::kVariant, "", AttentionDevice::kOtherGpu}))->name,
            "fa-variant-cute");
}

TEST(AttentionChoice, WhatIsRefusedComesWithAdviceThatIsAllowed) {
  EXPECT_THAT(
      ChooseAttention({Mode::kInvariant, "fa-variant", AttentionDevice::kCpu}).error().message,
      "attn_impl fa-variant contradicts mode invariant: its bits are free; use fa-invariant, or "
      "mode variant");
  EXPECT_THAT(
      ChooseAttention({Mode::kVariant, "fa-variant-cute", AttentionDevice::kCpu}).error().message,
      "attn_impl fa-variant-cute contradicts device cpu: it has no kernels for it; use fa-variant");
  EXPECT_THAT(ChooseAttention({Mode::kInvariant, "fa-invariant", AttentionDevice::kOtherGpu})
                  .error()
                  .message,
              HasSubstr("; use fa-invariant-cute"));
  EXPECT_EQ(ChooseAttention({Mode::kInvariant, "fa-invariant", AttentionDevice::kCpu, "document"})
                .error()
                .message,
            "attn_impl fa-invariant contradicts mask document: it is causal alone; use flex");
  EXPECT_THAT(ChooseAttention({Mode::kInvariant, "flex", AttentionDevice::kOtherGpu, "document"})
                  .error()
                  .message,
              HasSubstr("use device cpu or a Hopper card"));
}

TEST(AttentionChoice, AnUnknownNameIsAnsweredWithTheKnownOnes) {
  EXPECT_EQ(ChooseAttention({Mode::kInvariant, "flash", std::nullopt}).error().message,
            "attn_impl: expected one of fa-invariant, fa-variant, fa-invariant-cute, "
            "fa-variant-cute, flex, found \"flash\"");
  EXPECT_EQ(ChooseAttention({Mode::kInvariant, "flex", std::nullopt, "round"}).error().message,
            "mask: expected one of causal, sliding-window, prefix-lm, document, found \"round\"");
}

}  // namespace
}  // namespace vexact
