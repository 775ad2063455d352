#include "engine/prepare.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "base/philox.h"
#include "engine/attention_choice.h"
#include "request/token_ids.h"
#include "scheduler/scheduler.h"

namespace vexact {
namespace {

Result<std::vector<int32_t>> PromptIds(Request* request, const PrepareContext& context) {
  std::vector<int32_t> ids;
  if (request->prompt_token_ids) {
    ids = std::move(*request->prompt_token_ids);
  } else if (context.tokenizer == nullptr) {
    return InvalidArgument("prompt_token_ids: expected token ids (no tokenizer), found none");
  } else {
    ids = context.tokenizer->Encode(request->prompt, {});
  }
  if (ids.empty()) return InvalidArgument("prompt: expected at least one token, found none");
  VX_RETURN_IF_ERROR(CheckTokenIds("prompt_token_ids", ids, context.vocab_size));
  return ids;
}

// As vLLM: each word as it begins a text, and as it follows a space if that is another single form.
Status TokenizeBadWords(const PrepareContext& context, SamplingParams* params) {
  if (params->bad_words.empty()) return {};
  if (context.tokenizer == nullptr) {
    return InvalidArgument("bad_words: expected none without a tokenizer, found {}",
                           params->bad_words.size());
  }
  for (const std::string& word : params->bad_words) {
    const std::string bare = word.substr(std::min(word.find_first_not_of(' '), word.size()));
    const EncodeOptions options = {.add_special_tokens = false};
    std::vector<int32_t> ids = context.tokenizer->Encode(bare, options);
    if (ids.empty())
      return InvalidArgument("bad_words: expected words of some tokens, found \"{}\"", word);
    std::vector<int32_t> spaced = context.tokenizer->Encode(" " + bare, options);
    const bool other_form = spaced.front() != ids.front() && spaced.size() == ids.size();
    params->bad_word_ids.push_back(std::move(ids));
    if (other_form) params->bad_word_ids.push_back(std::move(spaced));
  }
  for (const std::vector<int32_t>& ids : params->bad_word_ids) {
    VX_RETURN_IF_ERROR(CheckTokenIds("bad_words", ids, context.vocab_size));
  }
  return {};
}

Status CheckCompletion(const Request& request, const PrepareContext& context) {
  if (request.redraw_sample_index &&
      (!request.completion_token_ids || *request.redraw_sample_index < 0)) {
    return InvalidArgument("redraw_sample_index: expected at least 0, with a completion, found {}",
                           *request.redraw_sample_index);
  }
  if (!request.completion_token_ids) return {};
  if (request.completion_token_ids->empty()) {
    return InvalidArgument("completion: expected at least one token, found none");
  }
  if (request.sampling.n != 1) {
    return InvalidArgument("n: expected 1 with a completion, found {}", request.sampling.n);
  }
  return CheckTokenIds("completion_token_ids", *request.completion_token_ids, context.vocab_size);
}

Status CheckLength(const PreparedRequest& prepared, const PrepareContext& context) {
  const EngineConfig& config = context.resolved.config;
  const auto prompt = static_cast<int64_t>(prepared.prompt_token_ids->size());
  if (prepared.completion_token_ids) {
    const auto completion = static_cast<int64_t>(prepared.completion_token_ids->size());
    if (prompt + completion > config.max_model_len) {
      return InvalidArgument(
          "prompt and completion: expected at most max_model_len ({}) tokens, found {} + {}",
          config.max_model_len, prompt, completion);
    }
  } else if (prompt >= config.max_model_len) {
    return InvalidArgument(
        "prompt: expected at most {} tokens (one less than max_model_len), found {}",
        config.max_model_len - 1, prompt);
  }
  const int64_t blocks = Scheduler::BlocksNeeded(
      prompt, MaxOutputTokens(prepared, config.max_model_len), config.block_size);
  if (blocks > context.resolved.num_blocks) {
    return MakeError(ErrorCode::kResourceExhausted,
                     "max_tokens: expected that it and the prompt need at most {} KV blocks of {} "
                     "tokens (kv_cache_memory_bytes), found {}",
                     context.resolved.num_blocks, config.block_size, blocks);
  }
  return {};
}

Error FieldOfOtherMask(std::string_view field, std::string_view mask, const EngineConfig& config) {
  return InvalidArgument("{}: expected in an engine with mask {} only, found mask {}", field, mask,
                         config.mask);
}

// 0 where the mask shows no more than the causal one.
Result<int32_t> PrefixLen(const Request& request, int64_t prompt, const EngineConfig& config) {
  const int32_t prefix_len = request.prefix_len.value_or(0);
  if (prefix_len < 0 || prefix_len > prompt) {
    return InvalidArgument("prefix_len: expected 0 to the prompt's tokens ({}), found {}", prompt,
                           prefix_len);
  }
  if (prefix_len > config.max_num_batched_tokens) {
    return InvalidArgument(
        "prefix_len: expected at most max_num_batched_tokens ({}), for a prefix is computed in one "
        "step, found {}",
        config.max_num_batched_tokens, prefix_len);
  }
  return prefix_len > 1 ? prefix_len : 0;
}

Result<std::vector<int32_t>> DocumentStarts(const Request& request, int64_t prompt) {
  std::vector<int32_t> starts;
  if (!request.document_ids) return starts;
  const std::vector<int32_t>& ids = *request.document_ids;
  if (static_cast<int64_t>(ids.size()) != prompt) {
    return InvalidArgument(
        "document_ids: expected one for each of the prompt's tokens ({}), found {}", prompt,
        ids.size());
  }
  std::unordered_set<int32_t> ended;
  for (size_t i = 1; i < ids.size(); ++i) {
    if (ids[i] == ids[i - 1]) continue;
    ended.insert(ids[i - 1]);
    if (ended.contains(ids[i])) {
      return InvalidArgument(
          "document_ids: expected the tokens of a document side by side, found {} again at token "
          "{}",
          ids[i], i);
    }
    starts.push_back(static_cast<int32_t>(i));
  }
  return starts;
}

// `prompt`: its tokens.
Result<SequenceMask> MaskOf(const Request& request, int64_t prompt, const EngineConfig& config) {
  SequenceMask mask{.kind = MaskKindOf(config.mask)};
  if (request.prefix_len && mask.kind != MaskKind::kPrefixLm) {
    return FieldOfOtherMask("prefix_len", "prefix-lm", config);
  }
  if (request.document_ids && mask.kind != MaskKind::kDocument) {
    return FieldOfOtherMask("document_ids", "document", config);
  }
  VX_ASSIGN_OR_RETURN(mask.prefix_len, PrefixLen(request, prompt, config));
  VX_ASSIGN_OR_RETURN(mask.document_starts, DocumentStarts(request, prompt));
  return mask;
}

}  // namespace

int32_t MaxOutputTokens(const PreparedRequest& request, int32_t max_model_len) {
  if (request.completion_token_ids) {
    return static_cast<int32_t>(request.completion_token_ids->size());
  }
  const auto prompt = static_cast<int32_t>(request.prompt_token_ids->size());
  return std::min(request.sampling->max_tokens, max_model_len - prompt);
}

int64_t DeriveSeed(int64_t engine_seed, int64_t index) {
  const auto bits = static_cast<uint64_t>(index);
  const PhiloxCounter words =
      Philox4x32({static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32), 0, 1},
                 static_cast<uint64_t>(engine_seed));
  return static_cast<int64_t>((words[0] | uint64_t{words[1]} << 32) >> 11);
}

