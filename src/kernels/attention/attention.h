// Attention over a paged KV cache under a mask, for prefill chunks and decode rows in one call.
//
// Arithmetic: docs/numerics.md, attention: tiles of 128 positions, segments of 256, both at
// absolute positions. Invariance: a query row depends on its own q and on K and V at positions that
// it sees (attention_mask.h); never on the chunk, the batch or the block size. Slots that hold no
// position of a sequence may hold NaN; K and V of its positions are finite (KvWrite sees to it).
#ifndef VEXACT_KERNELS_ATTENTION_ATTENTION_H_
#define VEXACT_KERNELS_ATTENTION_ATTENTION_H_

#include <cstdint>

#include "kernels/mode.h"
#include "kernels/paged_kv.h"
#include "kernels/simd/cpu_target.h"
#include "tensor/buffer.h"
#include "tensor/rows.h"
#include "tensor/stream.h"

namespace vexact {

inline constexpr int kAttentionTile = 128;     // positions
inline constexpr int kAttentionSegment = 256;  // positions

// A GPU's backend is made with one of these; its mode says whether their canonical or their free
// form runs. A CPU has kFa's alone.
enum class AttentionKernels {
  kFa,    // a CPU's, and Hopper's own (copy engine, wgmma): one form, canonical, in both modes
  kCute,  // for any card from sm_80 on
};

// The largest steps that a plan has to hold.
struct AttentionLimits {
  int64_t max_tokens = 0;
  int64_t max_sequences = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;
  int64_t head_dim = 0;
};

// How a step's attention is cut into units of work, and room for what they leave to each other:
// made once a step, on the device, and read by every layer. Any cut gives the same bits. Empty on
// backends that need none.
//
// From PlanAttention to the step's last Attention the sequences' arrays stay as they are, and of
// their K and V only those at this step's positions are written: the GPU reads earlier positions
// before the kernels just ahead of Attention have finished. That these are there then follows from
// the stream's order. The plan's kernel is launched in the ordinary way: it starts when everything
// queued before it (the step before, copies of block tables) has finished and can be seen, and
// every later kernel starts when it has finished. So a kernel that starts early has only kernels of
// its own step beside it. All of them wait for the ones before before they write
// (kernels/sm90/dependent_launch.cuh), so one wait is enough for q and for this step's positions.
struct AttentionPlan {
  AttentionLimits limits;
  Buffer storage;
  int32_t runs_per_sm = 1;  // runs of decode work that each multiprocessor takes at once
};

struct AttentionArgs {
  Rows<const bf16> q;        // [tokens, heads * head_dim], after rope
  Rows<bf16> y;              // [tokens, heads * head_dim]; rows of no sequence are left alone
  int64_t num_heads;         // a multiple of kv.num_kv_heads
  PagedKv kv;                // already holds this step's keys and values
  PagedSequences sequences;  // their mask says what a row sees
  // Of these sequences (Backend::PlanAttention); null on backends that need none.
  const AttentionPlan* plan = nullptr;
};

// What every backend requires; ends the program where shapes do not fit. Reads no array.
void CheckShapes(const AttentionArgs& args);
// What a backend of the host's memory asks besides: the sequences' rows are the first ones of q.
void CheckSequences(const AttentionArgs& args);

void AttentionReference(const AttentionArgs& args, Stream& stream);
void AttentionCpu(CpuTarget target, const AttentionArgs& args, Stream& stream);
// In an order that depends on the call (variant mode). Requires: a causal mask.
void AttentionVariantCpu(CpuTarget target, const AttentionArgs& args, Stream& stream);
void AttentionSm90(const AttentionArgs& args, Stream& stream);
// Canonical bits in mode invariant, free ones in mode variant. Requires: a causal mask.
void AttentionCute(Mode mode, const AttentionArgs& args, Stream& stream);
inline constexpr int32_t kAttentionCuteRunsPerSm = 2;  // of its plans
// Head sizes of both: 16, 32, 64, 128. The plan's storage is allocated by the caller, zero-filled.
size_t AttentionPlanBytesSm90(const AttentionLimits& limits);
void PlanAttentionSm90(const PagedSequences& sequences, const AttentionPlan& plan, Stream& stream);

}  // namespace vexact

#endif  // VEXACT_KERNELS_ATTENTION_ATTENTION_H_
