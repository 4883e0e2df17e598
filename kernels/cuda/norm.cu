// Layer, RMS and group normalisation of rows, and batch normalisation of channels.

#include "rows.cuh"

// Count, mean and sum of squared deviations, merged by Chan's formulas: no cancellation.
template <typename A> struct Moments {
    A count = 0, mean = 0, squares = 0;

    __device__ void merge(A n, A other, A more) {
        const A sum = count + n;
        if (sum == (A)0) return;
        const A delta = other - mean, part = n / sum;
        mean += delta * part;
        squares += more + delta * delta * (count * part);
        count = sum;
    }

    template <int V> __device__ void add(const A (&x)[V]) {
        A total = 0, more = 0;
#pragma unroll
        for (int v = 0; v < V; v++) total += x[v];
        const A middle = total / (A)V;
#pragma unroll
        for (int v = 0; v < V; v++) more += (x[v] - middle) * (x[v] - middle);
        merge((A)V, middle, more);
    }

    // Over the TPR threads of a group, in a fixed order; all get the result.
    template <int TPR> __device__ void gather() {
        const int width = TPR < 32 ? TPR : 32;
#pragma unroll
        for (int offset = width / 2; offset > 0; offset /= 2)
            merge(__shfl_down_sync(0xffffffffu, count, offset, width),
                  __shfl_down_sync(0xffffffffu, mean, offset, width),
                  __shfl_down_sync(0xffffffffu, squares, offset, width));
        if (TPR <= 32) {
            mean = __shfl_sync(0xffffffffu, mean, 0, width);
            squares = __shfl_sync(0xffffffffu, squares, 0, width);
            count = __shfl_sync(0xffffffffu, count, 0, width);
            return;
        }
        constexpr int warps = TPR > 32 ? TPR / 32 : 1;
        __shared__ A each[3][warps];
        __syncthreads();
        if (threadIdx.x % 32 == 0) {
            each[0][threadIdx.x / 32] = count;
            each[1][threadIdx.x / 32] = mean;
            each[2][threadIdx.x / 32] = squares;
        }
        __syncthreads();
        count = mean = squares = 0;
        for (int w = 0; w < warps; w++) merge(each[0][w], each[1][w], each[2][w]);
    }
};

__device__ float inverse_root(float x) { return 1 / sqrtf(x); }
__device__ double inverse_root(double x) { return 1 / sqrt(x); }

template <typename T, int V, typename A> __device__ void widen(const Pack<T, V>& p, A (&x)[V]) {
#pragma unroll
    for (int v = 0; v < V; v++) x[v] = (A)p.at[v];
}

// The factors of the columns of a row. Plain: column c has weight[c], which the threads hold.
// Grouped: the columns are channels of `inner` elements, and the channels' weights of the row's
// group lie in shared memory.
const int MOST_CHANNELS = 1024;    // in a group, as in kernels/norm.py

template <typename A, int N> struct Staged { A weight[N], bias[N]; };

