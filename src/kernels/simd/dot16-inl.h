// dot16 chains (docs/numerics.md) of one row against a *panel* of kPanel outputs, in vectors.
//
// A step needs E, the largest exponent among 16 products and c; every term truncated to a multiple
// of 2^(E - 25); their exact sum; one rounding toward zero. Here:
//   - the products are exact in fp32; times 2^(25 - E) they are below 2^27, so truncation is one
//     conversion to int32 and the sum of 16 of them fits in int32;
//   - the maximum runs on bytes, four times as many lanes as fp32: E_byte = field(w) -sat drop(x),
//     where field() is the biased exponent and drop(x) = (largest field of the row) - field(x). The
//     row is scaled by a power of two so that its largest field is 127: then E_byte is the biased
//     exponent of the product itself. Zeros and subnormals fall to 0, below `floor`.
// What does not hold for every input is watched: `lowest` sees E <= floor (something too small to
// be exact may have decided E), `highest` sees sums that may pass 2^31. The caller then computes
// that row and panel with the scalar Dot16. Fields above kMaxPanelField (infinities among them) are
// the caller's to watch, too.
#if defined(VEXACT_KERNELS_SIMD_DOT16_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef VEXACT_KERNELS_SIMD_DOT16_INL_H_
#undef VEXACT_KERNELS_SIMD_DOT16_INL_H_
#else
#define VEXACT_KERNELS_SIMD_DOT16_INL_H_
#endif

#include <algorithm>

#include "kernels/simd/vector-inl.h"
#include "numerics/dot16.h"

HWY_BEFORE_NAMESPACE();
namespace vexact {
namespace HWY_NAMESPACE {

inline constexpr int kPanel = 4 * kLanes;  // outputs whose exponents fill one vector of bytes
// Products of operands below 2^31 and a normalised row stay far from overflow; and an element of x
// that is not exact after the scaling by a power of two cannot reach floor - 27.
inline constexpr int kMaxPanelField = 157;
inline constexpr int kMinFloor = 48;

// 16 elements of the row side, ready to be broadcast.
struct alignas(64) RowGroup {
  float values[kDotGroup];
  uint32_t drops[kDotGroup];  // the byte four times
};

// 16 inputs of kPanel outputs. Vector v of an input holds the even (v = 0, 2) or odd (1, 3) outputs
// of the lower (0, 1) or upper (2, 3) half of the panel; a word of `fields` holds the exponent
// bytes of vectors 0, 2, 1, 3, lowest first.
struct alignas(64) PanelGroup {
  float values[kDotGroup][4][kLanes];
  uint32_t fields[kDotGroup][kLanes];
};

// The chain of one row and one panel between two groups.
struct alignas(64) PanelState {
  float sums[4][kLanes];
  int32_t lowest[kLanes];    // of the exponents, in place (<< 23)
  uint32_t highest[kLanes];  // of the integer sums' magnitudes

