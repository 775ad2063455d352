#include "cli/digest_file.h"

#include <nlohmann/json.hpp>

#include "checkpoint/mapped_file.h"
#include "common/output_file.h"

namespace vexact {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

const std::vector<int64_t>& DigestRows() {
  static const std::vector<int64_t> kRows(std::begin(kDigestRows), std::end(kDigestRows));
  return kRows;
}

bool IsOperator(const json& entry) {
  if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string()) return false;
  if (!entry.contains("digests") || !entry["digests"].is_array()) return false;
  if (entry["digests"].size() != DigestRows().size()) return false;
  for (const json& digest : entry["digests"]) {
    if (!digest.is_string()) return false;
  }
  return true;
}

}  // namespace

Result<DigestFile> ReadDigestFile(const std::string& path) {
  VX_ASSIGN_OR_RETURN(const auto mapped, MappedFile::Open(path));
  const json file = json::parse(mapped->text(), nullptr, /*allow_exceptions=*/false);
  if (!file.is_object() || !file.contains("rows") || !file.contains("operators") ||
      !file["operators"].is_array()) {
    return InvalidArgument("{}: expected a file of vexact doctor --record-digests, found {}", path,
                           file.is_discarded() ? "no JSON" : file.type_name());
  }
  if (file["rows"] != json(DigestRows())) {
    return InvalidArgument("{}: \"rows\": expected {}, found {}", path, json(DigestRows()).dump(),
                           file["rows"].dump());
  }
  DigestFile digests;
  if (file.contains("device") && file["device"].is_string()) digests.device = file["device"];
  for (const json& entry : file["operators"]) {
    if (!IsOperator(entry)) {
      return InvalidArgument("{}: \"operators\": expected a name and {} digests, found {}", path,
                             DigestRows().size(), entry.dump().substr(0, 80));
    }
    digests.operators.push_back({entry["name"], entry["digests"]});
  }
  return digests;
}

Status WriteDigestFile(const std::string& path, const DigestFile& file) {
  ordered_json operators = ordered_json::array();
  for (const OperatorDigests& digests : file.operators) {
    operators.push_back({{"name", digests.name}, {"digests", digests.blocks}});
  }
  const ordered_json whole = {
      {"device", file.device}, {"rows", DigestRows()}, {"operators", std::move(operators)}};
  VX_ASSIGN_OR_RETURN(OutputFile output, OutputFile::Open(path));
  output.WriteLine(whole.dump(1));
  return output.Close();
}

}  // namespace vexact
