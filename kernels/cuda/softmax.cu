// Softmax and log-softmax of rows, forward and backward, and the cross-entropy of rows of logits.

#include "rows.cuh"

// The maximum and the sum of exp(x - maximum) of a part of a row, for merging with other parts.
template <typename A> struct Tail {
    A most = lowest((A)0), sum = (A)0;

    // What to subtract: not minus infinity, from which nothing differs by a number.
    __device__ static A base(A most) { return most == lowest((A)0) ? (A)0 : most; }

    template <int V> __device__ void add(const A (&x)[V]) {
        A top = most;
#pragma unroll
        for (int v = 0; v < V; v++) top = Most::of(top, x[v]);
        const A from = base(top);
        if (top != most) sum *= exp(most - from);
        most = top;
#pragma unroll
        for (int v = 0; v < V; v++) sum += exp(x[v] - from);
    }

    // Merge with the other threads' of the group.
    template <int TPR> __device__ void merge() {
        A top[1] = {most};
        reduce<Most, TPR>(top);
        A total[1] = {sum * exp(most - base(top[0]))};
        reduce<Plus, TPR>(total);
        most = top[0];
        sum = total[0];
    }
};

// y = softmax(x), or its logarithm, over rows. K packs a thread hold the row; K = 0: it is read twice.
template <typename T, int V, int TPR, int K, bool LOG>
__global__ void __launch_bounds__(Block<TPR>::SIZE, Block<TPR>::LEAST)
softmax(const T* x, T* y, int64 count, int64 cols) {
    typedef typename Wide<T>::type A;
    const Rows<TPR> rows;
    for (int64 base = rows.begin(); base < count; base += rows.stride()) {
        const int64 row = base + rows.group;
        const T* from = x + row * cols;
        T* to = y + row * cols;
        const int64 width = row < count ? cols : 0;
        if (K > 0) {
            A e[K > 0 ? K : 1][V];
            A top[1] = {lowest((A)0)};
#pragma unroll
            for (int k = 0; k < K; k++) {
                const int c = column<V, TPR>(rows.lane, k);
                Pack<T, V> p;
                if (c < width) p = load<T, V>(from, c);
#pragma unroll
                for (int v = 0; v < V; v++) {
                    e[k][v] = c < width ? (A)p.at[v] : lowest((A)0);
                    top[0] = Most::of(top[0], e[k][v]);
                }
            }
            reduce<Most, TPR>(top);
            A sum[1] = {};
#pragma unroll
            for (int k = 0; k < K; k++) {
                const bool in = column<V, TPR>(rows.lane, k) < width;
#pragma unroll
                for (int v = 0; v < V; v++) {
                    e[k][v] -= top[0];
                    const A grown = exp(e[k][v]);
                    if (in) sum[0] += grown;
                    if (!LOG) e[k][v] = grown;
                }
            }
            reduce<Plus, TPR>(sum);
            const A last = LOG ? log(sum[0]) : sum[0];
#pragma unroll
            for (int k = 0; k < K; k++) {
                const int c = column<V, TPR>(rows.lane, k);
                Pack<T, V> p;
#pragma unroll
                for (int v = 0; v < V; v++) p.at[v] = (T)(LOG ? e[k][v] - last : e[k][v] / last);
                if (c < width) store<T, V>(to, c, p);
            }
        } else {
            Tail<A> tail;
            for (int64 c = rows.lane * V; c < width; c += TPR * V) {
                const Pack<T, V> p = load<T, V>(from, c);
                A e[V];
#pragma unroll
                for (int v = 0; v < V; v++) e[v] = (A)p.at[v];
                tail.add(e);
            }
            tail.template merge<TPR>();
            const A last = LOG ? log(tail.sum) : tail.sum;
            for (int64 c = rows.lane * V; c < width; c += TPR * V) {
                Pack<T, V> p = load<T, V>(from, c);
#pragma unroll
                for (int v = 0; v < V; v++) {
                    const A e = (A)p.at[v] - tail.most;
                    p.at[v] = (T)(LOG ? e - last : exp(e) / last);
                }
                store<T, V>(to, c, p);
            }
        }
    }
}

