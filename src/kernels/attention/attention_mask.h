// Masks of attention: which positions of its own sequence a query row sees (docs/numerics.md,
// masks).
//
// A call carries an AttentionMask; kernels are compiled for a mask's functor, of the same meaning:
//
//   WithMask(args.sequences.mask, [&](auto mask) { Run(args, mask); });
//
// A functor gives each row one run of positions, [Begin, End), which holds the row's own, and
// neither end falls from a row to the next one of its sequence. So what rows see together is one
// run too, and tiles outside it are skipped. Ends move with the position: a sequence whose
// positions are counted from elsewhere keeps its runs. A further mask is a functor, its kind and a
// line of WithMask.
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_MASK_H_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_MASK_H_

#include <cstdint>
#include <utility>

#include "base/check.h"
#include "numerics/host_device.h"

namespace vexact {

// Of a row at position p.
enum class MaskKind {
  kCausal,         // positions 0 to p
  kSlidingWindow,  // the last `window` of these
  kPrefixLm,       // positions 0 to p, and the whole prefix where p is in it
  kDocument,       // positions of p's document, a run of positions, up to p
};

struct AttentionMask {
  MaskKind kind = MaskKind::kCausal;
  int32_t window = 0;  // kSlidingWindow: at least 1
  // [rows of q], in the backend's memory. kPrefixLm: how many positions after its own the row sees,
  // all in the context; kDocument: how many before its own. Null for other kinds.
  const int32_t* reach = nullptr;
};

// Whether a mask of this kind reads `reach`.
constexpr bool HasReach(MaskKind kind) {
  return kind == MaskKind::kPrefixLm || kind == MaskKind::kDocument;
}

// Past a GPU's L1 cache, where an earlier step's reach may still lie.
VX_HOST_DEVICE inline int32_t LoadReach(const int32_t* reach) {
#ifdef __CUDA_ARCH__
  return __ldcg(reach);
#else
  return *reach;
#endif
}

// kFromStart: Begin is 0, known when a kernel is compiled.
struct CausalMask {
  static constexpr bool kFromStart = true;
  VX_HOST_DEVICE explicit CausalMask(const AttentionMask&) {}
  VX_HOST_DEVICE int32_t Begin(int32_t /*position*/, int64_t /*row*/) const { return 0; }
  VX_HOST_DEVICE int32_t End(int32_t position, int64_t /*row*/) const { return position + 1; }
};

struct SlidingWindowMask {
  static constexpr bool kFromStart = false;
  VX_HOST_DEVICE explicit SlidingWindowMask(const AttentionMask& mask) : window(mask.window) {}
  VX_HOST_DEVICE int32_t Begin(int32_t position, int64_t /*row*/) const {
    return position < window ? 0 : position - window + 1;
  }
  VX_HOST_DEVICE int32_t End(int32_t position, int64_t /*row*/) const { return position + 1; }

  int32_t window;
};

struct PrefixLmMask {
  static constexpr bool kFromStart = true;
  VX_HOST_DEVICE explicit PrefixLmMask(const AttentionMask& mask) : reach(mask.reach) {}
  VX_HOST_DEVICE int32_t Begin(int32_t /*position*/, int64_t /*row*/) const { return 0; }
  VX_HOST_DEVICE int32_t End(int32_t position, int64_t row) const {
    return position + 1 + LoadReach(reach + row);
  }

  const int32_t* reach;
};

struct DocumentMask {
  static constexpr bool kFromStart = false;
  VX_HOST_DEVICE explicit DocumentMask(const AttentionMask& mask) : reach(mask.reach) {}
  VX_HOST_DEVICE int32_t Begin(int32_t position, int64_t row) const {
    return position - LoadReach(reach + row);
  }
  VX_HOST_DEVICE int32_t End(int32_t position, int64_t /*row*/) const { return position + 1; }

  const int32_t* reach;
};

// run(the mask's functor).
template <typename Function>
void WithMask(const AttentionMask& mask, Function&& run) {
  switch (mask.kind) {
    case MaskKind::kCausal:
      return std::forward<Function>(run)(CausalMask(mask));
    case MaskKind::kSlidingWindow:
      return std::forward<Function>(run)(SlidingWindowMask(mask));
    case MaskKind::kPrefixLm:
      return std::forward<Function>(run)(PrefixLmMask(mask));
    case MaskKind::kDocument:
      return std::forward<Function>(run)(DocumentMask(mask));
  }
  VX_CHECK(false, "a MaskKind");
}

// The positions that a row sees, counted from 0 or from elsewhere.
template <bool kFromStart>  // begin is where positions begin, or before
struct VisibleRun {
  int32_t begin;
  int32_t end;

  VX_HOST_DEVICE bool Sees(int32_t position) const {
    return (kFromStart || position >= begin) && position < end;
  }
  // Of positions [first, last).
  VX_HOST_DEVICE bool SeesAny(int32_t first, int32_t last) const {
    return (kFromStart || begin < last) && end > first;
  }
  VX_HOST_DEVICE bool SeesAll(int32_t first, int32_t last) const {
    return (kFromStart || begin <= first) && end >= last;
  }
  VX_HOST_DEVICE VisibleRun From(int32_t start) const { return {begin - start, end - start}; }
};

template <typename Mask>
VX_HOST_DEVICE VisibleRun<Mask::kFromStart> VisibleOf(const Mask& mask, int32_t position,
                                                      int64_t row) {
  return {mask.Begin(position, row), mask.End(position, row)};
}

}  // namespace vexact

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_MASK_H_
