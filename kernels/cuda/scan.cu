// Running sums and products along an axis, in chunks: the totals of chunks, the running totals of
// those (by these kernels again), then each chunk from the total before it.
//
// An array is (outer, count, inner). Where inner is 1, a block has a chunk of a row; else a thread
// has a chunk of a column, and threads beside each other have columns beside each other.

#include "reduce.cuh"

struct Sum {
    template <typename A> __device__ static A of(A a, A b) { return a + b; }
    template <typename A> __device__ static A none() { return (A)0.0f; }
};
struct Product {
    template <typename A> __device__ static A of(A a, A b) { return a * b; }
    template <typename A> __device__ static A none() { return (A)1.0f; }
};

const int EACH = 8;     // elements of a thread, 256 threads: as in kernels/scan.py

// y[r, :] = the running values of x[r, :], each chunk continuing before[r, c - 1]. Without y the
// totals of the chunks instead. V elements move as one load or store.
template <typename T, typename Op, int V>
__global__ void rows(T* y, typename Wide<T>::type* totals, const typename Wide<T>::type* before,
                     const T* x, int64 count, int64 chunks) {
    typedef typename Wide<T>::type A;
    __shared__ A warps[8];
    const int64 row = blockIdx.x / chunks, chunk = blockIdx.x - row * chunks;
    const int64 start = (chunk * 256 + threadIdx.x) * EACH, left = count - start;
    const T* from = x + row * count + start;
    A value[EACH], total = Op::template none<A>();
#pragma unroll
    for (int u = 0; u < EACH; u += V) {
        Pack<T, V> pack;
        if (u < left) pack = *(const Pack<T, V>*)(from + u);    // V divides the row, if not 1
#pragma unroll
        for (int v = 0; v < V; v++) {
            if (u < left) total = Op::of(total, (A)pack.at[v]);
            value[u + v] = total;
        }
    }
    // The running totals of the warp's threads, then of the warps before.
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    A run = total;
#pragma unroll
    for (int o = 1; o < 32; o *= 2) {
        const A other = __shfl_up_sync(0xffffffffu, run, o);
        if (lane >= o) run = Op::of(other, run);
    }
    if (lane == 31) warps[warp] = run;
    A base = __shfl_up_sync(0xffffffffu, run, 1);
    if (lane == 0) base = Op::template none<A>();
    __syncthreads();
    A ahead = before && chunk ? before[blockIdx.x - 1] : Op::template none<A>();
    for (int w = 0; w < warp; w++) ahead = Op::of(ahead, warps[w]);
    if (!y) {
        if (threadIdx.x == 255) totals[blockIdx.x] = Op::of(ahead, run);
        return;
    }
    base = Op::of(ahead, base);
    T* to = y + row * count + start;
#pragma unroll
    for (int u = 0; u < EACH; u += V) {
        Pack<T, V> pack;
#pragma unroll
        for (int v = 0; v < V; v++) pack.at[v] = (T)Op::of(base, value[u + v]);
        if (u < left) *(Pack<T, V>*)(to + u) = pack;
    }
}

// The same along columns, `length` elements to a chunk.
template <typename T, typename Op>
__global__ void columns(T* y, typename Wide<T>::type* totals,
                        const typename Wide<T>::type* before, const T* x, int64 count,
                        int64 inner, int64 chunks, int64 length, int64 threads) {
    typedef typename Wide<T>::type A;
    const int64 stride = (int64)gridDim.x * blockDim.x;
    for (int64 t = (int64)blockIdx.x * blockDim.x + threadIdx.x; t < threads; t += stride) {
        const int64 line = t / inner, i = t - line * inner;      // (outer, chunk)
        const int64 o = line / chunks, chunk = line - o * chunks;
        const int64 start = chunk * length;
        const int64 stop = start + length < count ? start + length : count;
        A run = before && chunk ? before[t - inner] : Op::template none<A>();
        for (int64 k = start; k < stop; k++) {
            const int64 at = (o * count + k) * inner + i;
            run = Op::of(run, (A)x[at]);
            if (y) y[at] = (T)run;
        }
        if (!y) totals[t] = run;
    }
}
