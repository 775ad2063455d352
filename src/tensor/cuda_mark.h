// Marks of CUDA streams: Backend::MakeMark and so on. Apart from cuda.h, for kernels have none.
#ifndef VEXACT_TENSOR_CUDA_MARK_H_
#define VEXACT_TENSOR_CUDA_MARK_H_

#include "base/result.h"
#include "tensor/stream.h"
#include "tensor/stream_mark.h"

namespace vexact {

Result<StreamMark> MakeCudaMark();
void MarkCuda(const StreamMark& mark, const Stream& stream);
void WaitForCudaMark(const StreamMark& mark, const Stream& stream);
double CudaMillisecondsBetween(const StreamMark& from, const StreamMark& to);

}  // namespace vexact

#endif  // VEXACT_TENSOR_CUDA_MARK_H_
