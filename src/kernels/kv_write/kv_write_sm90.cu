#include "base/check.h"
#include "kernels/kv_write/kv_write.h"
#include "kernels/sm90/chunks.cuh"
#include "kernels/sm90/overlapped_launch.cuh"

namespace vexact {
namespace {

constexpr int kThreads = 256;  // one 16-byte word each for K and V of 8 heads of 128

__device__ __forceinline__ bool HasNotFinite(uint16_t word) { return (word & 0x7f80u) == 0x7f80u; }
__device__ __forceinline__ bool HasNotFinite(uint4 words) {
  // A bf16 is not finite if adding 1 to its full exponent carries out of its 15 bits.
  const auto carries = [](uint32_t pair) {
    return (((pair & 0x7f807f80u) + 0x00800080u) & 0x80008000u) != 0;
  };
  return carries(words.x) || carries(words.y) || carries(words.z) || carries(words.w);
}

// A CTA for each row, whose words are those of K, then those of V.
template <typename Word>
__global__ void __launch_bounds__(kThreads) KvWriteKernel(KvWriteArgs args) {
  sm90::BeginOverlapped();
  constexpr int kColumns = sizeof(Word) / sizeof(bf16);
  const int64_t t = blockIdx.x;
  const int32_t place = args.slots[t];
  if (place < 0) return;
  const PagedKv& kv = args.kv;
  const auto words = static_cast<int>(args.k.cols / kColumns);
  const auto head_words = static_cast<int>(kv.head_dim / kColumns);
  const auto* k = reinterpret_cast<const Word*>(args.k[t]);
  const auto* v = reinterpret_cast<const Word*>(args.v[t]);
  bool fault = false;
  for (int i = threadIdx.x; i < 2 * words; i += kThreads) {
    fault |= HasNotFinite(i < words ? k[i] : v[i - words]);
  }
  fault = __syncthreads_or(fault ? 1 : 0) != 0;
  if (fault && threadIdx.x == 0) args.row_faults[t] = 1;

  const auto block_size = static_cast<int>(kv.block_size);
  const int64_t block = place / block_size;
  const int64_t offset = place % block_size * kv.head_dim;
  for (int i = threadIdx.x; i < 2 * words; i += kThreads) {
    // Heads of K, then those of V, as Keys counts them.
    const int head = i / head_words;
    auto* to = reinterpret_cast<Word*>(kv.Keys(block, head) + offset);
    to[i - head * head_words] = fault ? Word{} : i < words ? k[i] : v[i - words];
  }
}

}  // namespace

void KvWriteSm90(const KvWriteArgs& args, Stream& stream) {
  const PagedKv& kv = args.kv;
  VX_CHECK(args.k.cols == kv.num_kv_heads * kv.head_dim && args.v.cols == args.k.cols,
           "k and v: kv_heads * head_dim columns");
  VX_CHECK(args.k.rows == args.v.rows, "as many keys as values");
  const bool wide = kv.head_dim % sm90::kWideChunk == 0 &&
                    kv.block_stride % sm90::kWideChunk == 0 && sm90::IsWide(kv.pool) &&
                    sm90::IsWide(args.k) && sm90::IsWide(args.v);
  sm90::LaunchOverlapped(wide ? KvWriteKernel<uint4> : KvWriteKernel<uint16_t>,
                         static_cast<unsigned>(args.k.rows), kThreads, 0, stream, args);
}

}  // namespace vexact