// y = (x - mean) * rstd * weight + bias over rows; without CENTER the mean counts as 0. weight and
// bias may be null. K packs a thread hold the row and its weights; K = 0: it is read twice.
template <typename T, int V, int TPR, int K, bool CENTER, bool GROUPED>
__global__ void __launch_bounds__(Block<TPR>::SIZE, Block<TPR>::LEAST)
norm_rows(const T* x, const T* weight, const T* bias, T* y, typename Wide<T>::type* means,
          typename Wide<T>::type* rstds, int64 count, int cols, int groups, int inner, double eps) {
    typedef typename Wide<T>::type A;
    const int H = K > 0 ? K : 1;
    const Rows<TPR> rows;
    __shared__ Staged<A, GROUPED ? MOST_CHANNELS : 1> staged;
    Pack<T, V> w[H], b[H];
    if (K > 0 && !GROUPED) {
#pragma unroll
        for (int k = 0; k < K; k++) {
            const int c = column<V, TPR>(rows.lane, k);
            if (c < cols && weight) w[k] = load<T, V>(weight, c);
            if (c < cols && bias) b[k] = load<T, V>(bias, c);
        }
    }
    const int channels = cols / inner;
    for (int64 row = rows.begin() + rows.group; row < count; row += rows.stride()) {
        const T* from = x + row * cols;
        if (GROUPED) {
            __syncthreads();
            const int64 first = row % groups * channels;
            for (int j = threadIdx.x; j < channels; j += Block<TPR>::SIZE) {
                staged.weight[j] = weight ? (A)weight[first + j] : (A)1;
                staged.bias[j] = bias ? (A)bias[first + j] : (A)0;
            }
            __syncthreads();
        }
        Pack<T, V> held[H];
        A mean = 0, square = 0;
        if (K > 0) {
            A sum[1] = {};
#pragma unroll
            for (int k = 0; k < K; k++) {
                const int c = column<V, TPR>(rows.lane, k);
                if (c < cols) {
                    held[k] = load<T, V>(from, c);
                    if (CENTER)
#pragma unroll
                        for (int v = 0; v < V; v++) sum[0] += (A)held[k].at[v];
                }
            }
            if (CENTER) {
                reduce<Plus, TPR>(sum);
                mean = sum[0] / (A)cols;
                sum[0] = 0;
            }
#pragma unroll
            for (int k = 0; k < K; k++)
                if (column<V, TPR>(rows.lane, k) < cols)
#pragma unroll
                    for (int v = 0; v < V; v++) {
                        const A d = (A)held[k].at[v] - mean;
                        sum[0] += d * d;
                    }
            reduce<Plus, TPR>(sum);
            square = sum[0] / (A)cols;
        } else {
            Moments<A> moments;    // from the first element, as `origin_of` says
            const A origin =
                CENTER ? __shfl_sync(0xffffffffu, threadIdx.x % 32 ? (A)0 : (A)from[0], 0) : (A)0;
            A sum[1] = {};
            for (int c = rows.lane * V; c < cols; c += TPR * V) {
                A e[V];
                widen(load<T, V>(from, c), e);
#pragma unroll
                for (int v = 0; v < V; v++) e[v] -= origin;
                if (CENTER) moments.add(e);
                else
#pragma unroll
                    for (int v = 0; v < V; v++) sum[0] += e[v] * e[v];
            }
            if (CENTER) {
                moments.template gather<TPR>();
                mean = origin + moments.mean;
                square = moments.squares / (A)cols;
            } else {
                reduce<Plus, TPR>(sum);
                square = sum[0] / (A)cols;
            }
        }
        const A rstd = inverse_root(square + (A)eps);
        if (rows.lane == 0) {
            if (CENTER) means[row] = mean;
            rstds[row] = rstd;
        }
        auto put = [&](int c, const Pack<T, V>& p, const Pack<T, V>& wk, const Pack<T, V>& bk) {
            Pack<T, V> q;
#pragma unroll
            for (int v = 0; v < V; v++) {
                A value = ((A)p.at[v] - mean) * rstd;
                if (GROUPED) {
                    const int j = (c + v) / inner;
                    value = value * staged.weight[j] + staged.bias[j];
                } else {
                    if (weight) value *= (A)wk.at[v];
                    if (bias) value += (A)bk.at[v];
                }
                q.at[v] = (T)value;
            }
            store<T, V>(y + row * cols, c, q);
        };
        if (K > 0) {
#pragma unroll
            for (int k = 0; k < K; k++) {
                const int c = column<V, TPR>(rows.lane, k);
                if (c < cols) put(c, held[k], w[k], b[k]);
            }
        } else {
            for (int c = rows.lane * V; c < cols; c += TPR * V) {
                Pack<T, V> wk, bk;
                if (!GROUPED && weight) wk = load<T, V>(weight, c);
                if (!GROUPED && bias) bk = load<T, V>(bias, c);
                put(c, load<T, V>(from, c), wk, bk);
            }
        }
    }
}

