// What the sources of raw kernels need from CUDA, for an ordinary compiler: one thread at a time, at a place that is set
// from outside, and one lane a row.
#include <cmath>
using namespace std;

struct Index { int x; };
Index blockIdx, threadIdx, blockDim, gridDim;

#define __global__
#define __device__ static
#define LANES 1

template <typename T>
static inline T __shfl_xor_sync(unsigned, T value, int, int) { return value; }

extern "C" void stand_at(int block, int thread, int threads, int blocks) {
    blockIdx.x = block;
    threadIdx.x = thread;
    blockDim.x = threads;
    gridDim.x = blocks;
}
