#include "kernels/embedding/embedding.h"
#include "kernels/sm90/chunks.cuh"
#include "kernels/sm90/overlapped_launch.cuh"

namespace vexact {
namespace {

// Word: what a thread copies at a time.
template <typename Word>
__global__ void EmbeddingKernel(EmbeddingArgs args) {
  sm90::BeginOverlapped();
  constexpr int64_t kColumns = sizeof(Word) / sizeof(bf16);
  sm90::ForEachChunk(args.y.rows, args.y.cols / kColumns, [&](int64_t t, int64_t chunk) {
    const auto* from = reinterpret_cast<const Word*>(args.table[EmbeddedId(args, t)]);
    reinterpret_cast<Word*>(args.y[t])[chunk] = from[chunk];
  });
}

template <typename Word>
void Run(const EmbeddingArgs& args, const Stream& stream) {
  constexpr int64_t kColumns = sizeof(Word) / sizeof(bf16);
  const auto [grid, threads] = sm90::GridOfChunks(args.y.rows, args.y.cols / kColumns);
  sm90::LaunchOverlapped(EmbeddingKernel<Word>, grid, threads, 0, stream, args);
}

}  // namespace

void EmbeddingSm90(const EmbeddingArgs& args, Stream& stream) {
  CheckShapes(args);
  const bool wide =
      args.y.cols % sm90::kWideChunk == 0 && sm90::IsWide(args.table) && sm90::IsWide(args.y);
  wide ? Run<uint4>(args, stream) : Run<uint16_t>(args, stream);
}

}  // namespace vexact
