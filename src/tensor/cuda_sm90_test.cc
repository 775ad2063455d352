#include "tensor/cuda.h"

#include <cuda_runtime.h>
#include <gtest/gtest.h>

namespace vexact {
namespace {

// What driver_types.h says of these: any further work returns the same error, the process must be
// relaunched. A server then fails its requests with the device's error; it does not abort.
TEST(CheckCuda, LetsAFailedDevicePass) {
  for (const cudaError_t error :
       {cudaSuccess, cudaErrorIllegalAddress, cudaErrorLaunchTimeout, cudaErrorAssert,
        cudaErrorHardwareStackError, cudaErrorIllegalInstruction, cudaErrorMisalignedAddress,
        cudaErrorInvalidAddressSpace, cudaErrorInvalidPc, cudaErrorLaunchFailure,
        cudaErrorTensorMemoryLeak, cudaErrorContained, cudaErrorECCUncorrectable,
        cudaErrorNvlinkUncorrectable, cudaErrorExternalDevice, cudaErrorMpsClientTerminated,
        cudaErrorUnknown}) {
    CheckCuda(error);
  }
}

TEST(CheckCudaDeathTest, EndsTheProgramAtABreachOfContract) {
  for (const cudaError_t error : {cudaErrorInvalidValue, cudaErrorInvalidConfiguration,
                                  cudaErrorInvalidResourceHandle, cudaErrorNotPermitted}) {
    EXPECT_DEATH(CheckCuda(error), cudaGetErrorString(error));
  }
}

}  // namespace
}  // namespace vexact