// dx = rstd (h - mean(h) - xhat mean(h xhat)) for h = g * weight and xhat = (x - mean) rstd, over
// rows; without CENTER the mean of h counts as 0. With `partials` each group of threads leaves its
// sums of g xhat and of g over its rows there: (group, 2, column).
template <typename T, int V, int TPR, int K, bool CENTER, bool GROUPED>
__global__ void __launch_bounds__(Block<TPR>::SIZE, Block<TPR>::FEW)
norm_rows_backward(const T* g, const T* x, const T* weight, const typename Wide<T>::type* means,
                   const typename Wide<T>::type* rstds, T* dx, typename Wide<T>::type* partials,
                   int64 count, int cols, int groups, int inner) {
    typedef typename Wide<T>::type A;
    const int H = K > 0 ? K : 1;
    const Rows<TPR> rows;
    __shared__ A staged[GROUPED ? MOST_CHANNELS : 1];
    Pack<T, V> w[H];
    A dw[H][V] = {}, db[H][V] = {};
    if (K > 0 && !GROUPED && weight) {
#pragma unroll
        for (int k = 0; k < K; k++) {
            const int c = column<V, TPR>(rows.lane, k);
            if (c < cols) w[k] = load<T, V>(weight, c);
        }
    }
    const int channels = cols / inner;
    for (int64 row = rows.begin() + rows.group; row < count; row += rows.stride()) {
        const int64 at = row * cols;
        if (GROUPED) {
            __syncthreads();
            const int64 first = row % groups * channels;
            for (int j = threadIdx.x; j < channels; j += Block<TPR>::SIZE)
                staged[j] = weight ? (A)weight[first + j] : (A)1;
            __syncthreads();
        }
        A mean = 0, rstd = 0;
        if (threadIdx.x % 32 == 0) {    // for its warp
            if (CENTER) mean = means[row];
            rstd = rstds[row];
        }
        if (CENTER) mean = __shfl_sync(0xffffffffu, mean, 0);
        rstd = __shfl_sync(0xffffffffu, rstd, 0);
        auto factor = [&](int c, const Pack<T, V>& wk, int v) {
            if (GROUPED) return staged[(c + v) / inner];
            return weight ? (A)wk.at[v] : (A)1;
        };
        Pack<T, V> held_g[H], held_x[H];
        A sums[2] = {};
        if (K > 0) {
#pragma unroll
            for (int k = 0; k < K; k++) {
                const int c = column<V, TPR>(rows.lane, k);
                if (c < cols) {
                    held_g[k] = load<T, V>(g + at, c);
                    held_x[k] = load<T, V>(x + at, c);
#pragma unroll
                    for (int v = 0; v < V; v++) {
                        const A up = (A)held_g[k].at[v], hat = ((A)held_x[k].at[v] - mean) * rstd;
                        const A h = up * factor(c, w[k], v);
                        sums[0] += h;
                        sums[1] += h * hat;
                        if (!GROUPED) {
                            dw[k][v] += up * hat;
                            db[k][v] += up;
                        }
                    }
                }
            }
        } else {
            for (int c = rows.lane * V; c < cols; c += TPR * V) {
                const Pack<T, V> p = load<T, V>(g + at, c), q = load<T, V>(x + at, c);
                Pack<T, V> wk;
                if (!GROUPED && weight) wk = load<T, V>(weight, c);
#pragma unroll
                for (int v = 0; v < V; v++) {
                    const A h = (A)p.at[v] * factor(c, wk, v);
                    sums[0] += h;
                    sums[1] += h * (((A)q.at[v] - mean) * rstd);
                }
            }
        }
        reduce<Plus, TPR>(sums);
        const A shift = CENTER ? sums[0] / (A)cols : (A)0, slope = sums[1] / (A)cols;
        auto put = [&](int c, const Pack<T, V>& p, const Pack<T, V>& q, const Pack<T, V>& wk) {
            Pack<T, V> d;
#pragma unroll
            for (int v = 0; v < V; v++) {
                const A hat = ((A)q.at[v] - mean) * rstd;
                d.at[v] = (T)(rstd * (((A)p.at[v] * factor(c, wk, v) - shift) - hat * slope));
            }
            store<T, V>(dx + at, c, d);
        };
        if (K > 0) {
#pragma unroll
            for (int k = 0; k < K; k++) {
                const int c = column<V, TPR>(rows.lane, k);
                if (c < cols) put(c, held_g[k], held_x[k], w[k]);
            }
        } else {
            for (int c = rows.lane * V; c < cols; c += TPR * V) {
                Pack<T, V> wk;
                if (!GROUPED && weight) wk = load<T, V>(weight, c);
                put(c, load<T, V>(g + at, c), load<T, V>(x + at, c), wk);
            }
        }
    }
    if (K > 0 && !GROUPED && partials) {
        A* mine = partials + ((int64)blockIdx.x * Rows<TPR>::GROUPS + rows.group) * 2 * cols;
#pragma unroll
        for (int k = 0; k < K; k++) {
            const int c = column<V, TPR>(rows.lane, k);
            if (c < cols)
#pragma unroll
                for (int v = 0; v < V; v++) {
                    mine[c + v] = dw[k][v];
                    mine[cols + c + v] = db[k][v];
                }
        }
    }
}