// dx = y (g - sum(g y)), or, of the logarithm y, g - exp(y) sum(g).
template <typename T, int V, int TPR, int K, bool LOG>
__global__ void __launch_bounds__(Block<TPR>::SIZE, Block<TPR>::LEAST)
softmax_backward(const T* g, const T* y, T* dx, int64 count, int64 cols) {
    typedef typename Wide<T>::type A;
    const Rows<TPR> rows;
    for (int64 base = rows.begin(); base < count; base += rows.stride()) {
        const int64 row = base + rows.group;
        const int64 width = row < count ? cols : 0;
        const int64 at = row * cols;
        Pack<T, V> held_g[K > 0 ? K : 1], held_y[K > 0 ? K : 1];
        A sum[1] = {};
        if (K > 0) {
#pragma unroll
            for (int k = 0; k < K; k++) {
                const int c = column<V, TPR>(rows.lane, k);
                if (c < width) {
                    held_g[k] = load<T, V>(g + at, c);
                    held_y[k] = load<T, V>(y + at, c);
#pragma unroll
                    for (int v = 0; v < V; v++)
                        sum[0] += LOG ? (A)held_g[k].at[v] : (A)held_g[k].at[v] * (A)held_y[k].at[v];
                }
            }
        } else {
            for (int64 c = rows.lane * V; c < width; c += TPR * V) {
                const Pack<T, V> p = load<T, V>(g + at, c), q = load<T, V>(y + at, c);
#pragma unroll
                for (int v = 0; v < V; v++)
                    sum[0] += LOG ? (A)p.at[v] : (A)p.at[v] * (A)q.at[v];
            }
        }
        reduce<Plus, TPR>(sum);
        auto slope = [&](const Pack<T, V>& p, const Pack<T, V>& q) {
            Pack<T, V> d;
#pragma unroll
            for (int v = 0; v < V; v++) {
                const A a = (A)p.at[v], b = (A)q.at[v];
                d.at[v] = (T)(LOG ? a - exp(b) * sum[0] : b * (a - sum[0]));
            }
            return d;
        };
        if (K > 0) {
#pragma unroll
            for (int k = 0; k < K; k++) {
                const int c = column<V, TPR>(rows.lane, k);
                if (c < width) store<T, V>(dx + at, c, slope(held_g[k], held_y[k]));
            }
        } else {
            for (int64 c = rows.lane * V; c < width; c += TPR * V)
                store<T, V>(dx + at, c, slope(load<T, V>(g + at, c), load<T, V>(y + at, c)));
        }
    }
}

// Each row's cross-entropy and log-sum-exp from one reading of its logits. MEAN, SUM or NONE says
// what `out` receives; for the first two `partials` holds each block's sums of losses and of weights,
// which the last block adds up, and *divisor receives the rows' weights. A label that is no column
// makes its loss NaN.
enum { NONE, SUM, MEAN };

template <typename T, typename I, int V, int TPR>
__global__ void __launch_bounds__(Block<TPR>::SIZE, Block<TPR>::LEAST)
cross_entropy(const T* logits, const I* labels, const T* weights, T* out, int reduction,
              double* partials, typename Wide<T>::type* lse,
              typename Wide<T>::type* divisor, int* ticket, int64 count, int64 cols, int64 ignored,
              double smoothing) {
    typedef typename Wide<T>::type A;
    const Rows<TPR> rows;
    const A spread = (A)(smoothing / cols), sharp = (A)(1 - smoothing);
    double sum[2] = {};    // of this thread's losses, and of their weights
    for (int64 base = rows.begin(); base < count; base += rows.stride()) {
        const int64 row = base + rows.group;
        const int64 width = row < count ? cols : 0;
        const T* x = logits + row * cols;
        // A group within a warp meets the label's logit as it goes; a wider one, of which each
        // warp would have to read the label, reads that logit again.
        const bool meets = TPR <= 32;
        int64 label = 0;
        if (row < count && rows.lane == 0) label = (int64)labels[row];
        if (meets) label = __shfl_sync(0xffffffffu, label, 0, meets ? TPR : 32);
        Tail<A> tail;
        A met[1] = {};
        A sums[2] = {};    // of weight * logit, and of the weights, as smoothing needs them
        for (int64 c = rows.lane * V; c < width; c += TPR * V) {
            const Pack<T, V> p = load<T, V>(x, c);
            A e[V];
#pragma unroll
            for (int v = 0; v < V; v++) e[v] = (A)p.at[v];
            tail.add(e);
            if (meets)
#pragma unroll
                for (int v = 0; v < V; v++)
                    if (c + v == label) met[0] = e[v];
            if (smoothing > 0)
#pragma unroll
                for (int v = 0; v < V; v++) {
                    const A w = weights ? (A)weights[c + v] : (A)1;
                    sums[0] += w * e[v];
                    sums[1] += w;
                }
        }
        tail.template merge<TPR>();
        if (meets) reduce<Plus, TPR>(met);
        if (smoothing > 0) reduce<Plus, TPR>(sums);
        if (rows.lane == 0 && row < count) {
            const A rest = log(tail.sum);
            A loss = 0;
            if (label != ignored) {
                if ((uint64)label < (uint64)cols) {
                    const A w = weights ? (A)weights[label] : (A)1;
                    const A logit = meets ? met[0] : (A)x[label];
                    loss = sharp * w * (rest - (logit - tail.most));
                    sum[1] += w;
                } else {
                    loss = lowest((A)0) - lowest((A)0);
                }
                if (smoothing > 0) loss += spread * (sums[1] * (rest + tail.most) - sums[0]);
            }
            if (reduction == NONE) out[row] = (T)loss;
            sum[0] += loss;
            lse[row] = tail.most + rest;
        }
    }
    if (reduction == NONE) return;
    reduce<Plus, Block<TPR>::SIZE>(sum);
    if (threadIdx.x == 0) {
        partials[2 * blockIdx.x] = sum[0];
        partials[2 * blockIdx.x + 1] = sum[1];
    }
    if (!last_block(ticket)) return;
    sum[0] = sum[1] = 0;
    for (int b = threadIdx.x; b < gridDim.x; b += Block<TPR>::SIZE) {
        sum[0] += partials[2 * b];
        sum[1] += partials[2 * b + 1];
    }
    reduce<Plus, Block<TPR>::SIZE>(sum);
    if (threadIdx.x == 0) {
        *out = (T)(A)(reduction == MEAN ? sum[0] / sum[1] : sum[0]);
        *divisor = (A)sum[1];
    }
}

