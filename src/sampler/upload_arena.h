// UploadArena: arrays of many sizes, put together on the host and copied to the backend in one go.
#ifndef VEXACT_SAMPLER_UPLOAD_ARENA_H_
#define VEXACT_SAMPLER_UPLOAD_ARENA_H_

#include <cstring>
#include <span>

#include "kernels/backend.h"

namespace vexact {

class UploadArena {
 public:
  static constexpr size_t kAlignment = 16;

  // `backend` outlives the arena.
  explicit UploadArena(const Backend& backend) : backend_(backend) {}

  // Room for `bytes` from the start, so that Reserve need not wait.
  Status Allocate(size_t bytes);

  // Forgets what was added. Requires: the uploads have finished.
  void Clear() { begin_ = end_ = 0; }

  // Room for `bytes` more, alignment included. Memory that has to grow first waits for the stream.
  Status Reserve(size_t bytes, Stream& stream);

  // Copies the values; their address in the backend's memory, where they are after Upload. Empty:
  // null. Requires: reserved.
  template <typename T>
  T* Add(std::span<const T> values) {
    if (values.empty()) return nullptr;
    end_ = (end_ + kAlignment - 1) / kAlignment * kAlignment;
    VX_CHECK(end_ + values.size_bytes() <= host_.bytes(), "reserved");
    std::memcpy(host_.data() + end_, values.data(), values.size_bytes());
    T* const address = reinterpret_cast<T*>(device_.data() + end_);
    end_ += values.size_bytes();
    return address;
  }

  // Queues the copy of what was added since the last Upload.
  void Upload(Stream& stream);

  // Queues a copy of the values to another place in the backend's memory. Requires: reserved;
  // nothing was added since the last Upload.
  template <typename T>
  void UploadTo(T* to, std::span<const T> values, Stream& stream) {
    VX_CHECK(begin_ == end_, "UploadTo comes before the arrays of one upload");
    if (values.empty()) return;
    Add(values);
    backend_.Upload(to, host_.data() + end_ - values.size_bytes(), values.size_bytes(), stream);
    begin_ = end_;
  }

 private:
  const Backend& backend_;
  Buffer host_;
  Buffer device_;
  size_t begin_ = 0;  // of what was not uploaded yet
  size_t end_ = 0;
};

}  // namespace vexact

#endif  // VEXACT_SAMPLER_UPLOAD_ARENA_H_