// out[c] = sum over p of partials[p, c], in order: 32 columns a block, 8 parts of p.
template <typename A, typename T>
__global__ void __launch_bounds__(256)
sum_partials(const A* partials, T* out, T* more, int64 parts, int64 cols) {
    __shared__ double each[8][33];
    const int lane = threadIdx.x % 32, part = threadIdx.x / 32;
    const int64 c = (int64)blockIdx.x * 32 + lane;
    double sum = 0;
    if (c < 2 * cols)
        for (int64 p = part; p < parts; p += 8) sum += partials[p * 2 * cols + c];
    each[part][lane] = sum;
    __syncthreads();
    if (part == 0 && c < 2 * cols) {
        for (int p = 1; p < 8; p++) sum += each[p][lane];
        if (c < cols) out[c] = (T)sum;
        else more[c - cols] = (T)sum;
    }
}

// ---------------------------------------------------------------------------- channels
//
// An array (N, C, S). PLANES: a block works on a part of one channel, its N * S elements in order,
// V at a time. Otherwise S is 1, and a block works on a part of the rows of 32 channels.

const int STAGED = 512;    // statistics that a block keeps in shared memory

struct Walk {
    int64 count;                   // N
    int channels, inner;           // C, S
    int planes, pieces, length;    // a part is `planes` of the N, or `length` of a plane's S
};

__device__ int least(int64 a, int64 b) { return (int)(a < b ? a : b); }

// f(offset, n) for all packs of this thread, which are of one channel.
template <int V, bool PLANES, typename F> __device__ void walk(const Walk& w, F f) {
    if (PLANES) {
        const int c = blockIdx.x % w.channels, part = blockIdx.x / w.channels;
        const int64 first = (int64)(part / w.pieces) * w.planes;
        const int begin = part % w.pieces * w.length;
        const int total = w.pieces > 1 ? least(w.length, w.inner - begin)
                                       : least(w.planes, w.count - first) * w.inner;
        int t = threadIdx.x * V, n = t / w.inner, s = t - n * w.inner;
        const int dn = 256 * V / w.inner, ds = 256 * V - dn * w.inner;
        for (; t < total; t += 256 * V) {
            f(((first + n) * w.channels + c) * w.inner + begin + s, first + n);
            n += dn;
            s += ds;
            if (s >= w.inner) {
                s -= w.inner;
                n++;
            }
        }
    } else {
        const int tiles = (w.channels + 31) / 32;
        const int c = blockIdx.x % tiles * 32 + threadIdx.x % 32;
        const int64 first = (int64)(blockIdx.x / tiles) * w.planes;
        const int64 stop = first + least(w.planes, w.count - first);
        if (c < w.channels)
            for (int64 n = first + threadIdx.x / 32; n < stop; n += 8) f(n * w.channels + c, n);
    }
}