  void Start() {
    const DF df;
    for (int v = 0; v < 4; ++v) hn::Store(hn::Zero(df), df, sums[v]);
    Watch();
  }
  void Watch() {
    ClearLowest();
    hn::Store(hn::Zero(DU()), DU(), highest);
  }
  void ClearLowest() { hn::Store(hn::Set(DI(), 0x7f800000), DI(), lowest); }
  // Whether some sum may differ from the chain of Dot16.
  bool Doubtful(int floor) const {
    const auto low = hn::Lt(hn::Load(DI(), lowest), hn::Set(DI(), (floor + 1) << 23));
    const auto high = hn::Gt(hn::Load(DU(), highest), hn::Set(DU(), 0x7bffffffu));
    return !hn::AllFalse(DI(), low) || !hn::AllFalse(DU(), high);
  }
};

// Where output `lane` of a panel stands in PanelGroup and PanelState.
constexpr int PanelVector(int64_t lane) {
  return static_cast<int>(lane / (kPanel / 2) * 2 + lane % 2);
}
constexpr int PanelLane(int64_t lane) { return static_cast<int>(lane % (kPanel / 2) / 2); }

// `words` is 16 rows of kPanel bf16, `stride` elements apart. Returns the lanewise maximum of its
// exponents and `max_fields`.
HWY_INLINE VU8 ExpandPanelGroup(const bf16* words, int64_t stride, VU8 max_fields,
                                PanelGroup& group) {
  const DU16 du16;
  const DF df;
  for (int k = 0; k < kDotGroup; ++k) {
    const VU a = LoadBf16(words + k * stride);
    const VU b = LoadBf16(words + k * stride + kPanel / 2);
    hn::Store(EvenBf16(a), df, group.values[k][0]);
    hn::Store(OddBf16(a), df, group.values[k][1]);
    hn::Store(EvenBf16(b), df, group.values[k][2]);
    hn::Store(OddBf16(b), df, group.values[k][3]);
    const auto a_fields = hn::ShiftRight<8>(hn::ShiftLeft<1>(hn::BitCast(du16, a)));
    const auto b_fields =
        hn::And(hn::ShiftLeft<1>(hn::BitCast(du16, b)), hn::Set(du16, uint16_t{0xff00}));
    const auto fields = hn::Or(a_fields, b_fields);
    hn::Store(hn::BitCast(DU(), fields), DU(), group.fields[k]);
    max_fields = hn::Max(max_fields, hn::BitCast(DU8(), fields));
  }
  return max_fields;
}

// t as fp32, rounded toward zero; |t| < 2^31 - 2^26, or `highest` says so.
HWY_INLINE VF RoundTowardZero(VI t, VU& highest) {
  const VI magnitude = hn::Abs(t);
  highest = hn::Max(highest, hn::BitCast(DU(), magnitude));
#if HWY_TARGET == HWY_AVX3
  return VF{_mm512_cvt_roundepi32_ps(t.raw, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC)};
#else
  // To nearest, and one step back where that went away from zero.
  const VF nearest = hn::ConvertTo(DF(), magnitude);
  const auto away = hn::VecFromMask(DI(), hn::Gt(TruncateToInt(nearest), magnitude));
  const VI word = hn::Add(hn::BitCast(DI(), nearest), away);
  return hn::BitCast(DF(), hn::Or(word, hn::And(t, hn::Set(DI(), INT32_MIN))));
#endif
}

// state <- dot16(state, row, panel) for all kPanel outputs.
HWY_INLINE void StepPanel(const PanelGroup& panel, const RowGroup& row, int floor,
                          PanelState& state) {
  const DF df;
  const DI di;
  const DU du;
  const DU8 du8;
  VU8 largest = hn::Set(du8, static_cast<uint8_t>(floor));
  HWY_UNROLL(16)
  for (int k = 0; k < kDotGroup; ++k) {
    const VU8 fields = hn::BitCast(du8, hn::Load(du, panel.fields[k]));
    const VU8 drop = hn::BitCast(du8, hn::Set(du, row.drops[k]));
    largest = hn::Max(largest, hn::SaturatedSub(fields, drop));
  }
  const VI exponent_mask = hn::Set(di, 0x7f800000);
  const VI bytes = hn::BitCast(di, largest);
  VI exponents[4] = {hn::ShiftLeft<23>(bytes), hn::ShiftLeft<7>(bytes), hn::ShiftLeft<15>(bytes),
                     hn::ShiftRight<1>(bytes)};
  VI lowest = hn::Load(di, state.lowest);
  VU highest = hn::Load(du, state.highest);
  VF scales[4];
  VI totals[4];
  HWY_UNROLL(4)
  for (int v = 0; v < 4; ++v) {
    const VF sum = hn::Load(df, state.sums[v]);
    exponents[v] =
        hn::Max(hn::And(exponents[v], exponent_mask), hn::And(hn::BitCast(di, sum), exponent_mask));
    lowest = hn::Min(lowest, exponents[v]);
    // 2^(25 - E): field 127 + 25 + 127 - (biased E).
    scales[v] =
        hn::BitCast(df, hn::Sub(hn::Set(di, static_cast<int32_t>(279u << 23)), exponents[v]));
    totals[v] = TruncateToInt(hn::Mul(sum, scales[v]));
  }
  HWY_UNROLL(16)
  for (int k = 0; k < kDotGroup; ++k) {
    const VF x = hn::Set(df, row.values[k]);
    HWY_UNROLL(4)
    for (int v = 0; v < 4; ++v) {
      const VF product = hn::Mul(hn::Load(df, panel.values[k][v]), x);
      totals[v] = hn::Add(totals[v], TruncateToInt(hn::Mul(product, scales[v])));
    }
  }
  HWY_UNROLL(4)
  for (int v = 0; v < 4; ++v) {
    const VF unit = hn::BitCast(df, hn::Sub(exponents[v], hn::Set(di, 25 << 23)));  // 2^(E - 25)
    hn::Store(hn::Mul(RoundTowardZero(totals[v], highest), unit), df, state.sums[v]);
  }
  hn::Store(lowest, di, state.lowest);
  hn::Store(highest, du, state.highest);
}

// The scale of a prepared row, and whether the fast path may use it.
struct RowScale {
  int max_field;  // of the row, at least 1
  int max_drop;   // over the elements that are not 0
  int floor;      // of its E_byte
  bool usable;    // finite, and not so large that a sum might overflow

