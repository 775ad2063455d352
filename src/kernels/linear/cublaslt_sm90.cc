#include "kernels/linear/cublaslt_sm90.h"

#include <dlfcn.h>

#include <cstdint>

namespace vexact {
namespace {

constexpr uint32_t kAlignmentBytes = 16;
// A bias that is not known yet: the heuristics look at no more than its alignment.
constexpr uintptr_t kSomeBias = 256;

constexpr const char* kUsualPlaces[] = {
    "libcublasLt.so.13",
    "/usr/local/cuda/lib64/libcublasLt.so.13",
    "/usr/local/cuda/targets/x86_64-linux/lib/libcublasLt.so.13",
};

void RequireSuccess(cublasStatus_t status) {
  VX_CHECK(status == CUBLAS_STATUS_SUCCESS, "cuBLASLt takes a plain description");
}

template <typename Function>
bool Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  return *function != nullptr;
}

bool FindAll(void* library, CublasLt::Functions* f) {
  return Find(library, "cublasLtCreate", &f->create) &&
         Find(library, "cublasLtDestroy", &f->destroy) &&
         Find(library, "cublasLtGetVersion", &f->get_version) &&
         Find(library, "cublasLtMatmul", &f->matmul) &&
         Find(library, "cublasLtMatmulDescCreate", &f->desc_create) &&
         Find(library, "cublasLtMatmulDescDestroy", &f->desc_destroy) &&
         Find(library, "cublasLtMatmulDescSetAttribute", &f->desc_set) &&
         Find(library, "cublasLtMatrixLayoutCreate", &f->layout_create) &&
         Find(library, "cublasLtMatrixLayoutDestroy", &f->layout_destroy) &&
         Find(library, "cublasLtMatmulPreferenceCreate", &f->preference_create) &&
         Find(library, "cublasLtMatmulPreferenceDestroy", &f->preference_destroy) &&
         Find(library, "cublasLtMatmulPreferenceSetAttribute", &f->preference_set) &&
         Find(library, "cublasLtMatmulAlgoGetHeuristic", &f->get_heuristic) &&
         Find(library, "cublasLtMatmulAlgoConfigGetAttribute", &f->config_get) &&
         Find(library, "cublasLtMatmulAlgoConfigSetAttribute", &f->config_set) &&
         Find(library, "cublasLtMatmulAlgoCheck", &f->check);
}

uint32_t ConfigValue(const CublasLt::Functions& f, const cublasLtMatmulAlgo_t& algorithm,
                     cublasLtMatmulAlgoConfigAttributes_t attribute) {
  uint32_t value = 0;
  size_t written = 0;
  // CLUSTER_SHAPE_ID is 16 bits wide, the others 32.
  const size_t bytes = attribute == CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID ? 2 : 4;
  f.config_get(&algorithm, attribute, &value, bytes, &written);
  return value;
}

CublasLtAlgorithm MakeAlgorithm(const CublasLt::Functions& f,
                                const cublasLtMatmulHeuristicResult_t& result) {
  const auto value = [&](cublasLtMatmulAlgoConfigAttributes_t attribute) {
    return ConfigValue(f, result.algo, attribute);
  };
  CublasLtAlgorithm algorithm = {result.algo, result.workspaceSize,
                                 value(CUBLASLT_ALGO_CONFIG_SPLITK_NUM), ""};
  algorithm.name =
      fmt::format("cublasLt {} tile {} stages {} cluster {}", value(CUBLASLT_ALGO_CONFIG_ID),
                  value(CUBLASLT_ALGO_CONFIG_TILE_ID), value(CUBLASLT_ALGO_CONFIG_STAGES_ID),
                  value(CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID));
  if (algorithm.split_k > 1) algorithm.name += fmt::format(" split-K {}", algorithm.split_k);
  return algorithm;
}

bool IsDense(const void* data, int64_t cols, int64_t stride) {
  return reinterpret_cast<uintptr_t>(data) % kAlignmentBytes == 0 && stride == cols;
}

}  // namespace