template <bool PLANES> __device__ int channel_of(const Walk& w) {
    return PLANES ? blockIdx.x % w.channels
                  : blockIdx.x % ((w.channels + 31) / 32) * 32 + threadIdx.x % 32;
}

// The first n of the block's part.
template <bool PLANES> __device__ int64 first_of(const Walk& w) {
    const int tiles = PLANES ? w.channels : (w.channels + 31) / 32;
    return (int64)(blockIdx.x / tiles / (PLANES ? w.pieces : 1)) * w.planes;
}

template <bool PLANES> __device__ int part_of(const Walk& w) {
    return PLANES ? blockIdx.x / w.channels : blockIdx.x / ((w.channels + 31) / 32);
}

// A channel's first element, from which its moments are taken: far from 0 means would else be
// rounded by more than the elements differ.
template <typename T> __device__ typename Wide<T>::type origin_of(const T* x, const Walk& w, int c) {
    return c < w.channels ? (typename Wide<T>::type)x[(int64)c * w.inner] : 0;
}

// The sum of f(part) over the parts of a channel, by all threads that the block has for it: 256, or
// 8. All of them get it.
template <bool PLANES, typename F> __device__ double over_parts(int parts, F f) {
    double sum[1] = {};
    if (PLANES) {
        for (int p = threadIdx.x; p < parts; p += 256) sum[0] += f(p);
        reduce<Plus, 256>(sum);
    } else {
        __shared__ double each[8][32];
        for (int p = threadIdx.x / 32; p < parts; p += 8) sum[0] += f(p);
        __syncthreads();    // the last call's have been read
        each[threadIdx.x / 32][threadIdx.x % 32] = sum[0];
        __syncthreads();
        sum[0] = 0;
        for (int p = 0; p < 8; p++) sum[0] += each[p][threadIdx.x % 32];
    }
    return sum[0];
}

// Each channel's moments by parts, from its first element: partials[part, 0 to 2, channel].
template <typename T, int V, bool PLANES>
__global__ void __launch_bounds__(256)
channel_moments(const T* x, typename Wide<T>::type* partials, int64 count, int channels, int inner,
                int planes, int pieces, int length) {
    const Walk w = {count, channels, inner, planes, pieces, length};
    typedef typename Wide<T>::type A;
    Moments<A> m;
    const int c = channel_of<PLANES>(w);
    const A origin = origin_of(x, w, c);
    walk<V, PLANES>(w, [&](int64 i, int64 n) {
        A e[V];
        widen(load<T, V>(x, i), e);
#pragma unroll
        for (int v = 0; v < V; v++) e[v] -= origin;
        m.add(e);
    });
    A* out = partials + (int64)part_of<PLANES>(w) * 3 * w.channels + c;
    bool mine = threadIdx.x == 0;
    if (PLANES) {
        m.template gather<256>();
    } else {
        __shared__ A each[3][8][32];
        const int lane = threadIdx.x % 32, part = threadIdx.x / 32;
        each[0][part][lane] = m.count;
        each[1][part][lane] = m.mean;
        each[2][part][lane] = m.squares;
        __syncthreads();
        mine = part == 0 && c < w.channels;
        for (int p = 1; p < 8; p++) m.merge(each[0][p][lane], each[1][p][lane], each[2][p][lane]);
    }
    if (mine) {
        out[0] = m.count;
        out[w.channels] = m.mean;
        out[2 * w.channels] = m.squares;
    }
}

