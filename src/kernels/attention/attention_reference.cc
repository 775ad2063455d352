#include "kernels/attention/attention_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/check.h"
#include "numerics/constants.h"
#include "numerics/dot16.h"
#include "numerics/ex2.h"
#include "numerics/tree128.h"

namespace vexact {
namespace {

// A softmax sum in progress: sum over j of 2^(s_j c - m) v_j and of the same powers alone.
struct Partial {
  bool empty = true;
  float m = 0.0f;        // integer exponent; meaningless while empty
  float l = 0.0f;        // sum of the powers
  std::vector<float> o;  // [head_dim]
};

// K and V of one sequence and one KV head.
class CachedHead {
 public:
  CachedHead(const AttentionArgs& args, int64_t sequence, int64_t kv_head)
      : kv_(args.kv),
        blocks_(args.sequences.block_tables + args.sequences.block_table_start[sequence]),
        kv_head_(kv_head) {}

  const bf16* Key(int64_t position) const {  // [head_dim]
    return kv_.Keys(Block(position), kv_head_) + Offset(position);
  }
  const bf16* Value(int64_t position) const {  // [head_dim]
    return kv_.Values(Block(position), kv_head_) + Offset(position);
  }

 private:
  int64_t Block(int64_t position) const {
    const int64_t block = blocks_[position / kv_.block_size];
    VX_CHECK(block >= 0 && block < kv_.num_blocks, "block in the pool");
    return block;
  }
  int64_t Offset(int64_t position) const { return position % kv_.block_size * kv_.head_dim; }

  const PagedKv& kv_;
  const int32_t* blocks_;
  int64_t kv_head_;
};

// Whether a row sees `position`, in the words of the law.
bool Sees(const AttentionMask& mask, const AttentionRow& row, int64_t position) {
  switch (mask.kind) {
    case MaskKind::kCausal:
      return position <= row.position;
    case MaskKind::kSlidingWindow:
      return position <= row.position && row.position < position + mask.window;
    case MaskKind::kPrefixLm:
      return position <= row.position + mask.reach[row.row];
    case MaskKind::kDocument:
      return position <= row.position && row.position <= position + mask.reach[row.row];
  }
  VX_CHECK(false, "a MaskKind");
  return false;
}

// Which positions of the tile that begins at `begin` a row sees; none from `context` on.
struct TileView {
  TileView(const AttentionMask& mask, const AttentionRow& row, int64_t begin, int64_t context) {
    for (int64_t j = 0; j < kAttentionTile && begin + j < context; ++j) {
      sees[j] = Sees(mask, row, begin + j);
      any = any || sees[j];
    }
  }
  bool sees[kAttentionTile] = {};
  bool any = false;
};

// Adds the positions of a tile that are visible to the segment's partial.
void AddTile(const CachedHead& cached, const bf16* q, int64_t begin, const TileView& view,
             Partial* segment) {
  const auto head_dim = static_cast<int64_t>(segment->o.size());
  const float c = AttentionScale(head_dim);

  float scores[kAttentionTile];
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t j = 0; j < kAttentionTile; ++j) {
    if (!view.sees[j]) continue;
    scores[j] = Chain(q, cached.Key(begin + j), head_dim);
    if (scores[j] > largest) largest = scores[j];  // ignores NaN
  }
  const float tile_m = CeilOfProduct(largest, c);
  const float m = segment->empty ? tile_m : std::max(segment->m, tile_m);
  if (!segment->empty) {
    const float scale = Ex2(segment->m - m);
    segment->l = segment->l * scale;
    for (float& o : segment->o) o = o * scale;
  }
  segment->empty = false;
  segment->m = m;