// The logits' gradient from those of the losses: g of each row, or one for all, over *divisor.
template <typename T, typename I, int V, int TPR>
__global__ void __launch_bounds__(Block<TPR>::SIZE, Block<TPR>::FEW)
cross_entropy_backward(const T* g, int each, const typename Wide<T>::type* divisor,
                       const T* logits, const I* labels, const T* weights,
                       const typename Wide<T>::type* lse, T* dx, int64 count, int64 cols,
                       int64 ignored, double smoothing, const typename Wide<T>::type* weight_sum) {
    typedef typename Wide<T>::type A;
    const Rows<TPR> rows;
    const A spread = (A)(smoothing / cols), sharp = (A)(1 - smoothing);
    const int width = TPR < 32 ? TPR : 32;
    A up = 0, over = 1, whole = (A)cols;
    if (threadIdx.x % 32 == 0) {    // one thread reads for its warp, later for its group
        if (!each) up = (A)g[0];
        if (divisor) over = *divisor;
        if (weights && smoothing > 0) whole = *weight_sum;
    }
    up = __shfl_sync(0xffffffffu, up, 0) / __shfl_sync(0xffffffffu, over, 0);
    whole = __shfl_sync(0xffffffffu, whole, 0);
    over = __shfl_sync(0xffffffffu, over, 0);
    for (int64 base = rows.begin(); base < count; base += rows.stride()) {
        const int64 row = base + rows.group;
        int64 label = 0;
        A from = 0, w = 1;
        if (row < count && threadIdx.x % width == 0) {
            label = (int64)labels[row];
            from = lse[row];
            if (weights && (uint64)label < (uint64)cols) w = (A)weights[label];
            if (each) up = (A)g[row] / over;
        }
        label = __shfl_sync(0xffffffffu, label, 0, width);
        from = __shfl_sync(0xffffffffu, from, 0, width);
        w = __shfl_sync(0xffffffffu, w, 0, width);
        if (each) up = __shfl_sync(0xffffffffu, up, 0, width);
        if (row >= count) continue;
        const bool off = label == ignored;
        const A height = up * (sharp * w + spread * whole);
        const A peak = up * sharp * w, floor = up * spread;
        for (int64 c = rows.lane * V; c < cols; c += TPR * V) {
            Pack<T, V> p;
            if (!off) p = load<T, V>(logits + row * cols, c);
#pragma unroll
            for (int v = 0; v < V; v++) {
                A d = height * exp((A)p.at[v] - from);
                if (smoothing > 0) d -= weights ? floor * (A)weights[c + v] : floor;
                if (c + v == label) d -= peak;
                p.at[v] = (T)(off ? (A)0 : d);
            }
            store<T, V>(dx + row * cols, c, p);
        }
    }
}
