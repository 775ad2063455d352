#include "engine/attention_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/check.h"

namespace vexact {
namespace {

constexpr AttentionImpl kImpls[] = {
    {.name = "fa-invariant",
     .kernels = AttentionKernels::kFa,
     .in_invariant = true,
     .in_variant = false,
     .on_cpu = true,
     .on_hopper = true,
     .on_other_gpus = false,
     .any_mask = false},
    {.name = "fa-variant",
     .kernels = AttentionKernels::kFa,
     .in_invariant = false,
     .in_variant = true,
     .on_cpu = true,
     .on_hopper = true,
     .on_other_gpus = false,
     .any_mask = false},
    {.name = "fa-invariant-cute",
     .kernels = AttentionKernels::kCute,
     .in_invariant = true,
     .in_variant = false,
     .on_cpu = false,
     .on_hopper = true,
     .on_other_gpus = true,
     .any_mask = false},
    {.name = "fa-variant-cute",
     .kernels = AttentionKernels::kCute,
     .in_invariant = false,
     .in_variant = true,
     .on_cpu = false,
     .on_hopper = true,
     .on_other_gpus = true,
     .any_mask = false},
    {.name = "flex",
     .kernels = AttentionKernels::kFa,
     .in_invariant = true,
     .in_variant = true,
     .on_cpu = true,
     .on_hopper = true,
     .on_other_gpus = false,
     .any_mask = true},
};

constexpr std::string_view kCausal = "causal";
// MaskKind's order.
constexpr std::string_view kMasks[] = {kCausal, "sliding-window", "prefix-lm", "document"};

bool AllowsMode(const AttentionImpl& impl, Mode mode) {
  return mode == Mode::kInvariant ? impl.in_invariant : impl.in_variant;
}

bool AllowsMask(const AttentionImpl& impl, std::string_view mask) {
  return impl.any_mask || mask == kCausal;
}

bool AllowsDevice(const AttentionImpl& impl, AttentionDevice device) {
  switch (device) {
    case AttentionDevice::kCpu:
      return impl.on_cpu;
    case AttentionDevice::kHopper:
      return impl.on_hopper;
    case AttentionDevice::kOtherGpu:
      return impl.on_other_gpus;
  }
  return false;
}

std::string_view DeviceText(AttentionDevice device) {
  switch (device) {
    case AttentionDevice::kCpu:
      return "device cpu";
    case AttentionDevice::kHopper:
      return "a Hopper card";
    case AttentionDevice::kOtherGpu:
      return "a card that is not Hopper";
  }
  return "";
}

bool Allows(const AttentionImpl& impl, const AttentionQuery& query) {
  return AllowsMode(impl, query.mode) && AllowsMask(impl, query.mask) &&
         (!query.device.has_value() || AllowsDevice(impl, *query.device));
}

// What the query's other values allow, or what would be needed.
std::string Advice(const AttentionQuery& query) {
  for (const AttentionImpl& impl : kImpls) {
    if (Allows(impl, query)) return fmt::format("use {}", impl.name);
  }
  return "use device cpu or a Hopper card: this version has none for others";
}

const AttentionImpl* Find(const AttentionQuery& query) {
  for (const AttentionImpl& impl : kImpls) {
    if (query.attn_impl.empty() ? Allows(impl, query) : impl.name == query.attn_impl) return &impl;
  }
  return nullptr;
}

Status CheckContradictions(const AttentionImpl& impl, const AttentionQuery& query) {
  if (!AllowsMode(impl, query.mode)) {
    const bool invariant = query.mode == Mode::kInvariant;
    return InvalidArgument("attn_impl {} contradicts mode {}: its bits are {}; {}, or mode {}",
                           impl.name, ModeName(query.mode),
                           invariant ? "free" : "fixed, and this mode is free to be faster",
                           Advice(query), ModeName(invariant ? Mode::kVariant : Mode::kInvariant));
  }
  if (query.device.has_value() && !AllowsDevice(impl, *query.device)) {
    return InvalidArgument("attn_impl {} contradicts {}: it has no kernels for it; {}", impl.name,
                           DeviceText(*query.device), Advice(query));
  }
  if (!AllowsMask(impl, query.mask)) {
    return InvalidArgument("attn_impl {} contradicts mask {}: it is causal alone; {}", impl.name,
                           query.mask, Advice(query));
  }
  return {};
}

}  // namespace

std::span<const AttentionImpl> AttentionImpls() { return kImpls; }
std::span<const std::string_view> AttentionMasks() { return kMasks; }

std::string AttentionImplNames() {
  std::vector<std::string_view> names;
  for (const AttentionImpl& impl : kImpls) names.push_back(impl.name);
  return fmt::format("{}", fmt::join(names, ", "));
}

MaskKind MaskKindOf(std::string_view mask) {
  const auto* const name = std::ranges::find(kMasks, mask);
  VX_CHECK(name != std::end(kMasks), "a mask's name");
  return static_cast<MaskKind>(name - std::begin(kMasks));
}

Result<const AttentionImpl*> ChooseAttention(const AttentionQuery& query) {
  if (std::ranges::find(kMasks, query.mask) == std::end(kMasks)) {
    return InvalidArgument("mask: expected one of {}, found \"{}\"", fmt::join(kMasks, ", "),
                           query.mask);
  }
  const AttentionImpl* const impl = Find(query);
  if (impl == nullptr && query.attn_impl.empty()) {
    return InvalidArgument("attn_impl: expected one for mode {}, {} and mask {}, found none; {}",
                           ModeName(query.mode), DeviceText(*query.device), query.mask,
                           Advice(query));
  }
  if (impl == nullptr) {
    return InvalidArgument("attn_impl: expected one of {}, found \"{}\"", AttentionImplNames(),
                           query.attn_impl);
  }
  VX_RETURN_IF_ERROR(CheckContradictions(*impl, query));
  return impl;
}

}  // namespace vexact