// Sums over each channel of g xhat and of g: partials[part, 0 to 1, channel]. Element (n, c, s) is
// normalised by statistic n * by_n + c / by_c.
template <typename T, int V, bool PLANES>
__global__ void __launch_bounds__(256)
channel_sums(const T* g, const T* x, const typename Wide<T>::type* means,
             const typename Wide<T>::type* rstds, typename Wide<T>::type* partials, int64 count,
             int channels, int inner, int planes, int pieces, int length, int by_n, int by_c) {
    const Walk w = {count, channels, inner, planes, pieces, length};
    typedef typename Wide<T>::type A;
    A sums[2] = {};
    const int c = channel_of<PLANES>(w);
    // The statistics of the part's n, if a block has only one for each: read once.
    const int group = PLANES ? c / by_c : 0;
    const bool shared = PLANES || by_c >= w.channels;
    __shared__ A staged[2][STAGED];
    const int64 first = first_of<PLANES>(w);
    const int rows = by_n ? least(w.pieces > 1 ? 1 : w.planes, w.count - first) : 1;
    if (shared && rows <= STAGED)
        for (int k = threadIdx.x; k < rows; k += 256) {
            const int64 at = (first + k) * by_n + group;
            staged[0][k] = means ? means[at] : (A)0;
            staged[1][k] = rstds[at];
        }
    __syncthreads();
    int64 known = -1;
    A own[2] = {};
    walk<V, PLANES>(w, [&](int64 i, int64 n) {
        A mean, rstd;
        if (shared && rows <= STAGED) {
            const int k = by_n ? (int)(n - first) : 0;
            mean = staged[0][k];
            rstd = staged[1][k];
        } else {
            const int64 at = n * by_n + c / by_c;
            if (at != known) {
                own[0] = means ? means[at] : (A)0;
                own[1] = rstds[at];
                known = at;
            }
            mean = own[0];
            rstd = own[1];
        }
        const Pack<T, V> p = load<T, V>(g, i), q = load<T, V>(x, i);
#pragma unroll
        for (int v = 0; v < V; v++) {
            sums[0] += (A)p.at[v] * (((A)q.at[v] - mean) * rstd);
            sums[1] += (A)p.at[v];
        }
    });
    A* out = partials + (int64)part_of<PLANES>(w) * 2 * w.channels + c;
    bool mine = threadIdx.x == 0;
    if (PLANES) {
        reduce<Plus, 256>(sums);
    } else {
        __shared__ A each[2][8][32];
        const int lane = threadIdx.x % 32, part = threadIdx.x / 32;
        each[0][part][lane] = sums[0];
        each[1][part][lane] = sums[1];
        __syncthreads();
        mine = part == 0 && c < w.channels;
        for (int p = 1; p < 8; p++) {
            sums[0] += each[0][p][lane];
            sums[1] += each[1][p][lane];
        }
    }
    if (mine) {
        out[0] = sums[0];
        out[w.channels] = sums[1];
    }
}

