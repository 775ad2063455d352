#include "checkpoint/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

namespace vexact {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read as it lies in the file");

constexpr uint64_t kDefaultAlignment = 32;
constexpr uint32_t kMaxDimensions = 4;
constexpr uint64_t kMaxNameBytes = 1024;
// The smallest entries: a key of length 0, its type and one byte; a name of length 0, the number
// of sizes, one size, type and offset.
constexpr uint64_t kMinMetadataBytes = 13;
constexpr uint64_t kMinTensorBytes = 32;

struct TensorType {
  uint32_t code;
  std::string_view name;
  std::optional<DType> dtype;  // empty: known, and refused by name
};

constexpr TensorType kTensorTypes[] = {
    {0, "F32", DType::kF32},
    {1, "F16", DType::kF16},
    {2, "Q4_0", DType::kQ4_0},
    {3, "Q4_1", DType::kQ4_1},
    {6, "Q5_0", {}},
    {7, "Q5_1", {}},
    {8, "Q8_0", DType::kQ8_0},
    {9, "Q8_1", {}},
    {10, "Q2_K", {}},
    {11, "Q3_K", {}},
    {12, "Q4_K", {}},
    {13, "Q5_K", {}},
    {14, "Q6_K", {}},
    {15, "Q8_K", {}},
    {16, "IQ2_XXS", {}},
    {17, "IQ2_XS", {}},
    {18, "IQ3_XXS", {}},
    {19, "IQ1_S", {}},
    {20, "IQ4_NL", {}},
    {21, "IQ3_S", {}},
    {22, "IQ2_S", {}},
    {23, "IQ4_XS", {}},
    {24, "I8", {}},
    {25, "I16", {}},
    {26, "I32", {}},
    {27, "I64", {}},
    {28, "F64", {}},
    {29, "IQ1_M", {}},
    {30, "BF16", DType::kBf16},
    {34, "TQ1_0", {}},
    {35, "TQ2_0", {}},
    {39, "MXFP4", {}},
};

// Bytes of one element, 0 for strings, arrays and unknown types.
uint64_t ScalarBytes(GgufType type) {
  switch (type) {
    case GgufType::kUint8:
    case GgufType::kInt8:
    case GgufType::kBool:
      return 1;
    case GgufType::kUint16:
    case GgufType::kInt16:
      return 2;
    case GgufType::kUint32:
    case GgufType::kInt32:
    case GgufType::kFloat32:
      return 4;
    case GgufType::kUint64:
    case GgufType::kInt64:
    case GgufType::kFloat64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

// Takes values off the front of the bytes; every read is checked.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& file) : bytes_(bytes), file_(file) {}

  uint64_t offset() const { return offset_; }
  uint64_t remaining() const { return bytes_.size() - offset_; }

  Result<std::span<const std::byte>> Take(uint64_t count, std::string_view what) {
    if (count > remaining()) {
      return InvalidArgument("{}: expected {} of {} bytes at offset {}, found the end at {}", file_,
                             what, count, offset_, bytes_.size());
    }
    const auto taken = bytes_.subspan(offset_, count);
    offset_ += count;
    return taken;
  }

  template <typename T>
  Result<T> Value(std::string_view what) {
    VX_ASSIGN_OR_RETURN(const std::span<const std::byte> raw, Take(sizeof(T), what));
    T value;
    std::memcpy(&value, raw.data(), sizeof(T));
    return value;
  }

  Result<std::string_view> String(std::string_view what) {
    VX_ASSIGN_OR_RETURN(const uint64_t length, Value<uint64_t>(what));
    VX_ASSIGN_OR_RETURN(const std::span<const std::byte> raw, Take(length, what));
    return std::string_view(reinterpret_cast<const char*>(raw.data()), raw.size());
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& file_;
  uint64_t offset_ = 0;
};

struct Header {
  uint64_t num_tensors = 0;
  uint64_t num_metadata = 0;
};

Result<Header> ReadHeader(Cursor& cursor, const std::string& file) {
  VX_ASSIGN_OR_RETURN(const auto magic, cursor.Take(4, "the word GGUF"));
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
    return InvalidArgument("{}: expected a GGUF file, found other first bytes", file);
  }
  VX_ASSIGN_OR_RETURN(const auto version, cursor.Value<uint32_t>("the version"));
  if (version != 2 && version != 3) {
    return Unsupported("{}: expected GGUF version 2 or 3, little-endian, found {:#x}", file,
                       version);
  }
  Header header;
  VX_ASSIGN_OR_RETURN(header.num_tensors, cursor.Value<uint64_t>("the number of tensors"));
  VX_ASSIGN_OR_RETURN(header.num_metadata, cursor.Value<uint64_t>("the number of metadata"));
  if (header.num_tensors > cursor.remaining() / kMinTensorBytes) {
    return InvalidArgument("{}: expected a number of tensors that fits in {} bytes, found {}", file,
                           cursor.remaining(), header.num_tensors);
  }
  if (header.num_metadata > cursor.remaining() / kMinMetadataBytes) {
    return InvalidArgument("{}: expected a number of metadata that fits in {} bytes, found {}",
                           file, cursor.remaining(), header.num_metadata);
  }
  return header;
}

// The bytes of `count` elements of `type`.
Result<std::span<const std::byte>> TakeElements(Cursor& cursor, GgufType type, uint64_t count,
                                                const std::string& what) {
  if (type == GgufType::kString) {
    Cursor end = cursor;
    for (uint64_t i = 0; i < count; ++i) {
      VX_RETURN_IF_ERROR(end.String(what));
    }
    return cursor.Take(end.offset() - cursor.offset(), what);
  }
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(count, ScalarBytes(type), &bytes)) bytes = UINT64_MAX;
  return cursor.Take(bytes, what);
}

Result<GgufValue> ReadValue(Cursor& cursor, const std::string& file, std::string_view key) {
  const std::string what = fmt::format("the value of \"{}\"", key);
  GgufValue value;
  VX_ASSIGN_OR_RETURN(auto type, cursor.Value<uint32_t>(what));
  if (static_cast<GgufType>(type) == GgufType::kArray) {
    value.is_array = true;
    VX_ASSIGN_OR_RETURN(type, cursor.Value<uint32_t>(what));
    VX_ASSIGN_OR_RETURN(value.count, cursor.Value<uint64_t>(what));
  }
  value.type = static_cast<GgufType>(type);
  if (ScalarBytes(value.type) == 0 && value.type != GgufType::kString) {
    return InvalidArgument(
        "{}: \"{}\": expected a GGUF value or an array of scalars or strings, "
        "found type {}",
        file, key, type);
  }
  VX_ASSIGN_OR_RETURN(value.payload, TakeElements(cursor, value.type, value.count, what));
  return value;
}

Result<GgufMetadata> ReadMetadata(Cursor& cursor, uint64_t count, const std::string& file) {
  std::map<std::string, GgufValue, std::less<>> values;
  for (uint64_t i = 0; i < count; ++i) {
    VX_ASSIGN_OR_RETURN(const std::string_view key, cursor.String("a metadata key"));
    if (key.size() > kMaxNameBytes) {
      return InvalidArgument("{}: expected a metadata key of at most {} bytes, found {}", file,
                             kMaxNameBytes, key.size());
    }
    VX_ASSIGN_OR_RETURN(const GgufValue value, ReadValue(cursor, file, key));
    if (!values.emplace(key, value).second) {
      return InvalidArgument("{}: \"{}\": expected one such key, found two", file, key);
    }
  }
  return GgufMetadata(file, std::move(values));
}

Result<DType> TensorDType(uint32_t code, const std::string& file, std::string_view tensor) {
  const auto* const type = std::find_if(std::begin(kTensorTypes), std::end(kTensorTypes),
                                        [code](const TensorType& t) { return t.code == code; });
  if (type != std::end(kTensorTypes) && type->dtype) return *type->dtype;
  return Unsupported("{}: tensor \"{}\": expected F32, F16, BF16, Q8_0, Q4_0 or Q4_1, found {}",
                     file, tensor,
                     type == std::end(kTensorTypes) ? fmt::format("type {}", code) : type->name);
}

// A tensor's entry before its data is located.
struct TensorEntry {
  GgufTensor tensor;
  uint64_t offset = 0;  // from the start of the data
  uint64_t bytes = 0;
};

Result<std::vector<int64_t>> ReadShape(Cursor& cursor, const std::string& file,
                                       std::string_view name) {
  VX_ASSIGN_OR_RETURN(const auto dimensions, cursor.Value<uint32_t>("a tensor's dimensions"));
  if (dimensions < 1 || dimensions > kMaxDimensions) {
    return InvalidArgument("{}: tensor \"{}\": expected 1 to {} dimensions, found {}", file, name,
                           kMaxDimensions, dimensions);
  }
  std::vector<int64_t> shape(dimensions);
  int64_t elements = 1;
  for (uint32_t i = 0; i < dimensions; ++i) {
    VX_ASSIGN_OR_RETURN(const auto size, cursor.Value<uint64_t>("a tensor's shape"));
    if (size < 1 || size > uint64_t{INT64_MAX} / 8 ||
        __builtin_mul_overflow(elements, static_cast<int64_t>(size), &elements) ||
        elements > INT64_MAX / 8) {
      return InvalidArgument(
          "{}: tensor \"{}\": expected sizes from 1 whose product fits, found "
          "{} at dimension {}",
          file, name, size, i);
    }
    shape[dimensions - 1 - i] = static_cast<int64_t>(size);
  }
  return shape;
}

Result<TensorEntry> ReadTensorEntry(Cursor& cursor, const std::string& file) {
  VX_ASSIGN_OR_RETURN(const std::string_view name, cursor.String("a tensor's name"));
  if (name.size() > kMaxNameBytes) {
    return InvalidArgument("{}: expected a tensor name of at most {} bytes, found {}", file,
                           kMaxNameBytes, name.size());
  }
  TensorEntry entry;
  entry.tensor.name = std::string(name);
  VX_ASSIGN_OR_RETURN(entry.tensor.shape, ReadShape(cursor, file, name));
  VX_ASSIGN_OR_RETURN(const auto type, cursor.Value<uint32_t>("a tensor's type"));
  VX_ASSIGN_OR_RETURN(entry.tensor.dtype, TensorDType(type, file, name));
  VX_ASSIGN_OR_RETURN(entry.offset, cursor.Value<uint64_t>("a tensor's offset"));
  const DTypeLayout layout = LayoutOf(entry.tensor.dtype);
  const int64_t row = entry.tensor.shape.back();
  if (row % layout.block_elements != 0) {
    return InvalidArgument(
        "{}: tensor \"{}\": expected rows of a multiple of {} elements for {}, "
        "found {}",
        file, name, layout.block_elements, DTypeName(entry.tensor.dtype), row);
  }
  uint64_t blocks = row / layout.block_elements;
  for (size_t i = 0; i + 1 < entry.tensor.shape.size(); ++i) blocks *= entry.tensor.shape[i];
  entry.bytes = blocks * layout.block_bytes;  // ReadShape left room for 8 bytes an element
  return entry;
}

Result<uint64_t> ReadAlignment(const GgufMetadata& metadata) {
  constexpr std::string_view kKey = "general.alignment";
  VX_ASSIGN_OR_RETURN(const std::optional<int64_t> stated,
                      metadata.OptionalInteger(kKey, {8, 1 << 20}));
  if (stated && *stated % 8 != 0) return metadata.Expected(kKey, "a multiple of 8");
  return stated ? static_cast<uint64_t>(*stated) : kDefaultAlignment;
}

// Checks that the entries lie in `data`, aligned and apart, and fills in their data.
Status LocateTensors(std::span<const std::byte> data, uint64_t alignment, const std::string& file,
                     std::vector<TensorEntry>& entries) {
  std::vector<const TensorEntry*> by_offset;
  by_offset.reserve(entries.size());
  for (TensorEntry& entry : entries) {
    if (entry.offset % alignment != 0) {
      return InvalidArgument(
          "{}: tensor \"{}\": expected an offset that is a multiple of {}, "
          "found {}",
          file, entry.tensor.name, alignment, entry.offset);
    }
    if (entry.offset > data.size() || entry.bytes > data.size() - entry.offset) {
      return InvalidArgument(
          "{}: tensor \"{}\": expected {} bytes at offset {} of the data, found "
          "{} bytes of data in all",
          file, entry.tensor.name, entry.bytes, entry.offset, data.size());
    }
    entry.tensor.data = data.subspan(entry.offset, entry.bytes);
    by_offset.push_back(&entry);
  }
  std::sort(by_offset.begin(), by_offset.end(),
            [](const TensorEntry* a, const TensorEntry* b) { return a->offset < b->offset; });
  for (size_t i = 1; i < by_offset.size(); ++i) {
    const uint64_t end = by_offset[i - 1]->offset + by_offset[i - 1]->bytes;
    if (by_offset[i]->offset < end) {
      return InvalidArgument(
          "{}: tensor \"{}\": expected an offset from {}, the end of \"{}\", "
          "found {}",
          file, by_offset[i]->tensor.name, end, by_offset[i - 1]->tensor.name,
          by_offset[i]->offset);
    }
  }
  return {};
}

}  // namespace

