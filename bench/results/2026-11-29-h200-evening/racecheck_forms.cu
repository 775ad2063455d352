// Which forms of a shared-memory mailbox does racecheck follow? Each kernel hands kRounds values
// from a producer warp to 8 consumer warps and sums them.
#include <cstdint>
#include <cstdio>
#include <cuda/barrier>
#include <cuda/ptx>
constexpr int kRounds = 64, kConsumerWarps = 8;
__device__ uint32_t Addr(const void* p) { return (uint32_t)__cvta_generic_to_shared(p); }
__device__ void Init(uint64_t* b, int n) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(Addr(b)), "r"(n) : "memory");
}
__device__ void Arrive(uint64_t* b) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(Addr(b)) : "memory");
}
__device__ void Wait(uint64_t* b, uint32_t parity) {
  asm volatile(
      "{ .reg .pred p;\n W: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n @!p bra W;\n "
      "}" ::"r"(Addr(b)),
      "r"(parity)
      : "memory");
}
__device__ void WaitTest(uint64_t* b, uint32_t parity) {
  uint32_t done = 0;
  while (!done)
    asm volatile(
        "{ .reg .pred p; mbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, "
        "p; }"
        : "=r"(done)
        : "r"(Addr(b)), "r"(parity)
        : "memory");
}
template <int kForm>
__global__ void K(int* out) {
  __shared__ uint64_t full[2], empty[2];
  __shared__ int box[2];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const bool all = kForm == 1;  // every consumer lane arrives
  if (threadIdx.x == 0) {
    for (int i = 0; i < 2; ++i) {
      Init(&full[i], 1);
      Init(&empty[i], all ? 256 : kConsumerWarps);
    }
  }
  __syncthreads();
  int sum = 0;
  if (warp == kConsumerWarps) {
    for (int r = 0; r < kRounds; ++r) {
      const int s = r & 1;
      const uint32_t ph = (r >> 1) & 1;
      if (kForm == 3)
        WaitTest(&empty[s], ph ^ 1);
      else
        Wait(&empty[s], ph ^ 1);
      if (lane == 0) {
        box[s] = r;
        Arrive(&full[s]);
      }
      __syncwarp();
    }
  } else {
    for (int r = 0; r < kRounds; ++r) {
      const int s = r & 1;
      const uint32_t ph = (r >> 1) & 1;
      if (kForm == 3)
        WaitTest(&full[s], ph);
      else
        Wait(&full[s], ph);
      int v = 0;
      if (kForm == 2) {
        if (lane == 0) v = *(volatile int*)&box[s];
        v = __shfl_sync(~0u, v, 0);
      } else
        v = *(volatile int*)&box[s];
      __syncwarp();
      if (all)
        Arrive(&empty[s]);
      else if (lane == 0)
        Arrive(&empty[s]);
      sum += v;
    }
  }
  atomicAdd(out, sum);
}
__global__ void NamedBarrier(int* out) {
  __shared__ int box[2];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  int sum = 0;
  for (int r = 0; r < kRounds; ++r) {
    const int s = r & 1;
    if (warp == kConsumerWarps) {
      if (r >= 2) asm volatile("bar.sync %0, 288;" ::"r"(4 + s) : "memory");
      if (lane == 0) box[s] = r;
      __syncwarp();
      asm volatile("bar.arrive %0, 288;" ::"r"(2 + s) : "memory");
    } else {
      asm volatile("bar.sync %0, 288;" ::"r"(2 + s) : "memory");
      sum += *(volatile int*)&box[s];
      if (r + 2 < kRounds) asm volatile("bar.arrive %0, 288;" ::"r"(4 + s) : "memory");
    }
  }
  atomicAdd(out, sum);
}
// The library's own barrier, all threads take part.
__global__ void CudaBarrier(int* out) {
  using Bar = cuda::barrier<cuda::thread_scope_block>;
#pragma nv_diag_suppress static_var_with_dynamic_init
  __shared__ Bar full[2], empty[2];
  __shared__ int box[2];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x == 0)
    for (int i = 0; i < 2; ++i) {
      init(&full[i], 288);
      init(&empty[i], 288);
    }
  __syncthreads();
  int sum = 0;
  if (warp < kConsumerWarps)
    for (int i = 0; i < 2; ++i) (void)empty[i].arrive();
  for (int r = 0; r < kRounds; ++r) {
    const int s = r & 1;
    if (warp == kConsumerWarps) {
      empty[s].arrive_and_wait();
      if (lane == 0) box[s] = r;
      (void)full[s].arrive();
    } else {
      full[s].arrive_and_wait();
      sum += *(volatile int*)&box[s];
      (void)empty[s].arrive();
    }
  }
  atomicAdd(out, sum);
}
int main(int argc, char** argv) {
  int* out;
  cudaMallocManaged(&out, 4);
  const int form = argc > 1 ? atoi(argv[1]) : 0;
  *out = 0;
  switch (form) {
    case 0:
      K<0><<<4, 288>>>(out);
      break;
    case 1:
      K<1><<<4, 288>>>(out);
      break;
    case 2:
      K<2><<<4, 288>>>(out);
      break;
    case 3:
      K<3><<<4, 288>>>(out);
      break;
    case 4:
      NamedBarrier<<<4, 288>>>(out);
      break;
    case 5:
      CudaBarrier<<<4, 288>>>(out);
      break;
  }
  printf("form %d: %s sum %d expected %d\n", form, cudaGetErrorString(cudaDeviceSynchronize()),
         *out, 4 * 256 * kRounds * (kRounds - 1) / 2);
}
