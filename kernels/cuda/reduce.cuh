// Types, packed loads and block reductions that the kernels share.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef long long int64;
typedef unsigned long long uint64;

// Sums are kept in float where the elements are narrower.
template <typename T> struct Wide { typedef float type; };
template <> struct Wide<double> { typedef double type; };

// Sums of any length are kept in double where the elements are float; integers as they are.
template <typename T> struct Long { typedef T type; };
template <> struct Long<__half> { typedef float type; };
template <> struct Long<__nv_bfloat16> { typedef float type; };
template <> struct Long<float> { typedef double type; };

// V elements that move as one load or store of up to 16 bytes.
template <typename T, int V> struct alignas(sizeof(T) * V) Pack { T at[V]; };

// A store of 16 bytes stays one this way: an ordinary one the compiler may cut into elements.
template <typename T, int V> __device__ void write(T* to, const Pack<T, V>& pack) {
    if constexpr (sizeof(pack) == 16)
        __stwb((uint4*)to, *(const uint4*)&pack);
    else
        *(Pack<T, V>*)to = pack;
}

__device__ bool aligned(const void* p) { return ((uint64)p & 15) == 0; }

__device__ float lowest(float) { return -__int_as_float(0x7f800000); }
__device__ double lowest(double) { return -__longlong_as_double(0x7ff0000000000000LL); }

struct Plus {
    template <typename A> __device__ static A of(A a, A b) { return a + b; }
    template <typename A> __device__ static A none() { return (A)0; }
};

// Prefers numbers to NaN: who needs the NaN meets it again in a sum.
struct Most {
    __device__ static float of(float a, float b) { return fmaxf(a, b); }
    __device__ static double of(double a, double b) { return fmax(a, b); }
    template <typename A> __device__ static A none() { return lowest((A)0); }
};

// Reduce N values over groups of TPR threads, each of which gets the results. The order is fixed:
// a butterfly in the warp, then the warps in order. TPR is a power of two of at most 32, or the
// size of the block, which then calls it as a whole.
template <typename Op, int TPR, int N, typename A> __device__ void reduce(A (&value)[N]) {
    const int width = TPR < 32 ? TPR : 32;
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int offset = width / 2; offset > 0; offset /= 2)
            value[n] = Op::of(value[n], __shfl_xor_sync(0xffffffffu, value[n], offset));
    if (TPR > 32) {
        constexpr int warps = TPR > 32 ? TPR / 32 : 1;
        __shared__ A each[warps][N];
        __syncthreads();    // the last call's results have been read
        if (threadIdx.x % 32 == 0)
#pragma unroll
            for (int n = 0; n < N; n++) each[threadIdx.x / 32][n] = value[n];
        __syncthreads();
#pragma unroll
        for (int n = 0; n < N; n++) {
            A a = threadIdx.x % 32 < warps ? each[threadIdx.x % 32][n] : Op::template none<A>();
#pragma unroll
            for (int offset = 16; offset > 0; offset /= 2)
                a = Op::of(a, __shfl_xor_sync(0xffffffffu, a, offset));
            value[n] = a;
        }
    }
}

// Whether this block is the last of the grid to come here: it then sees what all others wrote.
// The ticket is 0 before and after.
__device__ bool last_block(int* ticket) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(ticket, 1) == (int)gridDim.x - 1;
        if (last) *ticket = 0;
    }
    __syncthreads();
    __threadfence();
    return last;
}