Result<GgufFile> ParseGguf(std::span<const std::byte> bytes, const std::string& file) {
  Cursor cursor(bytes, file);
  VX_ASSIGN_OR_RETURN(const Header header, ReadHeader(cursor, file));
  VX_ASSIGN_OR_RETURN(GgufMetadata metadata, ReadMetadata(cursor, header.num_metadata, file));
  std::vector<TensorEntry> entries;
  entries.reserve(header.num_tensors);
  for (uint64_t i = 0; i < header.num_tensors; ++i) {
    VX_ASSIGN_OR_RETURN(TensorEntry entry, ReadTensorEntry(cursor, file));
    entries.push_back(std::move(entry));
  }
  VX_ASSIGN_OR_RETURN(const uint64_t alignment, ReadAlignment(metadata));
  const uint64_t data_begin = (cursor.offset() + alignment - 1) / alignment * alignment;
  const auto data = bytes.subspan(std::min<uint64_t>(data_begin, bytes.size()));
  VX_RETURN_IF_ERROR(LocateTensors(data, alignment, file, entries));
  std::vector<GgufTensor> tensors;
  tensors.reserve(entries.size());
  for (TensorEntry& entry : entries) tensors.push_back(std::move(entry.tensor));
  return GgufFile{std::move(metadata), std::move(tensors)};
}

}  // namespace vexact