  float p[kAttentionTile] = {};       // 0 where not visible
  bf16 rounded[kAttentionTile] = {};  // P
  for (int64_t j = 0; j < kAttentionTile; ++j) {
    if (!view.sees[j]) continue;
    p[j] = Ex2(std::fma(scores[j], c, -m));
    rounded[j] = Bf16FromFloat(p[j]);
  }
  segment->l = segment->l + Tree128(p);
  for (int64_t d = 0; d < head_dim; ++d) {
    bf16 values[kAttentionTile] = {};  // column d of V, 0 where not visible
    for (int64_t j = 0; j < kAttentionTile; ++j) {
      if (view.sees[j]) values[j] = cached.Value(begin + j)[d];
    }
    segment->o[d] = Chain(segment->o[d], rounded, values, kAttentionTile);
  }
}

// Folds the next segment into `fold`; the first is copied.
void FoldSegment(const Partial& next, Partial* fold) {
  if (fold->empty) {
    *fold = next;
    return;
  }
  const float m = std::max(fold->m, next.m);
  const float scale_fold = Ex2(fold->m - m);
  const float scale_next = Ex2(next.m - m);
  fold->l = std::fma(next.l, scale_next, fold->l * scale_fold);
  for (size_t d = 0; d < fold->o.size(); ++d) {
    fold->o[d] = std::fma(next.o[d], scale_next, fold->o[d] * scale_fold);
  }
  fold->m = m;
}

}  // namespace

void AttentionRowReference(const AttentionArgs& args, const AttentionRow& row, int64_t segment,
                           float* y) {
  const int64_t head_dim = args.kv.head_dim;
  const int64_t kv_head = row.head / (args.num_heads / args.kv.num_kv_heads);
  const CachedHead cached(args, row.sequence, kv_head);
  const bf16* q = args.q[row.row] + row.head * head_dim;
  const int64_t context = args.sequences.context_len[row.sequence];

  Partial empty;
  empty.o.assign(static_cast<size_t>(head_dim), 0.0f);
  Partial fold = empty;
  for (int64_t start = 0; start < context; start += segment) {
    const int64_t segment_end = std::min(context, start + segment);
    Partial partial = empty;
    for (int64_t begin = start; begin < segment_end; begin += kAttentionTile) {
      const TileView view(args.sequences.mask, row, begin, context);
      if (view.any) AddTile(cached, q, begin, view, &partial);
    }
    if (!partial.empty) FoldSegment(partial, &fold);
  }
  const float reciprocal = 1.0f / fold.l;
  for (int64_t d = 0; d < head_dim; ++d) y[d] = fold.o[d] * reciprocal;
}

void CheckShapes(const AttentionArgs& args) {
  const int64_t kv_heads = args.kv.num_kv_heads;
  VX_CHECK(kv_heads > 0 && args.num_heads % kv_heads == 0, "heads a multiple of KV heads");
  VX_CHECK(args.q.cols == args.num_heads * args.kv.head_dim, "q: heads * head_dim columns");
  VX_CHECK(args.y.rows == args.q.rows && args.y.cols == args.q.cols, "y has the shape of q");
}

void CheckSequences(const AttentionArgs& args) {
  const int32_t* const query_start = args.sequences.query_start;
  VX_CHECK(query_start[0] == 0, "sequences from the first row on");
  VX_CHECK(query_start[args.sequences.count] <= args.q.rows, "the sequences' rows");
}

void AttentionReference(const AttentionArgs& args, Stream& stream) {
  CheckShapes(args);
  CheckSequences(args);
  const int64_t head_dim = args.kv.head_dim;
  const int64_t num_rows = args.sequences.query_start[args.sequences.count];
  stream.pool->ParallelFor(num_rows * args.num_heads, [&](int64_t index) {
    AttentionRow row{};
    row.row = index / args.num_heads;
    row.head = index % args.num_heads;
    const int32_t* ends = args.sequences.query_start + 1;
    row.sequence = std::upper_bound(ends, ends + args.sequences.count, row.row) - ends;
    row.position = args.sequences.context_len[row.sequence] -
                   (args.sequences.query_start[row.sequence + 1] - row.row);
    VX_CHECK(row.position >= 0, "context_len holds the step's own tokens");
    std::vector<float> y(static_cast<size_t>(head_dim));
    AttentionRowReference(args, row, kAttentionSegment, y.data());
    std::transform(y.begin(), y.end(), args.y[row.row] + row.head * head_dim, Bf16FromFloat);
  });
}

}  // namespace vexact
