// What a receipt is compared with: this program's model, and a replay.

#include <algorithm>

#include "common/receipt.h"

namespace vexact {
namespace {

std::string WordText(float value) { return fmt::format("\"{:08x}\"", CanonicalWord(value)); }

std::string IdText(const std::vector<TokenLogprob>& tokens, size_t i) {
  return i < tokens.size() ? fmt::format("{}", tokens[i].token_id) : "null";
}

std::string StopReasonText(const StopReason& reason) {
  if (const auto* id = std::get_if<int32_t>(&reason)) return fmt::format("{}", *id);
  std::string text = "null";
  if (const auto* stop = std::get_if<std::string>(&reason)) {
    text.clear();
    AppendJsonString(*stop, text);
  }
  return text;
}

std::string QuotedText(const std::string& text) {
  std::string quoted;
  AppendJsonString(text, quoted);
  return quoted;
}

// Without output and position.
std::optional<Difference> CompareField(std::string field, std::string receipt, std::string replay) {
  if (receipt == replay) return std::nullopt;
  return Difference{std::nullopt, std::nullopt, std::move(field), std::move(receipt),
                    std::move(replay)};
}

std::optional<Difference> CompareTop(const std::vector<TopLogprob>& receipt,
                                     const std::vector<TopLogprob>& replay) {
  const size_t common = std::min(receipt.size(), replay.size());
  for (size_t k = 0; k < common; ++k) {
    if (auto d =
            CompareField(fmt::format("top[{}].token_id", k), fmt::format("{}", receipt[k].token_id),
                         fmt::format("{}", replay[k].token_id))) {
      return d;
    }
    if (auto d = CompareField(fmt::format("top[{}].logprob", k), WordText(receipt[k].logprob),
                              WordText(replay[k].logprob))) {
      return d;
    }
  }
  return CompareField("top", fmt::format("{}", receipt.size()), fmt::format("{}", replay.size()));
}

std::optional<Difference> CompareToken(const TokenLogprob& receipt, const TokenLogprob& replay) {
  if (auto d = CompareField("logprob", WordText(receipt.logprob), WordText(replay.logprob))) {
    return d;
  }
  if (auto d =
          CompareField("rank", fmt::format("{}", receipt.rank), fmt::format("{}", replay.rank))) {
    return d;
  }
  return CompareTop(receipt.top, replay.top);
}

// Of the receipt's tokens all, or with `may_be_cut` those that it has.
std::optional<Difference> CompareTokens(const std::vector<TokenLogprob>& receipt,
                                        const std::vector<TokenLogprob>& replay, bool may_be_cut) {
  const size_t length = may_be_cut ? receipt.size() : std::max(receipt.size(), replay.size());
  for (size_t i = 0; i < length; ++i) {
    auto difference = CompareField("token_id", IdText(receipt, i), IdText(replay, i));
    if (!difference) difference = CompareToken(receipt[i], replay[i]);
    if (!difference) continue;
    difference->position = static_cast<int32_t>(i);
    return difference;
  }
  return std::nullopt;
}

// Ended from outside.
bool WasCut(const SampleResult& sample) {
  return sample.finish_reason == FinishReason::kAbort ||
         sample.finish_reason == FinishReason::kTimeout;
}

std::optional<Difference> CompareSamples(const SampleResult& receipt, const SampleResult& replay) {
  const bool was_cut = WasCut(receipt);
  if (auto d = CompareTokens(receipt.logprobs, replay.logprobs, was_cut)) return d;
  if (was_cut) return std::nullopt;
  if (auto d = CompareField("finish_reason",
                            QuotedText(std::string(FinishReasonName(receipt.finish_reason))),
                            QuotedText(std::string(FinishReasonName(replay.finish_reason))))) {
    return d;
  }
  if (auto d = CompareField("stop_reason", StopReasonText(receipt.stop_reason),
                            StopReasonText(replay.stop_reason))) {
    return d;
  }
  return CompareField("error", QuotedText(receipt.error), QuotedText(replay.error));
}

Status CheckSame(std::string_view field, const std::string& model, const std::string& receipt) {
  if (model == receipt) return {};
  return InvalidArgument("\"{}\": expected this model's, {}, found {}", field, model, receipt);
}

}  // namespace

Status CheckModel(const ModelIdentity& model, const ModelIdentity& of_receipt) {
  const auto name_of = [](const std::string& id) { return id.empty() ? "none" : id; };
  VX_RETURN_IF_ERROR(CheckSame("profile", model.profile, of_receipt.profile));
  VX_RETURN_IF_ERROR(CheckSame("weights_id", model.weights_id, of_receipt.weights_id));
  VX_RETURN_IF_ERROR(
      CheckSame("tokenizer_id", name_of(model.tokenizer_id), name_of(of_receipt.tokenizer_id)));
  VX_RETURN_IF_ERROR(CheckSame("mask", model.mask, of_receipt.mask));
  return CheckSame("eos_token_ids", fmt::format("[{}]", fmt::join(model.eos_token_ids, ", ")),
                   fmt::format("[{}]", fmt::join(of_receipt.eos_token_ids, ", ")));
}

std::optional<Difference> FirstDifference(const RequestResult& receipt,
                                          const RequestResult& replay) {
  if (replay.failed() && !receipt.failed()) {
    const auto failed =
        std::ranges::find(replay.samples, FinishReason::kError, &SampleResult::finish_reason);
    return CompareField("error", QuotedText(""), QuotedText(failed->error));
  }
  // A request that was cut before its first token had nothing to report of its prompt yet.
  const bool had_begun = !WasCut(receipt.samples.at(0)) || !receipt.samples[0].logprobs.empty();
  if (auto d = CompareTokens(receipt.prompt_logprobs, replay.prompt_logprobs, !had_begun)) {
    d->field = "prompt_logprobs." + d->field;
    ++*d->position;  // the first token has none
    return d;
  }
  if (auto d = CompareField("outputs", fmt::format("{}", receipt.samples.size()),
                            fmt::format("{}", replay.samples.size()))) {
    return d;
  }
  for (size_t i = 0; i < receipt.samples.size(); ++i) {
    auto difference = CompareSamples(receipt.samples[i], replay.samples[i]);
    if (!difference) continue;
    difference->output = static_cast<int32_t>(i);
    return difference;
  }
  return std::nullopt;
}

}  // namespace vexact
