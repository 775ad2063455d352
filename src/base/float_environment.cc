#include "base/float_environment.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#elif defined(__aarch64__)
// FPCR is read and written below.
#else
#error "ScopedFloatEnvironment: this processor's control register is not known here"
#endif

namespace vexact {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kRoundingControl = 0x6000;  // 00: nearest even
constexpr uint32_t kFlushToZero = 0x8000;
constexpr uint32_t kDenormalsAreZero = 0x0040;

uint64_t ReadControl() { return _mm_getcsr(); }
void WriteControl(uint64_t control) { _mm_setcsr(static_cast<uint32_t>(control)); }
uint64_t Canonical(uint64_t control) {
  return control & ~uint64_t{kRoundingControl | kFlushToZero | kDenormalsAreZero};
}
#else
constexpr uint64_t kRoundingMode = uint64_t{3} << 22;
constexpr uint64_t kFlushToZero = (uint64_t{1} << 24) | (uint64_t{1} << 19);

uint64_t ReadControl() {
  uint64_t control;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  return control;
}
void WriteControl(uint64_t control) { asm volatile("msr fpcr, %0" ::"r"(control)); }
uint64_t Canonical(uint64_t control) { return control & ~(kRoundingMode | kFlushToZero); }
#endif

}  // namespace

ScopedFloatEnvironment::ScopedFloatEnvironment() : saved_(ReadControl()) {
  WriteControl(Canonical(saved_));
}

ScopedFloatEnvironment::~ScopedFloatEnvironment() { WriteControl(saved_); }

}  // namespace vexact
