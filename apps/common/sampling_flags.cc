#include "common/sampling_flags.h"

#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "common/flags.h"
#include "common/request_json.h"

namespace vexact {
namespace {

constexpr const char* kGroup = "Sampling: defaults for requests that do not say";

template <typename T>
struct Unwrapped {
  using Type = T;
};
template <typename T>
struct Unwrapped<std::optional<T>> {
  using Type = T;
};

// "1,2,3"
Result<std::vector<int32_t>> ParseTokenIds(std::string_view text) {
  std::vector<int32_t> ids;
  while (true) {
    const size_t comma = text.find(',');
    VX_ASSIGN_OR_RETURN(const int32_t id, ParseNumber<int32_t>(text.substr(0, comma)));
    ids.push_back(id);
    if (comma == std::string_view::npos) return ids;
    text.remove_prefix(comma + 1);
  }
}

// "1:0.5,2:-3"
Result<std::vector<std::pair<int32_t, double>>> ParseBiases(std::string_view text) {
  std::vector<std::pair<int32_t, double>> biases;
  while (true) {
    const size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    const size_t colon = item.find(':');
    if (colon == std::string_view::npos) {
      return InvalidArgument("expected ID:BIAS,ID:BIAS,..., found \"{}\"", item);
    }
    VX_ASSIGN_OR_RETURN(const int32_t id, ParseNumber<int32_t>(item.substr(0, colon)));
    VX_ASSIGN_OR_RETURN(const double bias, ParseNumber<double>(item.substr(colon + 1)));
    biases.emplace_back(id, bias);
    if (comma == std::string_view::npos) return biases;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

template <typename Member>
void SamplingFlags::AddNumber(CLI::App& app, const std::string& names,
                              Member SamplingParams::*member, const std::string& help) {
  using Number = typename Unwrapped<Member>::Type;
  const auto set = [this, member](Number value) {
    overrides_.push_back([member, value](SamplingParams& params) { params.*member = value; });
  };
  AddNumberFlag<Number>(app, names, set, help)->group(kGroup);
}

template <typename Member>
void SamplingFlags::AddTokenIds(CLI::App& app, const std::string& names,
                                Member SamplingParams::*member, const std::string& help) {
  const auto set = [this, member](const std::string& text) -> Status {
    VX_ASSIGN_OR_RETURN(auto ids, ParseTokenIds(text));
    overrides_.push_back([member, ids](SamplingParams& params) { params.*member = ids; });
    return {};
  };
  AddTextFlag(app, names, set, help)->type_name("ID,ID,...")->group(kGroup);
}

void SamplingFlags::AddStrings(CLI::App& app, const std::string& names,
                               std::vector<std::string> SamplingParams::*member,
                               const std::string& help) {
  const auto set = [this, member](const std::vector<std::string>& texts) {
    overrides_.push_back([member, texts](SamplingParams& params) { params.*member = texts; });
  };
  app.add_option_function<std::vector<std::string>>(names, set, help + "; repeat for more")
      ->allow_extra_args(false)
      ->type_name("TEXT")
      ->group(kGroup);
}

void SamplingFlags::AddSwitch(CLI::App& app, const std::string& names, bool SamplingParams::*member,
                              bool value, const std::string& help) {
  const auto set = [this, member, value] {
    overrides_.push_back([member, value](SamplingParams& params) { params.*member = value; });
  };
  app.add_flag_callback(names, set, help)->group(kGroup);
}

void SamplingFlags::AddProcessing(CLI::App& app) {
  AddNumber(app, "--temperature", &SamplingParams::temperature, "0 is greedy [1]");
  AddNumber(app, "--top-p", &SamplingParams::top_p,
            "keep the likeliest tokens that reach this probability; 1 is off [1]");
  AddNumber(app, "--top-k", &SamplingParams::top_k,
            "keep this many of the likeliest tokens; 0 is off [0]");
  AddNumber(app, "--min-p", &SamplingParams::min_p,
            "keep tokens of at least this share of the likeliest one's probability; 0 is off [0]");
  AddNumber(app, "--presence-penalty", &SamplingParams::presence_penalty,
            "subtracted from the logit of every token that the output has [0]");
  AddNumber(app, "--frequency-penalty", &SamplingParams::frequency_penalty,
            "the same, times how often the output has it [0]");
  AddNumber(app, "--repetition-penalty", &SamplingParams::repetition_penalty,
            "divides positive and multiplies negative logits of tokens in prompt or output [1]");
  AddNumber(app, "--min-tokens", &SamplingParams::min_tokens,
            "no stop token and no stop string before this many tokens [0]");
  AddSwitch(app, "--ignore-eos", &SamplingParams::ignore_eos, true,
            "the model's own stop tokens do not end an output");
}

void SamplingFlags::AddTokenLists(CLI::App& app) {
  const auto set_biases = [this](const std::string& text) -> Status {
    VX_ASSIGN_OR_RETURN(auto biases, ParseBiases(text));
    overrides_.push_back([biases](SamplingParams& params) { params.logit_bias = biases; });
    return {};
  };
  AddTextFlag(app, "--logit-bias", set_biases, "added to the logits of these tokens")
      ->type_name("ID:BIAS,...")
      ->group(kGroup);
  AddTokenIds(app, "--allowed-token-ids", &SamplingParams::allowed_token_ids,
              "the only tokens that may be drawn");
  AddTokenIds(app, "--stop-token-ids", &SamplingParams::stop_token_ids,
              "tokens that end an output, beside the model's own");
  AddStrings(app, "--bad-words", &SamplingParams::bad_words, "a text that may not be generated");
}

void SamplingFlags::AddChoosing(CLI::App& app) {
  AddNumber(app, "--max-tokens", &SamplingParams::max_tokens, "tokens of an output at most [16]");
  AddNumber(app, "--n,-n", &SamplingParams::n, "independent outputs of each prompt [1]");
  AddNumber(app, "--sampling-seed", &SamplingParams::seed,
            "the seed of requests without one [drawn from --seed and the request's index]");
  AddStrings(app, "--stop", &SamplingParams::stop, "a text that ends an output");
  AddSwitch(app, "--include-stop-str-in-output", &SamplingParams::include_stop_str_in_output, true,
            "keep the stop string in the text");
}

void SamplingFlags::AddOutput(CLI::App& app) {
  AddSwitch(app, "--no-skip-special-tokens", &SamplingParams::skip_special_tokens, false,
            "show special tokens in the text");
  AddSwitch(app, "--no-detokenize", &SamplingParams::detokenize, false, "token ids only, no text");
}

void SamplingFlags::AddReports(CLI::App& app) {
  AddNumber(app, "--logprobs", &SamplingParams::logprobs,
            "report each output token's logprob and rank, and this many of the likeliest; 0: its "
            "own only [off]");
  AddNumber(app, "--prompt-logprobs", &SamplingParams::prompt_logprobs,
            "the same for the prompt's tokens [off]");
  const auto set_mode = [this](const std::string& text) -> Status {
    VX_ASSIGN_OR_RETURN(const LogprobsMode mode, ParseLogprobsMode(text));
    overrides_.push_back([mode](SamplingParams& params) { params.logprobs_mode = mode; });
    return {};
  };
  AddTextFlag(app, "--logprobs-mode", set_mode,
              "raw_logprobs: of the model's logits; processed_logprobs: after penalties, "
              "temperature and filters [raw_logprobs]")
      ->type_name("NAME")
      ->group(kGroup);
  const auto set_config = [this](const std::string& text) -> Status {
    use_model_defaults_ = text == "auto";
    if (use_model_defaults_ || text == "vllm") return {};
    return InvalidArgument("expected auto or vllm, found \"{}\"", text);
  };
  AddTextFlag(app, "--generation-config", set_config,
              "auto: temperature, top-p, top-k, min-p and repetition penalty from the model's "
              "generation_config.json; vllm: the neutral ones [vllm]")
      ->type_name("NAME")
      ->group(kGroup);
}

void SamplingFlags::AddForGenerate(CLI::App& app) {
  AddChoosing(app);
  AddProcessing(app);
  AddTokenLists(app);
  AddReports(app);
  AddOutput(app);
}

void SamplingFlags::AddForScore(CLI::App& app) {
  AddProcessing(app);
  AddTokenLists(app);
  AddReports(app);
  AddOutput(app);
}

SamplingParams SamplingFlags::Defaults(const GenerationDefaults& model,
                                       SamplingParams params) const {
  if (use_model_defaults_) {
    params.temperature = model.temperature.value_or(params.temperature);
    params.top_p = model.top_p.value_or(params.top_p);
    params.top_k = model.top_k.value_or(params.top_k);
    params.min_p = model.min_p.value_or(params.min_p);
    params.repetition_penalty = model.repetition_penalty.value_or(params.repetition_penalty);
  }
  for (const auto& apply : overrides_) apply(params);
  return params;
}

Status SamplingFlags::Check() const {
  SamplingParams params = Defaults({});
  // A line may say a larger max_tokens.
  params.max_tokens = std::numeric_limits<int32_t>::max();
  return ValidateSamplingParams(params, std::numeric_limits<int32_t>::max());
}

}  // namespace vexact
