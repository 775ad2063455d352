// VX_HOST_DEVICE marks functions that the host compiler and nvcc both compile, so that the CPU and
// the GPU share one source of the arithmetic. Device code is compiled with -fmad=false (an fma is
// only where fmaf is written) and --expt-relaxed-constexpr (std::bit_cast).
#ifndef VEXACT_NUMERICS_HOST_DEVICE_H_
#define VEXACT_NUMERICS_HOST_DEVICE_H_

#ifdef __CUDACC__
#define VX_HOST_DEVICE __host__ __device__
#else
#define VX_HOST_DEVICE
#endif

#endif  // VEXACT_NUMERICS_HOST_DEVICE_H_
