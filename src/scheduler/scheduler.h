// Scheduler: which tokens of which sequences the next step computes, and who holds which KV block.
//
// First come, first served: lower SequenceIds first. A step takes one token of every decoding
// sequence, then chunks of prompts, then new sequences, up to a budget of tokens (continuous
// batching: Orca, Yu et al., 2022; chunked prefill: Sarathi, Agrawal et al., 2023). When a decoding
// sequence finds no free block, the youngest running one is preempted and later recomputed (vLLM).
// A mask's prefix is never cut: it is computed in one step, or found whole in the prefix cache.
//
// Nothing here touches an answer: any plan gives the same bits (docs/numerics.md).
//
// Steps may be planned ahead of their results: a token in flight is a placeholder. A sequence that
// is preempted, aborted or finished keeps its blocks and its slot until its steps are collected.
//
// Cost: a step is O(sequences running), never O(waiting); Add and Abort are O(log waiting).
#ifndef VEXACT_SCHEDULER_SCHEDULER_H_
#define VEXACT_SCHEDULER_SCHEDULER_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "batch/step_plan.h"
#include "batch/step_result.h"
#include "batch/step_stats.h"
#include "kvcache/block_pool.h"
#include "scheduler/sequence.h"

namespace vexact {

struct SchedulerOptions {
  int32_t max_num_batched_tokens = 0;
  int32_t max_num_seqs = 0;
  bool enable_chunked_prefill = true;  // false: max_num_batched_tokens holds the longest sequence
  BlockPoolOptions blocks;
};

// Not thread-safe.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // Requires: a new id; at least one position to compute; BlocksNeeded(...) <= the pool's blocks;
  // without chunked prefill, no more positions than the budget; no longer prefix than that.
  void Add(SequenceSpec spec);

  // Blocks that a sequence holds at its longest. Its last token is never computed.
  static int64_t BlocksNeeded(int64_t prompt_tokens, int64_t max_output_tokens, int64_t block_size);

  // Ends a sequence; unknown ids are ignored.
  void Abort(SequenceId id);

  // The next step, or an empty plan: nothing can run before a step in flight is committed, or
  // there is nothing to do. An empty plan is not to be committed.
  StepPlan PlanStep();
  const StepStats& plan_stats() const { return plan_stats_; }  // of the last plan; no milliseconds

  // The result of the oldest plan not yet committed: appends drawn tokens, frees what has ended,
  // and offers full blocks to the prefix cache. `result` and `stops` are in the plan's order; what
  // they say about sequences that have already ended is ignored.
  void Commit(const StepResult& result, const Stops& stops);

  bool HasWork() const { return !sequences_.empty(); }
  int32_t num_waiting() const { return static_cast<int32_t>(waiting_.size()); }
  int32_t num_running() const { return static_cast<int32_t>(running_.size()); }
  const BlockPool& blocks() const { return blocks_; }
  int64_t num_preempted() const { return num_preempted_; }
  int64_t prefix_cache_queries() const { return prefix_cache_queries_; }
  int64_t prefix_cache_hits() const { return prefix_cache_hits_; }

  // Prompt tokens found in the prefix cache when the sequence was first admitted; 0 before.
  int32_t NumCachedTokens(SequenceId id) const;

  void ResetPrefixCache() { blocks_.Reset(); }

  // References counted from all sequences against the pool's, slots, states; for tests.
  Status CheckInvariants() const;

 private:
  // What a step in flight computes of one sequence.
  struct PlannedPart {
    Sequence* sequence;
    int32_t end_position;
    bool draws;
  };

  // The head of the queue as it was last refused, so that a step does not match its prefix again
  // while nothing has changed for it.
  struct Refusal {
    SequenceId id = -1;
    int64_t num_given_back = 0;  // the pool's
    PrefixNode match_end;
    std::vector<int32_t> next_tokens;    // [block_size] behind the match; empty if it cannot grow
    int32_t missing_budget = INT32_MAX;  // tokens a step that would do; none if blocks were missing
  };

  void PlanDecodes(StepPlan* plan, int32_t* budget, bool* starved);
  void PlanPrefills(StepPlan* plan, int32_t* budget);
  void Admit(StepPlan* plan, int32_t* budget);
  bool TryAdmit(Sequence* sequence, int32_t budget);
  bool IsStillRefused(const Sequence& sequence, int32_t budget) const;
  bool EnsureBlock(Sequence* sequence);
  bool PreemptYoungerThan(const Sequence& sequence);
  void PlanTokens(Sequence* sequence, int32_t count, StepPlan* plan);
  void CommitPart(const PlannedPart& part, const SequenceResult& result, FinishReason stop);
  void EnterFullBlocks(Sequence* sequence);
  // Gives blocks and slot back.
  void Release(Sequence* sequence);
  void Requeue(Sequence* sequence);
  // Nothing in flight: releases and forgets a finished sequence.
  void Forget(Sequence* sequence);
  void RemoveFromRunning(Sequence* sequence);

  SchedulerOptions options_;
  BlockPool blocks_;
  std::unordered_map<SequenceId, std::unique_ptr<Sequence>> sequences_;
  std::map<SequenceId, Sequence*> waiting_;
  std::vector<Sequence*> running_;  // kRunning, ascending id
  std::vector<int32_t> free_slots_;
  Refusal refusal_;
  std::deque<std::vector<PlannedPart>> in_flight_;
  int64_t next_step_ = 0;
  int32_t draining_blocks_ = 0;  // at most; of kPreempting and kFinished sequences
  StepStats plan_stats_;
  int64_t num_preempted_ = 0;
  int64_t prefix_cache_queries_ = 0;
  int64_t prefix_cache_hits_ = 0;
};

}  // namespace vexact

#endif  // VEXACT_SCHEDULER_SCHEDULER_H_
