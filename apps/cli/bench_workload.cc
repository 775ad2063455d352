#include "cli/bench_workload.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <utility>

#include "checkpoint/mapped_file.h"
#include "common/flags.h"
#include "common/line_reader.h"
#include "common/request_json.h"

namespace vexact {
namespace {

// Cuts the first line off `text`.
std::string_view TakeLine(std::string_view& text) {
  const size_t end = std::min(text.find('\n'), text.size());
  std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  return line;
}

std::vector<std::string_view> SplitAtCommas(std::string_view line) {
  std::vector<std::string_view> cells;
  while (true) {
    const size_t comma = line.find(',');
    cells.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return cells;
    line.remove_prefix(comma + 1);
  }
}

// The place of the first column with one of these names.
std::optional<size_t> FindColumn(const std::vector<std::string_view>& header,
                                 std::initializer_list<std::string_view> names) {
  for (size_t i = 0; i < header.size(); ++i) {
    if (std::find(names.begin(), names.end(), header[i]) != names.end()) return i;
  }
  return std::nullopt;
}

Result<int32_t> ParseLength(const std::vector<std::string_view>& cells, size_t column,
                            const std::string& where) {
  if (column >= cells.size()) {
    return InvalidArgument("{}: expected at least {} columns, found {}", where, column + 1,
                           cells.size());
  }
  const Result<int32_t> length = ParseNumber<int32_t>(cells[column]);
  if (!length.ok() || *length < 1) {
    return InvalidArgument("{}, column {}: expected a number of tokens from 1 on, found \"{}\"",
                           where, column + 1, cells[column]);
  }
  return *length;
}

// The lengths that --output-len asks for in place of a table's.
void OverrideOutputs(const std::optional<int32_t>& output_len, std::vector<RequestLengths>& rows) {
  if (!output_len) return;
  for (RequestLengths& row : rows) row.output = *output_len;
}

// The first two turns of a conversation, or null where it has fewer.
const nlohmann::json* TurnsOf(const nlohmann::json& conversation) {
  if (!conversation.is_object() || !conversation.contains("conversations")) return nullptr;
  const nlohmann::json& turns = conversation["conversations"];
  if (!turns.is_array() || turns.size() < 2) return nullptr;
  for (int i = 0; i < 2; ++i) {
    if (!turns[i].is_object() || !turns[i].contains("value") || !turns[i]["value"].is_string()) {
      return nullptr;
    }
  }
  return &turns;
}

bool IsKept(size_t prompt, size_t output) {
  return prompt >= 4 && prompt <= 1024 && output >= 4 && prompt + output <= 2048;
}

}  // namespace

void AddWorkloadFlags(CLI::App& app, WorkloadFlags& flags) {
  AddCount<int64_t>(app, "--num-requests", flags.num_requests, 1,
                    "requests [16 random ones; all of a file]");
  AddCount<int32_t>(app, "--input-len", flags.input_len, 1, "tokens of a random prompt [128]");
  const auto set_output = [&flags](const std::string& text) -> Status {
    VX_ASSIGN_OR_RETURN(const auto value, ParseNumber<int32_t>(text));
    if (value < 1) return InvalidArgument("expected at least 1, found {}", value);
    flags.output_len = value;
    return {};
  };
  AddTextFlag(app, "--output-len", set_output,
              "tokens of every output, but for --input's [64; as the file says]")
      ->type_name("INT");
  auto* const input =
      app.add_option("--input", flags.input, "requests as `vexact generate` reads them");
  input->type_name("FILE.jsonl|-");
  auto* const trace =
      app.add_option("--trace", flags.trace,
                     "random requests with the lengths of this table: columns prompt_tokens (or "
                     "prompt_len) and output_tokens (or output_len)");
  trace->type_name("FILE.csv")->excludes(input);
  app.add_option("--dataset-path", flags.dataset,
                 "conversations of a ShareGPT file: first two turns, 4 <= prompt <= 1024, output "
                 ">= 4, together <= 2048 tokens, shuffled by --seed")
      ->type_name("FILE.json")
      ->excludes(input)
      ->excludes(trace);
  AddCount<int32_t>(app, "--warmup-requests", flags.warmup_requests, 0,
                    "requests before the clock starts [2]");
}

Result<std::vector<Request>> MakeRequests(const WorkloadFlags& flags, const WorkloadSource& source,
                                          InterruptSignals& interrupts) {
  if (!flags.input.empty()) return ReadRequests(flags.input, flags.num_requests, interrupts);
  if (!flags.dataset.empty()) {
    if (source.tokenizer == nullptr) {
      return InvalidArgument("--dataset-path: expected a model with a tokenizer, found none");
    }
    VX_ASSIGN_OR_RETURN(const auto json, MappedFile::Open(flags.dataset));
    return ParseShareGpt(json->text(), flags.dataset, *source.tokenizer, flags, source.seed);
  }
  std::vector<RequestLengths> lengths;
  if (flags.trace.empty()) {
    constexpr int32_t kDefaultOutput = 64;
    lengths.assign(flags.num_requests == 0 ? 16 : flags.num_requests,
                   {flags.input_len, kDefaultOutput});
  } else {
    VX_ASSIGN_OR_RETURN(const auto csv, MappedFile::Open(flags.trace));
    VX_ASSIGN_OR_RETURN(lengths, ParseTrace(csv->text(), flags.trace, flags.num_requests));
  }
  OverrideOutputs(flags.output_len, lengths);
  return RandomRequests(lengths, source.vocab_size, source.seed);
}

std::vector<Request> WarmupRequests(const WorkloadFlags& flags, const WorkloadSource& source,
                                    int32_t max_model_len) {
  // The engine cuts outputs to the room that a prompt leaves, and refuses one that leaves none.
  const std::vector<RequestLengths> lengths(flags.warmup_requests,
                                            {std::clamp(max_model_len - 1, 1, 32), 8});
  return RandomRequests(lengths, source.vocab_size, ~source.seed);
}

Result<std::vector<RequestLengths>> ParseTrace(std::string_view csv, const std::string& file,
                                               int64_t limit) {
  const std::string_view header_line = TakeLine(csv);
  const std::vector<std::string_view> header = SplitAtCommas(header_line);
  const auto prompt_column = FindColumn(header, {"prompt_tokens", "prompt_len", "input_len"});
  const auto output_column = FindColumn(header, {"output_tokens", "output_len"});
  if (!prompt_column || !output_column) {
    return InvalidArgument(
        "{}: expected columns prompt_tokens (or prompt_len, input_len) and output_tokens (or "
        "output_len), found \"{}\"",
        file, header_line);
  }
  std::vector<RequestLengths> rows;
  for (int64_t number = 2; !csv.empty(); ++number) {
    if (limit > 0 && static_cast<int64_t>(rows.size()) == limit) break;
    const std::string_view line = TakeLine(csv);
    if (line.empty()) continue;
    const std::vector<std::string_view> cells = SplitAtCommas(line);
    const std::string where = fmt::format("{}: line {}", file, number);
    RequestLengths row;
    VX_ASSIGN_OR_RETURN(row.prompt, ParseLength(cells, *prompt_column, where));
    VX_ASSIGN_OR_RETURN(row.output, ParseLength(cells, *output_column, where));
    rows.push_back(row);
  }
  if (rows.empty()) return InvalidArgument("{}: expected requests, found none", file);
  return rows;
}

std::vector<Request> RandomRequests(const std::vector<RequestLengths>& lengths, int32_t vocab_size,
                                    int64_t seed) {
  std::mt19937_64 random(static_cast<uint64_t>(seed));
  std::vector<Request> requests;
  for (const RequestLengths& row : lengths) {
    std::vector<int32_t> ids(row.prompt);
    for (int32_t& id : ids) {
      id = static_cast<int32_t>(random() % static_cast<uint64_t>(vocab_size));
    }
    Request& request = requests.emplace_back();
    request.prompt_token_ids = std::move(ids);
    request.sampling.max_tokens = row.output;
  }
  return requests;
}

Result<std::vector<Request>> ParseShareGpt(std::string_view json, const std::string& file,
                                           const Tokenizer& tokenizer, const WorkloadFlags& flags,
                                           int64_t seed) {
  const nlohmann::json conversations =
      nlohmann::json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!conversations.is_array()) {
    return InvalidArgument("{}: expected a JSON list of conversations, found {}", file,
                           conversations.is_discarded() ? "no JSON" : conversations.type_name());
  }
  std::mt19937_64 random(static_cast<uint64_t>(seed));
  std::vector<size_t> order(conversations.size());
  for (size_t i = 0; i < order.size(); ++i) {
    order[i] = i;
    std::swap(order[i], order[random() % (i + 1)]);
  }
  std::vector<Request> requests;
  for (const size_t i : order) {
    const auto limit = static_cast<size_t>(flags.num_requests);
    if (limit > 0 && requests.size() == limit) break;
    const nlohmann::json* const turns = TurnsOf(conversations[i]);
    if (turns == nullptr) continue;
    const auto tokens_of = [&](int turn) {
      return tokenizer.Encode((*turns)[turn]["value"].get_ref<const std::string&>(), {});
    };
    std::vector<int32_t> prompt = tokens_of(0);
    const auto output =
        flags.output_len ? *flags.output_len : static_cast<int32_t>(tokens_of(1).size());
    if (!IsKept(prompt.size(), static_cast<size_t>(output))) continue;
    Request& request = requests.emplace_back();
    request.prompt_token_ids = std::move(prompt);
    request.sampling.max_tokens = output;
  }
  if (requests.empty()) {
    return InvalidArgument("{}: expected conversations of fitting lengths, found none", file);
  }
  return requests;
}

