// Rows of a table by their numbers, and the sum (or largest) of the rows of each number.

#include "reduce.cuh"

typedef Plus Sum;

// NaN before all others.
struct Largest {
    template <typename A> __device__ static A of(A a, A b) { return b > a || b != b ? b : a; }
    template <typename A> __device__ static A none() { return least((A)0); }
    __device__ static float least(float a) { return lowest(a); }
    __device__ static double least(double a) { return lowest(a); }
    __device__ static int least(int) { return -2147483647 - 1; }
    __device__ static int64 least(int64) { return -9223372036854775807LL - 1; }
};

template <typename T, typename Op> struct Kept : Long<T> {};
template <> struct Kept<float, Largest> { typedef float type; };

// out[i] = table[rows[i]], 0 for a row that is not there. Thread (x, y) copies every blockDim.x-th
// pack of columns of the block's y-th row, whose number one thread reads for all.
template <typename T, int V>
__global__ void take(T* out, const T* table, const int64* rows, int64 count, int64 packs,
                     int64 height) {
    __shared__ int64 numbers[256];
    const Pack<T, V>* from = (const Pack<T, V>*)table;
    Pack<T, V>* to = (Pack<T, V>*)out;
    const int64 stride = (int64)gridDim.x * blockDim.y;
    for (int64 first = (int64)blockIdx.x * blockDim.y; first < count; first += stride) {
        const int64 i = first + threadIdx.y;
        if (threadIdx.x == 0 && i < count) numbers[threadIdx.y] = rows[i];
        __syncthreads();
        for (int64 c = threadIdx.x; i < count && c < packs; c += blockDim.x) {
            const int64 row = numbers[threadIdx.y];
            Pack<T, V> pack;
            if ((uint64)row < (uint64)height) pack = from[row * packs + c];
            else
#pragma unroll
                for (int v = 0; v < V; v++) pack.at[v] = (T)0.0f;
            to[i * packs + c] = pack;
        }
        __syncthreads();
    }
}

// list[i], by one read for a warp whose threads are all at the same i.
__device__ int64 number(const int64* list, int64 i) {
    if (blockDim.x < 32) return list[i];
    return __shfl_sync(0xffffffffu, threadIdx.x % 32 == 0 ? list[i] : 0, 0);
}

// out[s] = the sum of values[order[r]] for r from starts[s] to starts[s + 1] - 1. Thread (x, y, z)
// takes every blockDim.z-th row of one segment for one pack of columns; then the rows' sums are
// halved until one is left. The order depends on the shapes and the segment's length alone.
template <typename T, typename Op, int V>
__global__ void __launch_bounds__(256, 4) segments(T* out, const T* values, const int64* order,
                                                const int64* starts, int64 count, int64 packs) {
    typedef typename Kept<T, Op>::type A;
    __shared__ A sums[V][256];
    const Pack<T, V>* from = (const Pack<T, V>*)values;
    const int place = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const int apart = blockDim.x * blockDim.y;    // of the places of one segment
    const int64 tiles = (packs + blockDim.x - 1) / blockDim.x, group = blockIdx.x / tiles;
    const int64 segment = group * blockDim.y + threadIdx.y;
    const int64 column = (blockIdx.x - group * tiles) * blockDim.x + threadIdx.x;
    const bool there = segment < count && column < packs;
    A sum[V];
#pragma unroll
    for (int v = 0; v < V; v++) sum[v] = Op::template none<A>();
    if (segment < count) {
        for (int64 r = number(starts, segment) + threadIdx.z, stop = number(starts, segment + 1);
             r < stop; r += blockDim.z) {
            const int64 row = order ? number(order, r) : r;
            if (column >= packs) continue;
            const Pack<T, V> pack = from[row * packs + column];
#pragma unroll
            for (int v = 0; v < V; v++) sum[v] = Op::of(sum[v], (A)pack.at[v]);
        }
    }
    for (int half = blockDim.z / 2; half > 0; half /= 2) {
#pragma unroll
        for (int v = 0; v < V; v++) sums[v][place] = sum[v];
        __syncthreads();
        if ((int)threadIdx.z < half)
#pragma unroll
            for (int v = 0; v < V; v++)
                sum[v] = Op::of(sum[v], sums[v][place + half * apart]);
        __syncthreads();
    }
    if (there && threadIdx.z == 0) {
        Pack<T, V> pack;
#pragma unroll
        for (int v = 0; v < V; v++) pack.at[v] = (T)sum[v];
        ((Pack<T, V>*)out)[segment * packs + column] = pack;
    }
}