Result<PreparedRequest> PrepareRequest(Request request, RequestId id,
                                       const PrepareContext& context) {
  const EngineConfig& config = context.resolved.config;
  VX_RETURN_IF_ERROR(ValidateSamplingParams(request.sampling, context.vocab_size));
  if (!(request.timeout_s >= 0.0)) {
    return InvalidArgument("timeout_s: expected at least 0, found {}", request.timeout_s);
  }
  if (context.tokenizer == nullptr && !request.sampling.stop.empty()) {
    return InvalidArgument("stop: expected none without a tokenizer, found {}",
                           request.sampling.stop.size());
  }
  VX_RETURN_IF_ERROR(CheckCompletion(request, context));
  VX_ASSIGN_OR_RETURN(std::vector<int32_t> prompt, PromptIds(&request, context));
  SamplingParams params = std::move(request.sampling);
  VX_RETURN_IF_ERROR(TokenizeBadWords(context, &params));
  if (!params.seed) params.seed = DeriveSeed(config.seed, request.index.value_or(id));
  if (request.completion_token_ids && !params.logprobs) params.logprobs = 0;

  PreparedRequest prepared;
  VX_ASSIGN_OR_RETURN(prepared.mask, MaskOf(request, static_cast<int64_t>(prompt.size()), config));
  prepared.id = id;
  prepared.prompt_token_ids = std::make_shared<const std::vector<int32_t>>(std::move(prompt));
  prepared.completion_token_ids = std::move(request.completion_token_ids);
  prepared.redraw_sample_index = request.redraw_sample_index;
  prepared.sampling = std::make_shared<const SamplingParams>(std::move(params));
  prepared.cache_salt = std::move(request.cache_salt);
  prepared.timeout_s = request.timeout_s > 0.0 ? request.timeout_s : config.request_timeout_s;
  VX_RETURN_IF_ERROR(CheckLength(prepared, context));
  return prepared;
}

}  // namespace vexact