Result<std::vector<Request>> ReadRequests(const std::string& path, int64_t limit,
                                          InterruptSignals& interrupts) {
  VX_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path));
  const auto keep_waiting = [&interrupts] {
    interrupts.EndProcessIfTriggered();
    return true;
  };
  std::vector<Request> requests;
  LineReader::Line line;
  while (limit == 0 || static_cast<int64_t>(requests.size()) < limit) {
    VX_ASSIGN_OR_RETURN(const auto outcome, reader.Next(keep_waiting, line));
    if (outcome != LineReader::Outcome::kLine) break;
    const std::string where = fmt::format("{}: line {}", path, line.number);
    if (line.too_long) {
      return InvalidArgument("{}: expected at most {} bytes, found more", where,
                             LineReader::kMaxLineBytes);
    }
    if (line.text.find_first_not_of(" \t") == std::string::npos) continue;
    VX_ASSIGN_OR_RETURN(ParsedRequest parsed,
                        ParseRequest(line.text, RequestKind::kGenerate, SamplingParams(), where));
    if (parsed.chat) return Unsupported("{}: \"messages\": not supported in a benchmark", where);
    requests.push_back(std::move(parsed.request));
  }
  if (requests.empty()) return InvalidArgument("{}: expected requests, found none", path);
  return requests;
}

}  // namespace vexact
