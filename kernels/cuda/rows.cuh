// Rows of an array, each worked on by a group of TPR threads: packs of V elements go round the
// group, and a thread may hold K of them, so that a row is read once.

#include "reduce.cuh"

// Threads of a block: several groups, or one. LEAST blocks must be resident, with 64 registers for
// each thread; FEW, where a kernel holds more: up to 128 in blocks of 256.
template <int TPR> struct Block {
    static const int SIZE = TPR < 256 ? 256 : TPR;
    static const int LEAST = 1024 / SIZE;
    static const int FEW = SIZE > 256 ? 1 : 2;
};

// This thread's group and its place in it. All groups of a block go through the loop together:
// for (int64 base = rows.begin(); base < count; base += rows.stride()), with row = base + group.
template <int TPR> struct Rows {
    static const int GROUPS = Block<TPR>::SIZE / TPR;
    const int group = threadIdx.x / TPR, lane = threadIdx.x % TPR;
    __device__ int64 begin() const { return (int64)blockIdx.x * GROUPS; }
    __device__ int64 stride() const { return (int64)gridDim.x * GROUPS; }
};

// Which columns pack k of this thread begins with, for a row of `cols`.
template <int V, int TPR> __device__ int column(int lane, int k) { return (k * TPR + lane) * V; }

template <typename T, int V> __device__ Pack<T, V> load(const T* row, int64 c) {
    return *(const Pack<T, V>*)(row + c);
}

template <typename T, int V> __device__ void store(T* row, int64 c, const Pack<T, V>& x) {
    *(Pack<T, V>*)(row + c) = x;
}
