#include "checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "checkpoint/json_fields.h"

namespace vexact {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little);

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's own limit
constexpr size_t kMaxDimensions = 8;

Result<DType> ReadDType(const JsonFields& fields, std::string_view tensor,
                        const std::string& file) {
  VX_ASSIGN_OR_RETURN(const std::optional<std::string> name, fields.OptionalString("dtype"));
  if (name == "BF16") return DType::kBf16;
  if (name == "F16") return DType::kF16;
  if (name == "F32") return DType::kF32;
  return Unsupported("{}: tensor \"{}\": expected dtype BF16, F16 or F32, found {}", file, tensor,
                     name ? name->substr(0, 32) : "none");
}

// Sizes of at least 0 whose product, made bytes, fits in int64.
Result<std::vector<int64_t>> ReadShape(const JsonFields& fields) {
  const json* value = fields.Find("shape");
  std::vector<int64_t> shape;
  int64_t elements = 1;
  const Error error = fields.Expected(
      "shape", fmt::format("a list of at most {} sizes whose product fits", kMaxDimensions));
  if (value == nullptr || !value->is_array() || value->size() > kMaxDimensions) return error;
  for (const json& size : *value) {
    if (!size.is_number_unsigned() || !std::in_range<int64_t>(size.get<uint64_t>())) return error;
    shape.push_back(size.get<int64_t>());
    if (__builtin_mul_overflow(elements, shape.back(), &elements)) return error;
  }
  if (elements > INT64_MAX / 8) return error;
  return shape;
}

struct Offsets {
  uint64_t begin = 0;
  uint64_t end = 0;
};

Result<Offsets> ReadOffsets(const JsonFields& fields, uint64_t data_bytes) {
  const json* value = fields.Find("data_offsets");
  const Error error = fields.Expected(
      "data_offsets", fmt::format("[begin, end] within {} bytes of data", data_bytes));
  if (value == nullptr || !value->is_array() || value->size() != 2) return error;
  const json& begin = (*value)[0];
  const json& end = (*value)[1];
  if (!begin.is_number_unsigned() || !end.is_number_unsigned()) return error;
  const Offsets offsets = {begin.get<uint64_t>(), end.get<uint64_t>()};
  if (offsets.begin > offsets.end || offsets.end > data_bytes) return error;
  return offsets;
}

Result<SafetensorsTensor> ReadTensor(const std::string& name, const json& entry,
                                     std::span<const std::byte> data, const std::string& file) {
  if (!entry.is_object()) {
    return InvalidArgument("{}: tensor \"{}\": expected an object, found {}", file, name,
                           ShortDump(entry));
  }
  const JsonFields fields(entry, fmt::format("{}: tensor \"{}\"", file, name), "");
  SafetensorsTensor tensor;
  tensor.name = name;
  VX_ASSIGN_OR_RETURN(tensor.dtype, ReadDType(fields, name, file));
  VX_ASSIGN_OR_RETURN(tensor.shape, ReadShape(fields));
  VX_ASSIGN_OR_RETURN(const Offsets offsets, ReadOffsets(fields, data.size()));
  uint64_t bytes = LayoutOf(tensor.dtype).block_bytes;
  for (const int64_t size : tensor.shape) bytes *= size;
  if (offsets.end - offsets.begin != bytes) {
    return InvalidArgument("{}: tensor \"{}\": expected {} bytes for {} [{}], found {}", file, name,
                           bytes, DTypeName(tensor.dtype), fmt::join(tensor.shape, ", "),
                           offsets.end - offsets.begin);
  }
  tensor.data = data.subspan(offsets.begin, bytes);
  return tensor;
}

// Every byte of `data` belongs to exactly one tensor, as the format demands.
Status CheckCover(const std::vector<SafetensorsTensor>& tensors, std::span<const std::byte> data,
                  const std::string& file) {
  std::vector<const SafetensorsTensor*> by_offset;
  by_offset.reserve(tensors.size());
  for (const SafetensorsTensor& tensor : tensors) by_offset.push_back(&tensor);
  std::sort(by_offset.begin(), by_offset.end(),
            [](const SafetensorsTensor* a, const SafetensorsTensor* b) {
              return std::pair(a->data.data(), a->data.size()) <
                     std::pair(b->data.data(), b->data.size());
            });
  size_t end = 0;
  for (const SafetensorsTensor* tensor : by_offset) {
    const size_t begin = tensor->data.data() - data.data();
    if (begin != end) {
      return InvalidArgument(
          "{}: tensor \"{}\": expected data from byte {}, where the tensor "
          "before ends, found {}",
          file, tensor->name, end, begin);
    }
    end = begin + tensor->data.size();
  }
  if (end != data.size()) {
    return InvalidArgument("{}: expected {} bytes of data, found {}", file, end, data.size());
  }
  return {};
}

}  // namespace

Result<std::vector<SafetensorsTensor>> ParseSafetensors(std::span<const std::byte> bytes,
                                                        const std::string& file) {
  uint64_t header_bytes = 0;
  if (bytes.size() < sizeof(header_bytes)) {
    return InvalidArgument("{}: expected at least {} bytes, found {}", file, sizeof(header_bytes),
                           bytes.size());
  }
  std::memcpy(&header_bytes, bytes.data(), sizeof(header_bytes));
  const auto rest = bytes.subspan(sizeof(header_bytes));
  const uint64_t limit = std::min<uint64_t>(rest.size(), kMaxHeaderBytes);
  if (header_bytes > limit) {
    return InvalidArgument("{}: expected a header of at most {} bytes, found {}", file, limit,
                           header_bytes);
  }
  const std::string_view text(reinterpret_cast<const char*>(rest.data()), header_bytes);
  const auto data = rest.subspan(header_bytes);
  VX_ASSIGN_OR_RETURN(const json header, ParseJsonObject(text, file));
  std::vector<SafetensorsTensor> tensors;
  tensors.reserve(header.size());
  for (const auto& item : header.items()) {
    if (item.key() == "__metadata__") continue;
    VX_ASSIGN_OR_RETURN(SafetensorsTensor tensor, ReadTensor(item.key(), item.value(), data, file));
    tensors.push_back(std::move(tensor));
  }
  VX_RETURN_IF_ERROR(CheckCover(tensors, data, file));
  return tensors;
}

Result<std::vector<ShardEntry>> ParseSafetensorsIndex(std::string_view text,
                                                      const std::string& file) {
  VX_ASSIGN_OR_RETURN(const json object, ParseJsonObject(text, file));
  const JsonFields fields(object, file, "");
  VX_ASSIGN_OR_RETURN(const auto map, fields.OptionalObject("weight_map"));
  if (!map) return fields.Expected("weight_map", "an object");
  std::vector<ShardEntry> entries;
  for (const auto& item : map->object().items()) {
    const bool is_string = item.value().is_string();
    const std::string name = is_string ? item.value().get<std::string>() : "";
    if (!name.ends_with(".safetensors") || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos) {
      return map->Expected(item.key(), "the plain name of a .safetensors file beside the index");
    }
    entries.push_back({item.key(), name});
  }
  return entries;
}

}  // namespace vexact
