// Writes safetensors files for tests.
#ifndef VEXACT_TESTS_SUPPORT_SAFETENSORS_WRITER_H_
#define VEXACT_TESTS_SUPPORT_SAFETENSORS_WRITER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vexact {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;  // "BF16"
  std::vector<int64_t> shape;
  std::string data;
};

// Header size, header as given, data as given.
std::string SafetensorsBytes(std::string_view header_json, std::string_view data);

// A well-formed file of the entries, in their order.
std::string SafetensorsBytes(const std::vector<SafetensorsEntry>& entries);

// The entries of a well-formed file.
std::vector<SafetensorsEntry> SafetensorsEntries(std::string_view bytes);

}  // namespace vexact

#endif  // VEXACT_TESTS_SUPPORT_SAFETENSORS_WRITER_H_
