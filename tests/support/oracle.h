// The oracle's cases: inputs and answers of every operator, by an independent implementation of
// docs/numerics.md (tests/data/oracle; docs/numerics.md tells what each case is).
//
//   const Oracle& oracle = OperatorOracle();
//   const OracleTensor& x = oracle.Get("linear.0.x");        // U16: bf16 words
//   Rows<const bf16> rows(x.As<bf16>().data(), x.shape[0], x.shape[1]);
//   const std::span<const float> z = oracle.Get("sampling.7.logits").As<float>();
//
// bf16 is stored as U16 words, uint64 as pairs of U32 (low, high): As<uint64_t>() reads them.
#ifndef VEXACT_SUPPORT_ORACLE_H_
#define VEXACT_SUPPORT_ORACLE_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace vexact {

// The path of a file in tests/data.
std::string TestDataPath(const std::string& name);

// All bytes of a file; aborts naming the path if it cannot be read.
std::vector<std::byte> ReadTestFile(const std::string& path);

struct OracleTensor {
  std::string dtype;           // as safetensors names it: F32, U16, I32, U32
  std::vector<int64_t> shape;  // row-major
  std::vector<std::byte> bytes;

  // The elements; sizeof(T) must divide the bytes.
  template <typename T>
  std::span<const T> As() const {
    return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
  }
};

// A small safetensors file held in memory. Malformed files abort: this reads the repository's own.
class Oracle {
 public:
  explicit Oracle(const std::string& path);
  bool Has(const std::string& name) const { return tensors_.contains(name); }
  // Aborts, naming the tensor, if there is none.
  const OracleTensor& Get(const std::string& name) const;

 private:
  std::map<std::string, OracleTensor> tensors_;
};

// tests/data/oracle/oracle_operators.safetensors, read once. The draws' parameters and tokens are
// beside it in oracle_sampling.json, whole-model answers in oracle_smollm2.json.
const Oracle& OperatorOracle();

}  // namespace vexact

#endif  // VEXACT_SUPPORT_ORACLE_H_
