#include "sampler/upload_arena.h"

#include <algorithm>

namespace vexact {

Status UploadArena::Allocate(size_t bytes) {
  VX_ASSIGN_OR_RETURN(Buffer host, backend_.AllocateStaging(bytes));
  VX_ASSIGN_OR_RETURN(Buffer device, backend_.Allocate(bytes));
  host_ = std::move(host);
  device_ = std::move(device);
  Clear();
  return {};
}

Status UploadArena::Reserve(size_t bytes, Stream& stream) {
  if (end_ + kAlignment + bytes <= host_.bytes()) return {};
  // What was uploaded may still be read at its old address; what was not has no reader yet, for its
  // addresses are handed out only after a Reserve that covers them.
  VX_CHECK(begin_ == end_, "Reserve comes before the arrays of one upload");
  VX_RETURN_IF_ERROR(backend_.Synchronize(stream));
  return Allocate(std::max(bytes + kAlignment, 2 * host_.bytes()));
}

void UploadArena::Upload(Stream& stream) {
  if (begin_ == end_) return;
  backend_.Upload(device_.data() + begin_, host_.data() + begin_, end_ - begin_, stream);
  end_ = (end_ + kAlignment - 1) / kAlignment * kAlignment;
  end_ = std::min(end_, host_.bytes());
  begin_ = end_;
}

}  // namespace vexact
