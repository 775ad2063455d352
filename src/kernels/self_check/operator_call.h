// One call of an operator in a backend's memory, with its arguments and answers as the host's: the
// same code runs on the device and on what it is compared with.
#ifndef VEXACT_KERNELS_SELF_CHECK_OPERATOR_CALL_H_
#define VEXACT_KERNELS_SELF_CHECK_OPERATOR_CALL_H_

#include <memory>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include "kernels/backend.h"
#include "kernels/self_check/check_inputs.h"

namespace vexact {

// What a value is for a comparison or a digest: canonical words, no padding of structs.
void AppendWords(bf16 value, std::vector<uint32_t>& words);
void AppendWords(float value, std::vector<uint32_t>& words);
void AppendWords(uint8_t value, std::vector<uint32_t>& words);
void AppendWords(int32_t value, std::vector<uint32_t>& words);
void AppendWords(uint64_t value, std::vector<uint32_t>& words);
void AppendWords(const LogitSums& value, std::vector<uint32_t>& words);
void AppendWords(const LogprobAnswer& value, std::vector<uint32_t>& words);
void AppendWords(const SampleOutcome& value, std::vector<uint32_t>& words);

// A matrix that a call wrote. Around it and between its rows stand bytes that it must leave alone.
class CallOutput {
 public:
  std::string_view name;
  int64_t rows = 0;
  int64_t cols = 0;

  void AppendRow(int64_t row, std::vector<uint32_t>& words) const;
  // All rows, and what stands around them.
  void AppendAll(std::vector<uint32_t>& words) const;

 private:
  friend class OperatorCall;
  int64_t stride_ = 0;
  int64_t guard_ = 0;  // elements before the first row and after the last
  size_t element_bytes_ = 0;
  void (*append_)(const std::byte* from, int64_t count, std::vector<uint32_t>& words) = nullptr;
  std::byte* device_ = nullptr;  // of the guard before the first row
  std::vector<std::byte> host_;
};

// Arguments lie in `arena`, memory of the backend; using more than it has is a broken contract.
class OperatorCall {
 public:
  OperatorCall(const Backend& backend, const Buffer& arena, Stream& stream)
      : backend_(backend), arena_(arena), stream_(stream) {}

  const Backend& backend() const { return backend_; }
  Stream& stream() const { return stream_; }

  // A copy in the backend's memory, `offset` elements past a multiple of 256 bytes.
  template <typename T>
  T* In(std::vector<T> values, int64_t offset = 0) {
    if (values.empty()) return nullptr;
    const size_t bytes = values.size() * sizeof(T);
    T* const at =
        reinterpret_cast<T*>(Take(bytes + static_cast<size_t>(offset) * sizeof(T))) + offset;
    const auto kept = std::make_shared<std::vector<T>>(std::move(values));
    backend_.Upload(at, kept->data(), bytes, stream_);
    Keep(kept);
    return at;
  }
  // Rows [begin, end) of an input, packed.
  template <typename T = bf16>
  Rows<const T> InRows(const CheckInput& input, int64_t begin, int64_t end, int64_t cols) {
    return {In(MakeRows<T>(input, begin, end, cols, *stream_.pool)), end - begin, cols};
  }

  // Zero-filled memory whose contents are nobody's business afterwards.
  template <typename T>
  T* Scratch(int64_t count) {
    return In(std::vector<T>(static_cast<size_t>(count)));
  }

  // A matrix to be written; with `initial` (packed rows), to be changed in place.
  template <typename T>
  Rows<T> Out(std::string_view name, int64_t rows, int64_t cols, int64_t stride,
              const std::vector<T>& initial = {}) {
    CallOutput output;
    output.name = name;
    output.rows = rows;
    output.cols = cols;
    output.stride_ = stride;
    output.guard_ = kGuardBytes / static_cast<int64_t>(sizeof(T));
    output.element_bytes_ = sizeof(T);
    output.append_ = [](const std::byte* from, int64_t count, std::vector<uint32_t>& words) {
      const auto* const values = reinterpret_cast<const T*>(from);
      for (int64_t i = 0; i < count; ++i) AppendWords(values[i], words);
    };
    const int64_t elements = rows * stride + 2 * output.guard_;
    output.host_.assign(static_cast<size_t>(elements) * sizeof(T), kUntouched);
    T* const first = reinterpret_cast<T*>(output.host_.data()) + output.guard_;
    for (int64_t r = 0; !initial.empty() && r < rows; ++r) {
      std::copy_n(initial.data() + r * cols, cols, first + r * stride);
    }
    return {reinterpret_cast<T*>(Add(std::move(output))), rows, cols, stride};
  }
  template <typename T>
  Rows<T> Out(std::string_view name, int64_t rows, int64_t cols) {
    return Out<T>(name, rows, cols, cols);
  }

  // A weight of packed rows; an attention plan: for as long as the call lives.
  Result<const LinearWeight*> Weight(const std::vector<bf16>& rows, int64_t in_features);
  Result<const AttentionPlan*> Plan(const AttentionLimits& limits);

  // Waits for the operator and fetches what it wrote.
  Status Finish();
  std::span<const CallOutput> outputs() const { return outputs_; }

 private:
  static constexpr int64_t kGuardBytes = 64;
  static constexpr std::byte kUntouched{0xa5};

  std::byte* Take(size_t bytes);
  std::byte* Add(CallOutput output);
  void Keep(std::shared_ptr<void> data) { kept_.push_back(std::move(data)); }

  const Backend& backend_;
  const Buffer& arena_;
  Stream& stream_;
  size_t used_ = 0;
  std::vector<std::shared_ptr<void>> kept_;  // until the device has read or used it
  std::vector<CallOutput> outputs_;
};

}  // namespace vexact

#endif  // VEXACT_KERNELS_SELF_CHECK_OPERATOR_CALL_H_