  float Unit() const { return FloatFromWord(static_cast<uint32_t>(max_field) << 23); }
};

// The largest and the smallest exponent field of the elements of x that are not 0, each at least 1;
// {1, 255} if there are none.
struct FieldRange {
  int largest;
  int smallest;
};
inline FieldRange FieldsOf(const bf16* x, int64_t cols) {
  const DU16 du16;
  auto largest = hn::Zero(du16);
  auto smallest = hn::Set(du16, uint16_t{0xffff});  // of magnitude - 1, so that a 0 is the largest
  const auto add = [&](const bf16* from) {
    const auto words = hn::LoadU(du16, reinterpret_cast<const uint16_t*>(from));
    const auto magnitude = hn::And(words, hn::Set(du16, uint16_t{0x7fff}));
    largest = hn::Max(largest, magnitude);
    smallest = hn::Min(smallest, hn::Sub(magnitude, hn::Set(du16, uint16_t{1})));
  };
  int64_t i = 0;
  for (; i + 2 * kLanes <= cols; i += 2 * kLanes) add(x + i);
  bf16 last[2 * kLanes] = {};
  std::copy(x + i, x + cols, last);
  add(last);
  uint16_t all[2][2 * kLanes];
  hn::StoreU(largest, du16, all[0]);
  hn::StoreU(smallest, du16, all[1]);
  const int max_magnitude = *std::max_element(all[0], all[0] + 2 * kLanes);
  const int min_magnitude = *std::min_element(all[1], all[1] + 2 * kLanes) + 1;
  return {std::max(max_magnitude >> 7, 1),
          max_magnitude == 0 ? 255 : std::max(min_magnitude >> 7, 1)};
}

HWY_INLINE void PrepareGroup(const bf16* x, VI max_field, VF normalise, RowGroup& group) {
  const DI di;
  const hn::Rebind<uint16_t, DI> du16;
  for (int i = 0; i < kDotGroup; i += kLanes) {
    const auto half_words = hn::LoadU(du16, reinterpret_cast<const uint16_t*>(x + i));
    const VI word = hn::ShiftLeft<16>(hn::PromoteTo(di, half_words));
    const VI magnitude = hn::And(word, hn::Set(di, 0x7fffffff));
    const VI field = hn::Max(hn::ShiftRight<23>(magnitude), hn::Set(di, 1));
    const auto zero = hn::Eq(magnitude, hn::Zero(di));
    const VI drop = hn::IfThenElse(zero, hn::Set(di, 255), hn::Sub(max_field, field));
    const VI pairs = hn::Or(drop, hn::ShiftLeft<8>(drop));
    hn::Store(hn::BitCast(DU(), hn::Or(pairs, hn::ShiftLeft<16>(pairs))), DU(), group.drops + i);
    hn::Store(hn::Mul(hn::BitCast(DF(), word), normalise), DF(), group.values + i);
  }
}

// x [cols] into groups[0], groups[stride], ...: ceil(cols / 16) of them, padded with zeros.
inline RowScale PrepareRow(const bf16* x, int64_t cols, int64_t stride, RowGroup* groups) {
  const FieldRange fields = FieldsOf(x, cols);
  // Below floor a true exponent might be under -101, where results can be subnormal.
  const RowScale scale = {fields.largest, std::max(fields.largest - fields.smallest, 0),
                          std::max(kMinFloor, 153 - fields.largest), fields.largest <= 183};
  if (!scale.usable) return scale;
  const VI max_field = hn::Set(DI(), scale.max_field);
  const VF normalise =
      hn::Set(DF(), FloatFromWord(static_cast<uint32_t>(254 - scale.max_field) << 23));
  int64_t i = 0;
  for (; i + kDotGroup <= cols; i += kDotGroup) {
    PrepareGroup(x + i, max_field, normalise, groups[i / kDotGroup * stride]);
  }
  if (i == cols) return scale;
  bf16 last[kDotGroup] = {};
  std::copy(x + i, x + cols, last);
  PrepareGroup(last, max_field, normalise, groups[i / kDotGroup * stride]);
  return scale;
}

}  // namespace HWY_NAMESPACE
}  // namespace vexact
HWY_AFTER_NAMESPACE();

#endif  // VEXACT_KERNELS_SIMD_DOT16_INL_H_
