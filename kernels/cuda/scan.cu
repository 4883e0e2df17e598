// Running sums and products along an axis.
//
// An array is (outer, count, inner). Where inner is 1, a block has a chunk of a row, in one pass.
// Else a thread has a chunk of a column, and threads beside each other have columns beside each
// other: first the totals of chunks, then the running totals of those (by this kernel again), then
// each chunk from the total before it.

#include "reduce.cuh"

typedef Plus Sum;
struct Product {
    template <typename A> __device__ static A of(A a, A b) { return a * b; }
    template <typename A> __device__ static A none() { return (A)1; }
};

// What a few elements make. Of a sum it is small beside the whole, and so are its roundings; of a
// product they count in full.
template <typename T, typename Op> struct Short : Wide<T> {};
template <> struct Short<float, Product> { typedef double type; };

const int EACH = 8;     // elements of a thread, 256 threads: as in kernels/scan.py

// What blocks tell each other: value i, once `told` says that it is there.
template <typename A> struct Board {
    A* values;
    int* told;                                  // 0 at first

    __device__ void tell(int64 i, A value) const {
        *(volatile A*)(values + i) = value;
        __threadfence();
        *(volatile int*)(told + i) = 1;
    }
    __device__ A hear(int64 i) const {
        while (*(const volatile int*)(told + i) == 0) {}
        __threadfence();
        return *(const volatile A*)(values + i);
    }
};

// Op over the values of a warp, in a fixed order; each thread gets it.
template <typename Op, typename A> __device__ A together(A value) {
#pragma unroll
    for (int o = 16; o > 0; o /= 2)
        value = Op::of(value, __shfl_xor_sync(0xffffffffu, value, o));
    return value;
}

// What comes before a chunk of a row whose chunks have these totals. Called by one warp of each
// block. Chunks are in groups of 32, and groups in parts of 32: a chunk adds the totals of the
// chunks before it in its group, of the groups before that in its part, and the running total at
// the part's beginning, which alone waits for all before. So the order of addition is that of the
// places, and not that in which blocks finish.
template <typename Op, typename A>
__device__ A before(const Board<A>& board, int64 row, int64 chunk, int64 chunks, A total) {
    const int lane = threadIdx.x % 32;
    const int64 groups = (chunks + 31) / 32, parts = (groups + 31) / 32;
    const int64 each = row * (chunks + groups + parts), all = each + chunks, starts = all + groups;
    const int64 group = chunk / 32, part = group / 32;
    const int place = (int)(chunk % 32), among = (int)(group % 32);
    if (lane == 0 && place < 31) board.tell(each + chunk, total);
    const A near =
        together<Op>(lane < place ? board.hear(each + group * 32 + lane) : Op::template none<A>());
    if (lane == 0 && place == 31 && among < 31) board.tell(all + group, Op::of(near, total));
    const A far =
        together<Op>(lane < among ? board.hear(all + part * 32 + lane) : Op::template none<A>());
    const A start =
        together<Op>(part && lane == 0 ? board.hear(starts + part) : Op::template none<A>());
    const A ahead = Op::of(start, Op::of(far, near));
    if (lane == 0 && place == 31 && among == 31 && part + 1 < parts)
        board.tell(starts + part + 1, Op::of(ahead, total));
    return ahead;
}

// y[r, :] = the running values of x[r, :]. V elements move as one load or store. Blocks take chunks
// in the order in which they come, by `ticket`, so that none waits for one that cannot begin.
template <typename T, typename Op, int V>
__global__ void __launch_bounds__(256, 4)
rows(T* y, const T* x, typename Long<T>::type* values, int* told, int* ticket, int64 count,
     int64 chunks) {
    typedef typename Short<T, Op>::type A;
    typedef typename Long<T>::type L;
    __shared__ A warps[8];
    __shared__ L ahead[8];    // of each warp: what comes before it
    __shared__ int taken;
    if (ticket && threadIdx.x == 0) taken = atomicAdd(ticket, 1);
    __syncthreads();
    const int64 place = ticket ? taken : blockIdx.x, row = place / chunks;
    const int64 chunk = place - row * chunks;
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
    if (warp == 0) {
        L found = Op::template none<L>();
        if (ticket) {
            L whole = warps[0];
#pragma unroll
            for (int w = 1; w < 8; w++) whole = Op::of(whole, (L)warps[w]);
            found = before<Op, L>({values, told}, row, chunk, chunks, whole);
        }
        if (lane == 0)
#pragma unroll
            for (int w = 0; w < 8; w++) {
                ahead[w] = found;
                found = Op::of(found, (L)warps[w]);
            }
    }
    __syncthreads();
    base = (A)Op::of(ahead[warp], (L)base);
    T* to = y + row * count + start;
#pragma unroll
    for (int u = 0; u < EACH; u += V) {
        Pack<T, V> pack;
#pragma unroll
        for (int v = 0; v < V; v++) pack.at[v] = (T)Op::of(base, value[u + v]);
        if (u < left) write(to + u, pack);
    }
}

// y = the running values of x along columns, `length` elements to a chunk, each continuing `before`.
// Without y the totals of the chunks instead.
template <typename T, typename Op>
__global__ void columns(T* y, typename Long<T>::type* totals,
                        const typename Long<T>::type* before, const T* x, int64 count,
                        int64 inner, int64 chunks, int64 length, int64 threads) {
    typedef typename Short<T, Op>::type A;
    typedef typename Long<T>::type L;
    const int64 stride = (int64)gridDim.x * blockDim.x;
    for (int64 t = (int64)blockIdx.x * blockDim.x + threadIdx.x; t < threads; t += stride) {
        const int64 line = t / inner, i = t - line * inner;      // (outer, chunk)
        const int64 o = line / chunks, chunk = line - o * chunks;
        const int64 start = chunk * length;
        const int64 stop = start + length < count ? start + length : count;
        L run = before && chunk ? before[t - inner] : Op::template none<L>();
        for (int64 k = start; k < stop; k += EACH) {
            const A base = (A)run;
            A part = Op::template none<A>();
#pragma unroll
            for (int u = 0; u < EACH; u++)
                if (k + u < stop) {
                    const int64 at = (o * count + k + u) * inner + i;
                    part = Op::of(part, (A)x[at]);
                    if (y) y[at] = (T)Op::of(base, part);
                }
            run = Op::of(run, (L)part);
        }
        if (!y) totals[t] = run;
    }
}
