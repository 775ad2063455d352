// Which attention implementations there are, and the one table that decides where each may run.
#ifndef VEXACT_ENGINE_ATTENTION_CHOICE_H_
#define VEXACT_ENGINE_ATTENTION_CHOICE_H_

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/attention_mask.h"
#include "kernels/mode.h"

namespace vexact {

enum class AttentionDevice {
  kCpu,
  kHopper,    // compute capability 9.0
  kOtherGpu,  // 8.0 or later, not Hopper
};

struct AttentionImpl {
  std::string_view name;
  AttentionKernels kernels;
  bool in_invariant;
  bool in_variant;
  bool on_cpu;
  bool on_hopper;
  bool on_other_gpus;
  bool any_mask;  // false: causal alone
};

// Every name, in the order of the documents.
std::span<const AttentionImpl> AttentionImpls();
// The same for people: "fa-invariant, fa-variant, ...".
std::string AttentionImplNames();
// "causal", and those that only `flex` has: a name for each MaskKind, in its order.
std::span<const std::string_view> AttentionMasks();
// Requires: one of these names.
MaskKind MaskKindOf(std::string_view mask);

struct AttentionQuery {
  Mode mode = Mode::kInvariant;
  std::string_view attn_impl;             // "": follows the mode and the mask
  std::optional<AttentionDevice> device;  // none: not known yet, and nothing is refused for it
  std::string_view mask = "causal";
};

// The implementation to use. The error names the two values that contradict each other, why, and
// what to use; of an unknown name, the known ones.
Result<const AttentionImpl*> ChooseAttention(const AttentionQuery& query);

}  // namespace vexact

#endif  // VEXACT_ENGINE_ATTENTION_CHOICE_H_