Result<std::unique_ptr<CublasLt>> CublasLt::Open(const std::string& path) {
  std::vector<std::string> places(std::begin(kUsualPlaces), std::end(kUsualPlaces));
  if (!path.empty()) places = {path};
  // Never closed: kernels of the library stay loaded in the device's context.
  void* file = nullptr;
  std::string found;
  for (const std::string& place : places) {
    file = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    found = place;
    if (file != nullptr) break;
  }
  if (file == nullptr) {
    return NotFound("cuBLASLt: expected one of {}, found none", fmt::join(places, ", "));
  }
  std::unique_ptr<CublasLt> library(new CublasLt);
  if (!FindAll(file, &library->functions_)) {
    return Unsupported("{}: expected the functions of cuBLASLt 13, found not all", found);
  }
  const cublasStatus_t status = library->functions_.create(&library->handle_);
  if (status != CUBLAS_STATUS_SUCCESS) {
    return Unsupported("{}: expected a handle for this device, found status {}", found,
                       static_cast<int>(status));
  }
  library->description_ = fmt::format("cuBLASLt {} ({})", library->functions_.get_version(), found);
  return library;
}

CublasLt::~CublasLt() {
  if (handle_ != nullptr) functions_.destroy(handle_);
}

CublasLtMatmul::CublasLtMatmul(const CublasLt& library, const CublasLtShape& shape)
    : library_(library),
      shape_(shape),
      description_(Describe(reinterpret_cast<const bf16*>(kSomeBias))),  // NOLINT: never read
      weight_(MakeLayout(CUDA_R_16BF, shape.problem.in_features, shape.problem.out_features)),
      x_(MakeLayout(CUDA_R_16BF, shape.problem.in_features, shape.rows)),
      y_(MakeLayout(shape.problem.fp32_output ? CUDA_R_32F : CUDA_R_16BF,
                    shape.problem.out_features, shape.rows)) {}

// The library's matrices are column-major: a row of ours is a column of its own, and y^T [out,
// tokens] = weight^T^T [out, in] * x^T [in, tokens].
CublasLtMatmul::Description CublasLtMatmul::Describe(const bf16* bias) const {
  const CublasLt::Functions& f = library_.functions();
  cublasLtMatmulDesc_t description = nullptr;
  RequireSuccess(f.desc_create(&description, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const cublasOperation_t transpose = CUBLAS_OP_T;
  RequireSuccess(
      f.desc_set(description, CUBLASLT_MATMUL_DESC_TRANSA, &transpose, sizeof(transpose)));
  if (shape_.problem.has_bias) {
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    RequireSuccess(
        f.desc_set(description, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue)));
    RequireSuccess(
        f.desc_set(description, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof(void*)));
    const cudaDataType type = CUDA_R_16BF;
    RequireSuccess(
        f.desc_set(description, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &type, sizeof(type)));
  }
  return {description, f.desc_destroy};
}

CublasLtMatmul::Layout CublasLtMatmul::MakeLayout(cudaDataType type, int64_t rows,
                                                  int64_t cols) const {
  cublasLtMatrixLayout_t layout = nullptr;
  RequireSuccess(library_.functions().layout_create(&layout, type, rows, cols, rows));
  return {layout, library_.functions().layout_destroy};
}

std::vector<CublasLtAlgorithm> CublasLtMatmul::Algorithms(int at_most,
                                                          size_t workspace_bytes) const {
  const CublasLt::Functions& f = library_.functions();
  cublasLtMatmulPreference_t preference = nullptr;
  RequireSuccess(f.preference_create(&preference));
  const std::unique_ptr<cublasLtMatmulPreferenceOpaque_t, decltype(f.preference_destroy)> owner(
      preference, f.preference_destroy);
  const auto set = [&](cublasLtMatmulPreferenceAttributes_t attribute, auto value) {
    RequireSuccess(f.preference_set(preference, attribute, &value, sizeof(value)));
  };
  const uint32_t reductions =
      workspace_bytes > 0 ? CUBLASLT_REDUCTION_SCHEME_MASK : CUBLASLT_REDUCTION_SCHEME_NONE;
  set(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, reductions);
  set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, uint64_t{workspace_bytes});
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, kAlignmentBytes);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, kAlignmentBytes);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, kAlignmentBytes);
  set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, kAlignmentBytes);

  std::vector<cublasLtMatmulHeuristicResult_t> results(at_most);
  int found = 0;
  const cublasStatus_t status =
      f.get_heuristic(library_.handle(), description_.get(), weight_.get(), x_.get(), y_.get(),
                      y_.get(), preference, at_most, results.data(), &found);
  std::vector<CublasLtAlgorithm> algorithms;
  if (status != CUBLAS_STATUS_SUCCESS) return algorithms;  // none is offered for such a problem
  for (int i = 0; i < found; ++i) {
    if (results[i].state != CUBLAS_STATUS_SUCCESS) continue;
    algorithms.push_back(MakeAlgorithm(f, results[i]));
  }
  return algorithms;
}

