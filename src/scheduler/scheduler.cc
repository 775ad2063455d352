#include "scheduler/scheduler.h"

#include <algorithm>
#include <utility>

namespace vexact {

Scheduler::Scheduler(const SchedulerOptions& options) : options_(options), blocks_(options.blocks) {
  VX_CHECK(options.max_num_batched_tokens >= 1 && options.max_num_seqs >= 1);
  for (int32_t slot = options.max_num_seqs - 1; slot >= 0; --slot) free_slots_.push_back(slot);
}

int64_t Scheduler::BlocksNeeded(int64_t prompt_tokens, int64_t max_output_tokens,
                                int64_t block_size) {
  return (prompt_tokens + max_output_tokens - 1 + block_size - 1) / block_size;
}

void Scheduler::Add(SequenceSpec spec) {
  const SequenceId id = spec.id;
  auto sequence = std::make_unique<Sequence>(std::move(spec));
  VX_CHECK(sequence->num_to_compute() >= 1);
  VX_CHECK(sequence->spec.mask.prefix_len <=
           std::min(sequence->prompt_len(), options_.max_num_batched_tokens));
  VX_CHECK(BlocksNeeded(sequence->prompt_len(), sequence->spec.max_output_tokens,
                        blocks_.block_size()) <= blocks_.num_blocks());
  waiting_.emplace(id, sequence.get());
  VX_CHECK(sequences_.emplace(id, std::move(sequence)).second, "a SequenceId is used twice");
}

void Scheduler::Abort(SequenceId id) {
  const auto it = sequences_.find(id);
  if (it == sequences_.end()) return;
  Sequence* sequence = it->second.get();
  if (sequence->state == SequenceState::kFinished) return;
  if (sequence->state == SequenceState::kWaiting) waiting_.erase(id);
  if (sequence->state == SequenceState::kRunning) {
    RemoveFromRunning(sequence);
    draining_blocks_ += static_cast<int32_t>(sequence->blocks.size());
  }
  sequence->state = SequenceState::kFinished;
  if (sequence->num_in_flight == 0) Forget(sequence);
}

StepPlan Scheduler::PlanStep() {
  StepPlan plan;
  plan.step = next_step_;
  plan_stats_ = {};
  plan_stats_.step = next_step_;
  in_flight_.emplace_back();
  int32_t budget = options_.max_num_batched_tokens;
  bool starved = false;
  PlanDecodes(&plan, &budget, &starved);
  PlanPrefills(&plan, &budget);
  if (!starved) Admit(&plan, &budget);
  if (plan.empty()) {
    in_flight_.pop_back();
  } else {
    ++next_step_;
  }
  plan_stats_.num_requests = static_cast<int32_t>(plan.sequences.size());
  plan_stats_.num_waiting = num_waiting();
  plan_stats_.kv_blocks_used = blocks_.num_used();
  return plan;
}

void Scheduler::PlanDecodes(StepPlan* plan, int32_t* budget, bool* starved) {
  // Preemption shortens running_ from its end, behind the sequence at hand.
  for (size_t i = 0; i < running_.size() && *budget > 0; ++i) {
    Sequence* sequence = running_[i];
    if (!sequence->decodes()) continue;
    if (!EnsureBlock(sequence)) {
      *starved = true;
      continue;
    }
    PlanTokens(sequence, 1, plan);
    plan_stats_.num_decode_tokens += 1;
    *budget -= 1;
  }
}

void Scheduler::PlanPrefills(StepPlan* plan, int32_t* budget) {
  for (Sequence* sequence : running_) {
    if (*budget == 0) break;
    const int32_t remaining = sequence->num_remaining();
    // A sequence that decodes was planned above, or waits for a block or for budget.
    if (remaining == 0 || sequence->decodes()) continue;
    const int32_t count = std::min(remaining, *budget);
    PlanTokens(sequence, count, plan);
    plan_stats_.num_prefill_tokens += count;
    *budget -= count;
  }
}

void Scheduler::Admit(StepPlan* plan, int32_t* budget) {
  while (*budget > 0 && !waiting_.empty() && !free_slots_.empty()) {
    Sequence* sequence = waiting_.begin()->second;
    if (!TryAdmit(sequence, *budget)) break;
    waiting_.erase(waiting_.begin());
    sequence->state = SequenceState::kRunning;
    sequence->slot = free_slots_.back();
    free_slots_.pop_back();
    running_.insert(std::ranges::lower_bound(running_, sequence->spec.id, {},
                                             [](const Sequence* s) { return s->spec.id; }),
                    sequence);
    const SequenceSpec& spec = sequence->spec;
    plan->started.push_back({.id = spec.id,
                             .slot = sequence->slot,
                             .params = spec.params,
                             .seed = spec.seed,
                             .sample_index = spec.sample_index,
                             .prompt_ids = spec.prompt_ids,
                             .output_ids = sequence->output_ids,
                             .stop_ids = spec.stop_ids});
    const int32_t count = std::min(sequence->num_remaining(), *budget);
    PlanTokens(sequence, count, plan);
    plan_stats_.num_prefill_tokens += count;
    *budget -= count;
  }
}

// Finds the sequence's prefix and takes blocks for all its known tokens, or takes nothing. All at
// once, because a prompt that finds its last block missing would hold the others for nothing.
bool Scheduler::TryAdmit(Sequence* sequence, int32_t budget) {
  if (IsStillRefused(*sequence, budget)) return false;
  const int32_t total = sequence->num_to_compute();
  // The row before a target, and the last row, have to be computed: their logits are wanted.
  int32_t usable = total - 1;
  if (sequence->next_target < sequence->spec.targets_end) {
    usable = std::min(usable, sequence->next_target - 1);
  }
  std::vector<int32_t> known(usable);
  for (int32_t position = 0; position < usable; ++position) {
    known[position] = sequence->CacheKeyAt(position);
  }
  PrefixMatch match = blocks_.Match(*sequence->spec.prefix_root, known);
  const PrefixNode found_end = match.last;
  const int32_t found = static_cast<int32_t>(match.blocks.size()) * blocks_.block_size();
  if (found < sequence->spec.mask.prefix_len) {  // a part of a prefix is of no use
    blocks_.Release(match.blocks);
    match = {};
  }
  const int32_t num_matched = static_cast<int32_t>(match.blocks.size());
  const int32_t cached = num_matched * blocks_.block_size();
  const int32_t needed = (total + blocks_.block_size() - 1) / blocks_.block_size() - num_matched;
  const bool lacks_blocks = needed > blocks_.num_available();
  const int32_t least =  // tokens of the first step
      options_.enable_chunked_prefill ? sequence->spec.mask.prefix_len - cached : total - cached;
  if (lacks_blocks || least > budget) {
    blocks_.Release(match.blocks);
    refusal_ = {.id = sequence->spec.id,
                .num_given_back = blocks_.num_given_back(),
                .match_end = found_end,
                .next_tokens = {},
                .missing_budget = lacks_blocks ? INT32_MAX : least};
    if (found + blocks_.block_size() <= usable) {
      refusal_.next_tokens.assign(known.begin() + found,
                                  known.begin() + found + blocks_.block_size());
    }
    return false;
  }
  refusal_ = {};
  sequence->blocks = std::move(match.blocks);
  for (int32_t i = 0; i < needed; ++i) sequence->blocks.push_back(blocks_.Allocate());
  sequence->num_entered_blocks = num_matched;
  sequence->last_entered = match.last;
  sequence->num_planned = cached;
  sequence->num_committed = cached;
  if (sequence->num_cached_tokens < 0) {
    sequence->num_cached_tokens = std::min(cached, sequence->prompt_len());
  }
  plan_stats_.num_cached_tokens += cached;
  prefix_cache_queries_ += total;
  prefix_cache_hits_ += cached;
  return true;
}

// Whether the refused head would be refused again: no block was given back (a block that was taken,
// or evicted from the match, only makes it worse), the match has not grown, and the budget is as
// short as it was.
bool Scheduler::IsStillRefused(const Sequence& sequence, int32_t budget) const {
  if (refusal_.id != sequence.spec.id || refusal_.num_given_back != blocks_.num_given_back() ||
      budget >= refusal_.missing_budget) {
    return false;
  }
  return !blocks_.MayHaveGrown(*sequence.spec.prefix_root, refusal_.match_end,
                               refusal_.next_tokens);
}

// Makes room for the next position, preempting younger sequences if need be. False: it has to wait
// until blocks in flight come back, or until older sequences end.
bool Scheduler::EnsureBlock(Sequence* sequence) {
  if (sequence->num_planned <
      static_cast<int32_t>(sequence->blocks.size()) * blocks_.block_size()) {
    return true;
  }
  while (blocks_.num_available() == 0 && draining_blocks_ == 0) {
    if (!PreemptYoungerThan(*sequence)) return false;
  }
  if (blocks_.num_available() == 0) return false;
  sequence->blocks.push_back(blocks_.Allocate());
  return true;
}

bool Scheduler::PreemptYoungerThan(const Sequence& sequence) {
  Sequence* victim = running_.back();
  if (victim->spec.id <= sequence.spec.id) return false;
  running_.pop_back();
  victim->state = SequenceState::kPreempting;
  draining_blocks_ += static_cast<int32_t>(victim->blocks.size());
  ++num_preempted_;
  ++plan_stats_.num_preempted;
  if (victim->num_in_flight == 0) Requeue(victim);
  return true;
}

void Scheduler::PlanTokens(Sequence* sequence, int32_t count, StepPlan* plan) {
  const SequenceSpec& spec = sequence->spec;
  const int32_t begin = sequence->num_planned;
  const int32_t end = begin + count;
  VX_CHECK(begin >= spec.mask.prefix_len || (begin == 0 && end >= spec.mask.prefix_len),
           "a prefix is planned whole");
  PlannedSequence part;
  part.id = spec.id;
  part.slot = sequence->slot;
  part.first_position = begin;
  part.tokens.reserve(count);
  for (int32_t position = begin; position < end; ++position) {
    part.tokens.push_back(sequence->TokenAt(position));
  }
  if (HasReach(spec.mask.kind)) {
    part.mask_reach.reserve(count);
    for (int32_t position = begin; position < end; ++position) {
      part.mask_reach.push_back(spec.mask.ReachAt(position));
    }
  }
  const int32_t num_blocks = (end + blocks_.block_size() - 1) / blocks_.block_size();
  part.block_table.assign(sequence->blocks.begin(), sequence->blocks.begin() + num_blocks);
  part.num_prompt_tokens = sequence->prompt_len();
  part.draws = !spec.is_score() && end == sequence->num_tokens();
  part.targets_begin = sequence->next_target;
  part.targets_end = std::max(sequence->next_target, std::min(end + 1, spec.targets_end));
  for (int32_t t = part.targets_begin; t < part.targets_end; ++t) {
    part.target_ids.push_back(sequence->TokenAt(t));
  }
  part.redraws = spec.redraws;
  sequence->next_target = part.targets_end;
  sequence->num_planned = end;
  sequence->num_pending += part.draws ? 1 : 0;
  ++sequence->num_in_flight;
  in_flight_.back().push_back({sequence, end, part.draws});
  plan->sequences.push_back(std::move(part));
}

void Scheduler::Commit(const StepResult& result, const Stops& stops) {
  VX_CHECK(!in_flight_.empty());
  const std::vector<PlannedPart> parts = std::move(in_flight_.front());
  in_flight_.pop_front();
  VX_CHECK(parts.size() == result.sequences.size() && parts.size() == stops.size());
  for (size_t i = 0; i < parts.size(); ++i) CommitPart(parts[i], result.sequences[i], stops[i]);
}

void Scheduler::CommitPart(const PlannedPart& part, const SequenceResult& result,
                           FinishReason stop) {
  Sequence* sequence = part.sequence;
  --sequence->num_in_flight;
  if (sequence->state == SequenceState::kFinished) {
    if (sequence->num_in_flight == 0) Forget(sequence);
    return;
  }
  if (result.fault.empty()) {
    sequence->num_committed = part.end_position;
    if (part.draws) {
      sequence->output_ids.push_back(result.drawn.token_id);
      --sequence->num_pending;
    }
    EnterFullBlocks(sequence);
  }
  if (stop != FinishReason::kNone) {
    Abort(sequence->spec.id);
  } else if (sequence->state == SequenceState::kPreempting && sequence->num_in_flight == 0) {
    Requeue(sequence);
  }
}

void Scheduler::EnterFullBlocks(Sequence* sequence) {
  const int32_t size = blocks_.block_size();
  while ((sequence->num_entered_blocks + 1) * size <= sequence->num_committed) {
    const int32_t begin = sequence->num_entered_blocks * size;
    std::vector<int32_t> tokens(size);
    for (int32_t i = 0; i < size; ++i) tokens[i] = sequence->CacheKeyAt(begin + i);
    sequence->last_entered =
        blocks_.Cache(sequence->blocks[sequence->num_entered_blocks], sequence->spec.prefix_root,
                      sequence->last_entered, tokens);
    ++sequence->num_entered_blocks;
  }
}

void Scheduler::Release(Sequence* sequence) {
  blocks_.Release(sequence->blocks);
  sequence->blocks.clear();
  if (sequence->slot >= 0) free_slots_.push_back(sequence->slot);
  sequence->slot = -1;
}

void Scheduler::Requeue(Sequence* sequence) {
  draining_blocks_ -= static_cast<int32_t>(sequence->blocks.size());
  Release(sequence);
  sequence->state = SequenceState::kWaiting;
  waiting_.emplace(sequence->spec.id, sequence);
}

void Scheduler::Forget(Sequence* sequence) {
  draining_blocks_ -= static_cast<int32_t>(sequence->blocks.size());
  Release(sequence);
  sequences_.erase(sequence->spec.id);
}

void Scheduler::RemoveFromRunning(Sequence* sequence) {
  const auto it = std::ranges::lower_bound(running_, sequence->spec.id, {},
                                           [](const Sequence* s) { return s->spec.id; });
  VX_CHECK(it != running_.end() && *it == sequence);
  running_.erase(it);
}

int32_t Scheduler::NumCachedTokens(SequenceId id) const {
  const auto it = sequences_.find(id);
  return it == sequences_.end() ? 0 : std::max(0, it->second->num_cached_tokens);
}

Status Scheduler::CheckInvariants() const {
  VX_RETURN_IF_ERROR(blocks_.CheckInvariants());
  std::vector<int32_t> references(blocks_.num_blocks(), 0);
  int32_t draining = 0;
  size_t slots = free_slots_.size();
  for (const auto& [id, sequence] : sequences_) {
    for (const int32_t block : sequence->blocks) ++references[block];
    slots += sequence->slot >= 0 ? 1 : 0;
    const bool waits = sequence->state == SequenceState::kWaiting;
    if (waits != (sequence->slot < 0) || waits != waiting_.contains(id) ||
        (waits && (!sequence->blocks.empty() || sequence->num_in_flight != 0))) {
      return MakeError(ErrorCode::kInternal, "sequence {}: its state and what it holds disagree",
                       id);
    }
    if (sequence->state == SequenceState::kPreempting ||
        sequence->state == SequenceState::kFinished) {
      draining += static_cast<int32_t>(sequence->blocks.size());
      if (sequence->num_in_flight == 0) {
        return MakeError(ErrorCode::kInternal, "sequence {}: ended, nothing in flight, kept", id);
      }
    }
  }
  for (int32_t block = 0; block < blocks_.num_blocks(); ++block) {
    if (references[block] != blocks_.references(block)) {
      return MakeError(ErrorCode::kInternal, "block {}: {} references, but {} holders", block,
                       blocks_.references(block), references[block]);
    }
  }
  if (slots != static_cast<size_t>(options_.max_num_seqs) || draining != draining_blocks_) {
    return MakeError(ErrorCode::kInternal, "{} slots of {}; {} draining blocks, {} counted", slots,
                     options_.max_num_seqs, draining, draining_blocks_);
  }
  return {};
}

}  // namespace vexact
