#include "support/oracle.h"
#include "support/paths.h"

#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/check.h"

namespace vexact {

std::string TestDataPath(const std::string& name) { return SourceDir() + "/tests/data/" + name; }

std::vector<std::byte> ReadTestFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  VX_CHECK(file.good(), path);
  std::vector<std::byte> bytes(static_cast<size_t>(file.tellg()));
  file.seekg(0);
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  VX_CHECK(file.good(), path);
  return bytes;
}

Oracle::Oracle(const std::string& path) {
  const std::vector<std::byte> file = ReadTestFile(path);
  uint64_t header_bytes = 0;
  VX_CHECK(file.size() > sizeof(header_bytes), path);
  std::memcpy(&header_bytes, file.data(), sizeof(header_bytes));
  VX_CHECK(header_bytes <= file.size() - sizeof(header_bytes), path);
  const char* header = reinterpret_cast<const char*>(file.data()) + sizeof(header_bytes);
  const auto json = nlohmann::json::parse(header, header + header_bytes);
  const auto data = std::span(file).subspan(sizeof(header_bytes) + header_bytes);
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") continue;
    const auto offsets = entry.at("data_offsets").get<std::vector<size_t>>();
    VX_CHECK(offsets.size() == 2 && offsets[0] <= offsets[1] && offsets[1] <= data.size(), name);
    tensors_[name] = {entry.at("dtype").get<std::string>(),
                      entry.at("shape").get<std::vector<int64_t>>(),
                      {data.begin() + static_cast<ptrdiff_t>(offsets[0]),
                       data.begin() + static_cast<ptrdiff_t>(offsets[1])}};
  }
}

const OracleTensor& Oracle::Get(const std::string& name) const {
  const auto found = tensors_.find(name);
  VX_CHECK(found != tensors_.end(), name);
  return found->second;
}

const Oracle& OperatorOracle() {
  static const Oracle oracle(TestDataPath("oracle/oracle_operators.safetensors"));
  return oracle;
}

}  // namespace vexact
