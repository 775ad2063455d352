#include "support/safetensors_writer.h"

#include <cstring>
#include <nlohmann/json.hpp>

namespace vexact {

std::string SafetensorsBytes(std::string_view header_json, std::string_view data) {
  const uint64_t size = header_json.size();
  std::string bytes(reinterpret_cast<const char*>(&size), sizeof(size));
  bytes += header_json;
  bytes += data;
  return bytes;
}

std::string SafetensorsBytes(const std::vector<SafetensorsEntry>& entries) {
  nlohmann::json header = nlohmann::json::object();
  std::string data;
  for (const SafetensorsEntry& entry : entries) {
    header[entry.name] = {{"dtype", entry.dtype},
                          {"shape", entry.shape},
                          {"data_offsets", {data.size(), data.size() + entry.data.size()}}};
    data += entry.data;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');
  return SafetensorsBytes(text, data);
}

std::vector<SafetensorsEntry> SafetensorsEntries(std::string_view bytes) {
  uint64_t size = 0;
  std::memcpy(&size, bytes.data(), sizeof(size));
  const auto header = nlohmann::json::parse(bytes.substr(sizeof(size), size));
  const std::string_view data = bytes.substr(sizeof(size) + size);
  std::vector<SafetensorsEntry> entries;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    const size_t begin = entry["data_offsets"][0];
    const size_t end = entry["data_offsets"][1];
    entries.push_back(
        {name, entry["dtype"], entry["shape"], std::string(data.substr(begin, end - begin))});
  }
  return entries;
}

}  // namespace vexact
