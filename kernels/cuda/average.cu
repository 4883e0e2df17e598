// Means of many lists of gradients, and of the samples of per-sample gradients.

#include "many.cuh"

// sum_k weights[k] from[k][i] for V elements at i; `from` holds an address for each k, or one
// array of samples of `size` elements. No weights: 1 each.
template <typename T, int V, typename A>
__device__ void add_up(A (&sum)[V], const uint64* from, int lists, bool samples, int64 size,
                       const A* weights, int64 i) {
#pragma unroll
    for (int v = 0; v < V; v++) sum[v] = (A)0;
#pragma unroll 4
    for (int k = 0; k < lists; k++) {
        const T* p = samples ? (const T*)from[0] + k * size : (const T*)from[k];
        const Pack<T, V> x = *(const Pack<T, V>*)(p + i);
        const A w = weights ? weights[k] : (A)1;
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] += w * (A)x.at[v];
    }
}

// Write means to out[i], and note squares and what is not finite.
template <typename T, int V, typename A>
__device__ void put(T* out, int64 i, const A (&sum)[V], A divisor, bool add, A (&found)[2]) {
    Pack<T, V>& target = *(Pack<T, V>*)(out + i);
    Pack<T, V> y;
    if (add) y = target;
#pragma unroll
    for (int v = 0; v < V; v++) {
        const A mean = sum[v] / divisor;
        y.at[v] = (T)(add ? (A)y.at[v] + mean : mean);
        const A written = (A)y.at[v];
        found[0] += written * written;
        found[1] += isfinite(written) ? (A)0 : (A)1;
    }
    target = y;
}

// to = sum_k weights[k] from[k] / (lists * unscale), plus `to` if `add`. `from` is a table of
// (list, tensor), or of tensors of samples. With `summary` it also finds the L2 norm of all that
// is written: `partials` holds the sum of squares and the count of what is not finite of each
// chunk; the last block adds them up. Shared memory: an address and a weight for each list.
template <typename T, int V>
__global__ void average(const uint64* from, const uint64* to, const int64* sizes, const int64* first,
                        const int* owner, int chunks, int tensors, int lists, int samples, int add,
                        const typename Wide<T>::type* weights,
                        const typename Wide<T>::type* unscale,
                        typename Wide<T>::type* partials, int* ticket,
                        typename Wide<T>::type* summary) {
    typedef typename Wide<T>::type A;
    extern __shared__ uint64 memory[];
    const int rows = samples ? 1 : lists;
    uint64* source = memory;
    A* weight = weights ? (A*)(memory + rows) : nullptr;
    const Chunks table = {sizes, first, owner};
    const A divisor = (A)lists * (unscale ? *unscale : (A)1);
    if (weights)
        for (int k = threadIdx.x; k < lists; k += THREADS) weight[k] = weights[k];
    for (int c = blockIdx.x; c < chunks; c += gridDim.x) {
        int t;
        int64 size, start, stop;
        table.find(c, t, size, start, stop);
        bool whole = stop - start == CHUNK && (!samples || size % V == 0);
        for (int k = threadIdx.x; k < rows; k += THREADS) {
            source[k] = from[(int64)k * tensors + t];
            whole = whole && aligned((const void*)source[k]);
        }
        T* out = pointer<T>(to, t);
        whole = __syncthreads_and(whole && aligned(out));
        A found[2] = {};
        if (whole) {
#pragma unroll 1
            for (int64 i = start + threadIdx.x * V; i < stop; i += THREADS * V) {
                A sum[V];
                add_up<T, V>(sum, source, lists, samples, size, weight, i);
                put<T, V>(out, i, sum, divisor, add, found);
            }
        } else {
#pragma unroll 1
            for (int64 i = start + threadIdx.x; i < stop; i += THREADS) {
                A sum[1];
                add_up<T, 1>(sum, source, lists, samples, size, weight, i);
                put<T, 1>(out, i, sum, divisor, add, found);
            }
        }
        if (summary) {
            reduce<Plus, THREADS>(found);
            if (threadIdx.x == 0) {
                partials[2 * c] = found[0];
                partials[2 * c + 1] = found[1];
            }
        }
    }
    if (summary && last_block(ticket)) {
        double total[2] = {};
        for (int c = threadIdx.x; c < chunks; c += THREADS) {
            total[0] += partials[2 * c];
            total[1] += partials[2 * c + 1];
        }
        reduce<Plus, THREADS>(total);
        if (threadIdx.x == 0) {
            summary[0] = (A)sqrt(total[0]);
            summary[1] = total[1] > 0 ? (A)1 : (A)0;
        }
    }
}

// factors[k] = min(1, limit / (norm of sample k over all tensors + 1e-6)); `from` is a table of
// tensors of samples.
template <typename T, int V>
__global__ void clip_factors(const uint64* from, const int64* sizes, const int64* first,
                             const int* owner, int chunks, int lists, double limit,
                             typename Wide<T>::type* partials, int* ticket,
                             typename Wide<T>::type* factors) {
    typedef typename Wide<T>::type A;
    const Chunks table = {sizes, first, owner};
    for (int64 job = blockIdx.x; job < (int64)chunks * lists; job += gridDim.x) {
        const int k = (int)(job / chunks), c = (int)(job % chunks);
        int t;
        int64 size, start, stop;
        table.find(c, t, size, start, stop);
        const T* p = pointer<T>(from, t) + k * size;
        const int64 packed = aligned(p) ? start + (stop - start) / V * V : start;
        A sum[1] = {};
        for (int64 i = start + threadIdx.x * V; i < packed; i += THREADS * V) {
            const Pack<T, V> x = *(const Pack<T, V>*)(p + i);
#pragma unroll
            for (int v = 0; v < V; v++) sum[0] += (A)x.at[v] * (A)x.at[v];
        }
        for (int64 i = packed + threadIdx.x; i < stop; i += THREADS)
            sum[0] += (A)p[i] * (A)p[i];
        reduce<Plus, THREADS>(sum);
        if (threadIdx.x == 0) partials[job] = sum[0];
    }
    if (!last_block(ticket)) return;
    for (int k = threadIdx.x / 32; k < lists; k += THREADS / 32) {
        double total[1] = {};
        for (int c = threadIdx.x % 32; c < chunks; c += 32) total[0] += partials[(int64)k * chunks + c];
        reduce<Plus, 32>(total);
        const A factor = (A)(limit / (sqrt(total[0]) + 1e-6));
        if (threadIdx.x % 32 == 0) factors[k] = factor < (A)1 || factor != factor ? factor : (A)1;
    }
}