// y = (x - mean) rstd weight + bias by the channels' moments; the first part's block also writes
// each channel's mean, variance and rstd to stats[0 to 2, channel].
template <typename T, int V, bool PLANES>
__global__ void __launch_bounds__(256)
channel_norm(const T* x, const T* weight, const T* bias, const typename Wide<T>::type* partials,
             T* y, typename Wide<T>::type* stats, int64 count, int channels, int inner, int planes,
             int pieces, int length, int parts, double eps) {
    const Walk w = {count, channels, inner, planes, pieces, length};
    typedef typename Wide<T>::type A;
    const int lane = PLANES ? 0 : threadIdx.x % 32;
    __shared__ A shared[3][PLANES ? 1 : 32];
    const int c = channel_of<PLANES>(w);
    const bool there = c < w.channels;
    const double size = (double)w.count * w.inner;
    auto moment = [&](int part, int k) {
        return there ? (double)partials[((int64)part * 3 + k) * w.channels + c] : 0;
    };
    const double middle =
        over_parts<PLANES>(parts, [&](int p) { return moment(p, 0) * moment(p, 1); }) / size;
    const double squares = over_parts<PLANES>(parts, [&](int p) {
        const double d = moment(p, 1) - middle;
        return moment(p, 2) + moment(p, 0) * d * d;
    });
    if (threadIdx.x < (PLANES ? 1 : 32) && there) {    // one thread for each channel
        const A mean = (A)(origin_of(x, w, c) + middle), variance = (A)(squares / size);
        const A rstd = inverse_root(variance + (A)eps);
        if (part_of<PLANES>(w) == 0) {
            stats[c] = mean;
            stats[w.channels + c] = variance;
            stats[2 * w.channels + c] = rstd;
        }
        shared[0][lane] = rstd * (weight ? (A)weight[c] : (A)1);
        shared[1][lane] = mean;
        shared[2][lane] = bias ? (A)bias[c] : (A)0;
    }
    __syncthreads();
    const A scale = shared[0][lane], mean = shared[1][lane], shift = shared[2][lane];
    walk<V, PLANES>(w, [&](int64 i, int64 n) {
        Pack<T, V> p = load<T, V>(x, i);
#pragma unroll
        for (int v = 0; v < V; v++) p.at[v] = (T)(((A)p.at[v] - mean) * scale + shift);
        store<T, V>(y, i, p);
    });
}

// dx = weight rstd (g - mean(g) - xhat mean(g xhat)) by the channels' sums; the first part's block
// also writes their totals to totals[0 to 1, channel].
template <typename T, int V, bool PLANES>
__global__ void __launch_bounds__(256)
channel_norm_backward(const T* g, const T* x, const T* weight,
                      const typename Wide<T>::type* means, const typename Wide<T>::type* rstds,
                      const typename Wide<T>::type* partials, T* dx, T* totals,
                      int64 count, int channels, int inner, int planes, int pieces, int length,
                      int parts) {
    const Walk w = {count, channels, inner, planes, pieces, length};
    typedef typename Wide<T>::type A;
    const int lane = PLANES ? 0 : threadIdx.x % 32;
    __shared__ A shared[4][PLANES ? 1 : 32];
    const int c = channel_of<PLANES>(w);
    auto sum = [&](int k) {
        return (A)over_parts<PLANES>(parts, [&](int p) {
            return c < w.channels ? (double)partials[((int64)p * 2 + k) * w.channels + c] : 0;
        });
    };
    const A sums[2] = {sum(0), sum(1)};
    if (threadIdx.x < (PLANES ? 1 : 32) && c < w.channels) {    // one thread for each channel
        if (part_of<PLANES>(w) == 0) {
            totals[c] = (T)sums[0];
            totals[w.channels + c] = (T)sums[1];
        }
        const A size = (A)w.count * (A)w.inner, rstd = rstds[c];
        shared[0][lane] = sums[0] * (rstd / size);
        shared[1][lane] = sums[1] / size;
        shared[2][lane] = means[c];
        shared[3][lane] = rstd * (weight ? (A)weight[c] : (A)1);
    }
    __syncthreads();
    const A slope = shared[0][lane], shift = shared[1][lane];
    const A mean = shared[2][lane], scale = shared[3][lane];
    walk<V, PLANES>(w, [&](int64 i, int64 n) {
        const Pack<T, V> p = load<T, V>(g, i), q = load<T, V>(x, i);
        Pack<T, V> d;
#pragma unroll
        for (int v = 0; v < V; v++)
            d.at[v] = (T)(scale * (((A)p.at[v] - shift) - ((A)q.at[v] - mean) * slope));
        store<T, V>(dx, i, d);
    });
}
