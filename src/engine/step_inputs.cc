#include "engine/step_inputs.h"

#include <algorithm>
#include <vector>

#include "base/check.h"

namespace vexact {

StepInputs::Layout StepInputs::LayoutOf(int64_t padded_tokens) const {
  Layout layout{};
  // Every sequence of a step has a token in it.
  layout.num_sequences = std::min(padded_tokens, limits_.max_sequences);
  size_t end = 0;
  const auto place = [&end](int64_t count, size_t element_bytes) {
    const size_t begin = end;
    end = (end + static_cast<size_t>(count) * element_bytes + 15) / 16 * 16;
    return begin;
  };
  layout.token_ids = place(padded_tokens, sizeof(int32_t));
  layout.pending_slots = place(padded_tokens, sizeof(int32_t));
  layout.positions = place(padded_tokens, sizeof(int32_t));
  layout.kv_slots = place(padded_tokens, sizeof(int32_t));
  layout.query_start = place(layout.num_sequences + 1, sizeof(int32_t));
  layout.context_len = place(layout.num_sequences, sizeof(int32_t));
  layout.block_table_start = place(layout.num_sequences, sizeof(int32_t));
  layout.mask_reach = place(HasReach(limits_.mask.kind) ? padded_tokens : 0, sizeof(int32_t));
  layout.logit_token_rows = place(padded_tokens, sizeof(int32_t));
  layout.row_faults = place(padded_tokens, sizeof(uint8_t));
  layout.block_tables = end;
  return layout;
}

Result<StepInputs> StepInputs::Create(const Backend& backend, const StepInputsLimits& limits) {
  StepInputs inputs;
  inputs.limits_ = limits;
  const Layout layout = inputs.LayoutOf(limits.max_tokens);
  const size_t bytes = layout.block_tables +
                       static_cast<size_t>(layout.num_sequences) *
                           static_cast<size_t>(limits.max_blocks_per_sequence) * sizeof(int32_t);
  for (Buffer& host : inputs.host_) {
    VX_ASSIGN_OR_RETURN(host, backend.AllocateStaging(bytes));
  }
  VX_ASSIGN_OR_RETURN(inputs.device_, backend.Allocate(bytes));
  return inputs;
}

void StepInputs::Upload(const BatchInputs& inputs, int64_t padded_tokens, const Backend& backend,
                        Stream& stream) {
  const Layout layout = LayoutOf(padded_tokens);
  VX_CHECK(inputs.num_tokens() <= padded_tokens && padded_tokens <= limits_.max_tokens);
  VX_CHECK(inputs.num_sequences() <= layout.num_sequences);
  VX_CHECK(static_cast<int64_t>(inputs.logit_rows.size()) <= padded_tokens);
  const Buffer& host = host_[next_host_];
  next_host_ = 1 - next_host_;
  // Writes `values` and then `padding` up to `count` of them.
  const auto write = [&host](size_t offset, const std::vector<int32_t>& values, int64_t count,
                             int32_t padding) {
    auto* const to = reinterpret_cast<int32_t*>(host.data() + offset);
    std::fill(std::copy(values.begin(), values.end(), to), to + count, padding);
  };
  const auto num_tokens = static_cast<int32_t>(inputs.num_tokens());
  write(layout.token_ids, inputs.token_ids, padded_tokens, 0);
  write(layout.pending_slots, inputs.pending_slots, padded_tokens, -1);
  write(layout.positions, inputs.positions, padded_tokens, 0);
  write(layout.kv_slots, inputs.kv_slots, padded_tokens, -1);
  write(layout.query_start, inputs.query_start, layout.num_sequences + 1, num_tokens);
  write(layout.context_len, inputs.context_len, layout.num_sequences, 0);
  write(layout.block_table_start, inputs.block_table_start, layout.num_sequences, 0);
  if (HasReach(limits_.mask.kind)) write(layout.mask_reach, inputs.mask_reach, padded_tokens, 0);
  std::vector<int32_t> token_rows;
  for (const LogitRow& row : inputs.logit_rows) token_rows.push_back(row.token_row);
  write(layout.logit_token_rows, token_rows, padded_tokens, 0);
  std::fill_n(host.data() + layout.row_faults, padded_tokens, std::byte{0});
  const size_t bytes = layout.block_tables + inputs.block_tables.size() * sizeof(int32_t);
  VX_CHECK(bytes <= host.bytes());
  write(layout.block_tables, inputs.block_tables, static_cast<int64_t>(inputs.block_tables.size()),
        0);
  backend.Upload(device_.data(), host.data(), bytes, stream);
}

ForwardInputs StepInputs::Forward(int64_t padded_tokens) const {
  const Layout layout = LayoutOf(padded_tokens);
  const auto at = [this](size_t offset) {
    return reinterpret_cast<int32_t*>(device_.data() + offset);
  };
  ForwardInputs forward;
  forward.num_tokens = padded_tokens;
  forward.token_ids = at(layout.token_ids);
  forward.pending_slots = at(layout.pending_slots);
  forward.positions = at(layout.positions);
  forward.kv_slots = at(layout.kv_slots);
  forward.sequences = {.count = layout.num_sequences,
                       .query_start = at(layout.query_start),
                       .context_len = at(layout.context_len),
                       .block_table_start = at(layout.block_table_start),
                       .block_tables = at(layout.block_tables),
                       .mask = limits_.mask};
  if (HasReach(limits_.mask.kind)) forward.sequences.mask.reach = at(layout.mask_reach);
  forward.row_faults = reinterpret_cast<uint8_t*>(device_.data() + layout.row_faults);
  return forward;
}

const int32_t* StepInputs::LogitTokenRows(int64_t padded_tokens) const {
  return reinterpret_cast<const int32_t*>(device_.data() +
                                          LayoutOf(padded_tokens).logit_token_rows);
}

}  // namespace vexact
