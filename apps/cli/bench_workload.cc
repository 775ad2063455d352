#include "cli/bench_workload.h"

#include <algorithm>
#include <optional>
#include <random>
#include <utility>

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

}  // namespace

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

Result<std::vector<Request>> ReadRequests(const std::string& path, int64_t limit) {
  VX_ASSIGN_OR_RETURN(LineReader reader, LineReader::Open(path));
  std::vector<Request> requests;
  LineReader::Line line;
  while (limit == 0 || static_cast<int64_t>(requests.size()) < limit) {
    VX_ASSIGN_OR_RETURN(const auto outcome, reader.Next([] { return true; }, line));
    if (outcome != LineReader::Outcome::kLine) break;
    if (!line.too_long && line.text.find_first_not_of(" \t") == std::string::npos) continue;
    VX_ASSIGN_OR_RETURN(ParsedRequest parsed,
                        ParseRequest(line.text, RequestKind::kGenerate, SamplingParams(),
                                     fmt::format("{}: line {}", path, line.number)));
    if (parsed.chat) {
      return Unsupported("{}: line {}: \"messages\": not supported in a benchmark", path,
                         line.number);
    }
    requests.push_back(std::move(parsed.request));
  }
  if (requests.empty()) return InvalidArgument("{}: expected requests, found none", path);
  return requests;
}

}  // namespace vexact
