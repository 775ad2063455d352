// The host's floating-point environment at its worst: a thread that flushes subnormals to zero and
// rounds down. Operators must answer the same bits under it (docs/numerics.md, Notation).
#ifndef VEXACT_SUPPORT_FLUSH_TO_ZERO_H_
#define VEXACT_SUPPORT_FLUSH_TO_ZERO_H_

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <cstdint>

namespace vexact {

class ScopedFlushToZero {
 public:
#if defined(__x86_64__)
  // Flush to zero (0x8000), denormals are zero (0x0040), round toward minus infinity (0x2000).
  ScopedFlushToZero() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8000u | 0x0040u | 0x2000u); }
  ~ScopedFlushToZero() { _mm_setcsr(static_cast<uint32_t>(saved_)); }
#else
  ScopedFlushToZero() : saved_(0) {
    asm volatile("mrs %0, fpcr" : "=r"(saved_));
    asm volatile("msr fpcr, %0" ::"r"(saved_ | (uint64_t{1} << 24) | (uint64_t{2} << 22)));
  }
  ~ScopedFlushToZero() { asm volatile("msr fpcr, %0" ::"r"(saved_)); }
#endif
  ScopedFlushToZero(const ScopedFlushToZero&) = delete;
  ScopedFlushToZero& operator=(const ScopedFlushToZero&) = delete;

 private:
  uint64_t saved_;
};

}  // namespace vexact

#endif  // VEXACT_SUPPORT_FLUSH_TO_ZERO_H_
