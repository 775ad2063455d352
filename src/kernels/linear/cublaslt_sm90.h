// The few functions of cuBLASLt that the linear operator uses. The library is opened when asked
// for, so that a program starts on a machine without it.
#ifndef VEXACT_KERNELS_LINEAR_CUBLASLT_SM90_H_
#define VEXACT_KERNELS_LINEAR_CUBLASLT_SM90_H_

#include <cublasLt.h>

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "kernels/linear/linear.h"

namespace vexact {

// y = x * weight^T as the library sees it: dense rows, all pointers multiples of 16 bytes.
struct CublasLtShape {
  LinearProblem problem;
  int64_t rows;
};

struct CublasLtAlgorithm {
  cublasLtMatmulAlgo_t algorithm;
  size_t workspace_bytes;
  uint32_t split_k;
  std::string name;  // "cublasLt 66 tile 312 stages 36 cluster 9": the library's own numbers
};

// Where an algorithm may keep partial sums; none for canonical ones.
struct CublasLtWorkspace {
  void* data = nullptr;
  size_t bytes = 0;
};

class CublasLt;

// The descriptions of a shape, for any number of calls from any threads.
class CublasLtMatmul {
 public:
  CublasLtMatmul(const CublasLt& library, const CublasLtShape& shape);

  // Algorithms without any reduction of partial sums, in the order in which the library expects
  // them to be fast. With a workspace: those that need it and reduce too.
  std::vector<CublasLtAlgorithm> Algorithms(int at_most, size_t workspace_bytes) const;
  // The same algorithm with K split in `parts`. Unsupported if the library refuses it.
  Result<CublasLtAlgorithm> WithSplitK(const CublasLtAlgorithm& from, uint32_t parts) const;

  // False if the arguments are not as the shape was described (strides, alignment).
  bool Takes(const LinearArgs& args) const;
  // Requires Takes(args). False if the library refuses.
  bool Run(const CublasLtAlgorithm& algorithm, const LinearArgs& args,
           const CublasLtWorkspace& workspace, const Stream& stream) const;

 private:
  using Description =
      std::unique_ptr<cublasLtMatmulDescOpaque_t, cublasStatus_t (*)(cublasLtMatmulDesc_t)>;
  using Layout =
      std::unique_ptr<cublasLtMatrixLayoutOpaque_t, cublasStatus_t (*)(cublasLtMatrixLayout_t)>;
  Description Describe(const bf16* bias) const;
  Layout MakeLayout(cudaDataType type, int64_t rows, int64_t cols) const;

  const CublasLt& library_;
  CublasLtShape shape_;
  Description description_;
  Layout weight_;
  Layout x_;
  Layout y_;
};

class CublasLt {
 public:
  struct Functions {
    decltype(&cublasLtCreate) create;
    decltype(&cublasLtDestroy) destroy;
    decltype(&cublasLtGetVersion) get_version;
    decltype(&cublasLtMatmul) matmul;
    decltype(&cublasLtMatmulDescCreate) desc_create;
    decltype(&cublasLtMatmulDescDestroy) desc_destroy;
    decltype(&cublasLtMatmulDescSetAttribute) desc_set;
    decltype(&cublasLtMatrixLayoutCreate) layout_create;
    decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
    decltype(&cublasLtMatmulPreferenceCreate) preference_create;
    decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
    decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
    decltype(&cublasLtMatmulAlgoGetHeuristic) get_heuristic;
    decltype(&cublasLtMatmulAlgoConfigGetAttribute) config_get;
    decltype(&cublasLtMatmulAlgoConfigSetAttribute) config_set;
    decltype(&cublasLtMatmulAlgoCheck) check;
  };

  // `path`: the library's file, or empty to look in the usual places. kNotFound names them.
  // The calling thread's current device is the one that will be used.
  static Result<std::unique_ptr<CublasLt>> Open(const std::string& path);
  ~CublasLt();
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;

  const Functions& functions() const { return functions_; }
  cublasLtHandle_t handle() const { return handle_; }
  const std::string& description() const { return description_; }  // version and file

 private:
  CublasLt() = default;
  Functions functions_ = {};
  cublasLtHandle_t handle_ = nullptr;
  std::string description_;
};

}  // namespace vexact

#endif  // VEXACT_KERNELS_LINEAR_CUBLASLT_SM90_H_