Result<CublasLtAlgorithm> CublasLtMatmul::WithSplitK(const CublasLtAlgorithm& from,
                                                     uint32_t parts) const {
  const CublasLt::Functions& f = library_.functions();
  const uint32_t schemes[] = {CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE,
                              CUBLASLT_REDUCTION_SCHEME_INPLACE,
                              CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE};
  for (const uint32_t scheme : schemes) {
    cublasLtMatmulAlgo_t algorithm = from.algorithm;
    f.config_set(&algorithm, CUBLASLT_ALGO_CONFIG_SPLITK_NUM, &parts, sizeof(parts));
    f.config_set(&algorithm, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME, &scheme, sizeof(scheme));
    cublasLtMatmulHeuristicResult_t result = {};
    const cublasStatus_t status = f.check(library_.handle(), description_.get(), weight_.get(),
                                          x_.get(), y_.get(), y_.get(), &algorithm, &result);
    if (status != CUBLAS_STATUS_SUCCESS) continue;
    result.algo = algorithm;
    return MakeAlgorithm(f, result);
  }
  return Unsupported("{}: expected it with split-K {}, found no reduction scheme that allows it",
                     from.name, parts);
}

bool CublasLtMatmul::Takes(const LinearArgs& args) const {
  const Rows<const bf16>& w = args.weight->rows;
  const bool y_is_dense = shape_.problem.fp32_output
                              ? IsDense(args.y_fp32.data, args.y_fp32.cols, args.y_fp32.stride)
                              : IsDense(args.y.data, args.y.cols, args.y.stride);
  return y_is_dense && IsDense(args.x.data, args.x.cols, args.x.stride) &&
         IsDense(w.data, w.cols, w.stride) && IsDense(args.bias, 0, 0);
}

bool CublasLtMatmul::Run(const CublasLtAlgorithm& algorithm, const LinearArgs& args,
                         const CublasLtWorkspace& workspace, const Stream& stream) const {
  const float one = 1.0f;
  const float zero = 0.0f;
  // The bias is part of the description, which other threads may be using.
  const Description with_bias = args.bias != nullptr
                                    ? Describe(args.bias)
                                    : Description(nullptr, library_.functions().desc_destroy);
  void* y = shape_.problem.fp32_output ? static_cast<void*>(args.y_fp32.data) : args.y.data;
  const cublasStatus_t status = library_.functions().matmul(
      library_.handle(), args.bias != nullptr ? with_bias.get() : description_.get(), &one,
      args.weight->rows.data, weight_.get(), args.x.data, x_.get(), &zero, y, y_.get(), y, y_.get(),
      &algorithm.algorithm, workspace.data, workspace.bytes, stream.cuda);
  return status == CUBLAS_STATUS_SUCCESS;
}

}  // namespace vexact
