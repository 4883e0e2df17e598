// Means of many lists of gradients, and of the samples of per-sample gradients.

#include "many.cuh"

// Lists whose addresses and weights lie in shared memory at a time, and those that are added up
// before they join the sum of any length.
const int STAGE = 512, TOGETHER = 8;

// What is averaged: `table` holds an address for each list of each tensor, or for each tensor one
// of its samples. Without weights each counts once.
template <typename A> struct Lists {
    const uint64* table;
    const A* weights;
    int count, tensors;
    bool samples;
};

// sum += weights[k] from[k][i] for k below `count`, V elements at i.
template <typename T, int V, typename A, typename L>
__device__ void add_up(L (&sum)[V], const uint64* from, const A* weights, int count, int i) {
#pragma unroll 1
    for (int first = 0; first < count; first += TOGETHER) {
        const int stop = first + TOGETHER < count ? first + TOGETHER : count;
        A part[V] = {};
#pragma unroll (V > 4 ? 2 : 4)
        for (int k = first; k < stop; k++) {
            const Pack<T, V> x = *(const Pack<T, V>*)((const T*)from[k] + i);
            const A w = weights ? weights[k] : (A)1;
#pragma unroll
            for (int v = 0; v < V; v++) part[v] += w * (A)x.at[v];
        }
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] += (L)part[v];
    }
}

// Write means to out[i], if there is one, and note squares and what is not finite.
template <typename T, int V, typename A, typename L>
__device__ void put(T* out, int i, const L (&sum)[V], A divisor, bool add, A (&found)[2]) {
    Pack<T, V> y;
    if (add) y = *(const Pack<T, V>*)(out + i);
#pragma unroll
    for (int v = 0; v < V; v++) {
        const A mean = (A)sum[v] / divisor;
        y.at[v] = (T)(add ? (A)y.at[v] + mean : mean);
        const A written = (A)y.at[v];
        found[0] += written * written;
        found[1] += isfinite(written) ? (A)0 : (A)1;
    }
    if (out) *(Pack<T, V>*)(out + i) = y;
}

// The means of the `count` elements of tensor t that begin at `start`, V at a time.
template <typename T, int V, typename A>
__device__ void means(T* out, const Lists<A>& lists, int t, int64 size, int64 start, int count,
                      A divisor, bool add, A (&found)[2]) {
    __shared__ uint64 from[STAGE];
    __shared__ A weights[STAGE];
#pragma unroll 1
    for (int base = 0; base < count; base += THREADS * V) {
        const int i = base + threadIdx.x * V;
        typename Long<A>::type sum[V] = {};
#pragma unroll 1
        for (int first = 0; first < lists.count; first += STAGE) {
            const int some = min(lists.count - first, STAGE);
            if (base == 0 || lists.count > STAGE) {
                __syncthreads();    // what was there has been used
                for (int k = threadIdx.x; k < some; k += THREADS) {
                    const int64 row = lists.samples ? 0 : first + k;
                    const int64 at = start + (lists.samples ? (first + k) * size : 0);
                    from[k] = lists.table[row * lists.tensors + t] + sizeof(T) * at;
                    if (lists.weights) weights[k] = lists.weights[first + k];
                }
                __syncthreads();
            }
            if (i < count) add_up<T, V>(sum, from, lists.weights ? weights : nullptr, some, i);
        }
        if (i < count) put<T, V>(out, i, sum, divisor, add, found);
    }
}

// to = sum_k weights[k] from[k] / (lists * unscale), plus `to` if `add`; without `to` they are not
// kept. `from` is a table of (list, tensor), or of tensors of samples; the scale is `unscale_at`'s
// if there is one. With `summary` it also finds the L2 norm of all the means: `partials` holds the
// sum of squares and the count of what is not finite of each chunk; the last block adds them up.
template <typename T, int V>
__global__ void __launch_bounds__(THREADS, 4)
average(const uint64* from, const uint64* to, const int64* sizes, const int64* first,
        const int* owner, int chunks, int tensors, int lists, int samples, int add,
        const typename Wide<T>::type* weights, double unscale,
        const typename Wide<T>::type* unscale_at, typename Wide<T>::type* partials, int* ticket,
        typename Wide<T>::type* summary) {
    typedef typename Wide<T>::type A;
    const Lists<A> all = {from, weights, lists, tensors, samples != 0};
    const Chunks table = {sizes, first, owner};
    const A divisor = (A)lists * (unscale_at ? *unscale_at : (A)unscale);
    for (int c = blockIdx.x; c < chunks; c += gridDim.x) {
        int t;
        int64 size, start, stop;
        table.find(c, t, size, start, stop);
        bool whole = stop - start == CHUNK && (!samples || size % V == 0);
        for (int k = threadIdx.x; k < (samples ? 1 : lists); k += THREADS)
            whole = whole && aligned((const void*)from[(int64)k * tensors + t]);
        T* out = to ? pointer<T>(to, t) + start : nullptr;
        whole = __syncthreads_and(whole && aligned(out));
        A found[2] = {};
        const int count = (int)(stop - start);
        if (whole) means<T, V>(out, all, t, size, start, count, divisor, add, found);
        else means<T, 1>(out, all, t, size, start, count, divisor, add, found);
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
