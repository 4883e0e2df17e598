// act(x + bias) with dropout, and its backward pass with the bias gradient.
//
// An array of `size` elements is taken as rows of `width`, a multiple of the `columns` of the bias:
// narrow rows are taken several at once. A block has 8 warps; a warp has 32 V columns, the same ones
// for all its rows, and the warps share the rows of a slab.

#include "reduce.cuh"
#include "philox.cuh"
#include "activation.cuh"

const int WARPS = 8;

struct Shape {
    int64 size, width, columns, tiles, rows;    // rows of each slab
};

// Which elements of an array dropout keeps, by word i of a stream for element i.
struct Dropout {
    const uint32* state;
    uint32 threshold;
    double rate;
};

template <typename A, int V, bool DROP> struct Mask {
    A scale;
    uint32 threshold;
    uint32 words[4];

    __device__ explicit Mask(const Dropout& d) {
        if (DROP) {
            scale = (A)(1.0 / (1.0 - d.rate));
            threshold = d.threshold;
            for (int i = 0; i < 4; i++) words[i] = d.state[i];
        }
    }

    // x[v] is element i + v, which is a multiple of V: kept and scaled, or 0.
    __device__ void apply(A (&x)[V], int64 i) const {
        if (!DROP) return;
#pragma unroll
        for (int start = 0; start < V; start += 4) {
            const uint64 q = (uint64)(i + start) / 4;
            const Words w = philox((uint32)q, (uint32)(q >> 32), words[2], words[3], words[0],
                                   words[1]);
#pragma unroll
            for (int v = start; v < V && v < start + 4; v++) {
                const int j = (int)((i + v) % 4);
                const uint32 word = j == 0 ? w.at[0] : j == 1 ? w.at[1] : j == 2 ? w.at[2] : w.at[3];
                x[v] = word >= threshold ? x[v] * scale : (A)0;
            }
        }
    }
};

// Up to V elements from p[i] on, in float or double; 0 behind the end.
template <typename T, int V, typename A>
__device__ void load(A (&out)[V], const T* p, int64 i, int64 size) {
    if (i + V <= size) {
        const Pack<T, V> pack = *(const Pack<T, V>*)(p + i);
#pragma unroll
        for (int v = 0; v < V; v++) out[v] = (A)pack.at[v];
    } else {
#pragma unroll
        for (int v = 0; v < V; v++) out[v] = i + v < size ? (A)p[i + v] : (A)0;
    }
}

template <typename T, int V, typename A>
__device__ void store(T* p, const A (&x)[V], int64 i, int64 size) {
    if (i + V <= size) {
        Pack<T, V> pack;
#pragma unroll
        for (int v = 0; v < V; v++) pack.at[v] = (T)x[v];
        *(Pack<T, V>*)(p + i) = pack;
    } else {
#pragma unroll
        for (int v = 0; v < V; v++)
            if (i + v < size) p[i + v] = (T)x[v];
    }
}

// The place of a thread: its first column and its rows.
template <int V> struct Place {
    int64 column, row, stop;

    __device__ explicit Place(const Shape& s) {
        column = ((int64)(blockIdx.x % s.tiles) * 32 + threadIdx.x % 32) * V;
        const int64 first = (int64)(blockIdx.x / s.tiles) * s.rows;
        row = first + threadIdx.x / 32;
        stop = first + s.rows;
        const int64 all = (s.size + s.width - 1) / s.width;
        if (stop > all) stop = all;
        if (column >= s.width) stop = 0;
    }
};

// V entries of the bias for the columns from `column` on.
template <typename T, int V, typename A>
__device__ void load_bias(A (&b)[V], const T* bias, int64 column, int64 columns) {
#pragma unroll
    for (int v = 0; v < V; v++) b[v] = bias ? (A)bias[(column + v) % columns] : (A)0;
}

// The sums of a block's warps for each column, in order, to the slab's part of `partial`: rows of
// step * columns, of which these are columns of the half that `partial` points to.
template <int V, typename A>
__device__ void gather(const A (&sum)[V], A* partial, const Shape& s, int64 column, int step) {
    __shared__ A each[WARPS][32 * V];
    __syncthreads();    // the last call's have been read
#pragma unroll
    for (int v = 0; v < V; v++) each[threadIdx.x / 32][threadIdx.x % 32 * V + v] = sum[v];
    __syncthreads();
    partial += (int64)(blockIdx.x / s.tiles) * s.width * step;
    const int64 base = column - (int64)(threadIdx.x % 32) * V;
    for (int t = threadIdx.x; t < 32 * V && base + t < s.width; t += 32 * WARPS) {
        A total = (A)0;
#pragma unroll
        for (int w = 0; w < WARPS; w++) total += each[w][t];
        const int64 c = (base + t) % s.columns;
        partial[(base + t - c) * step + c] = total;
    }
}

// y = dropout(act(x + bias)).
template <typename T, int V, typename Act, bool DROP>
__global__ void forward(const T* x, const T* bias, T* y, Shape s, Parameters p, Dropout d) {
    typedef typename Wide<T>::type A;
    const int U = 2;
    const Act act(p);
    const Place<V> place(s);
    const Mask<A, V, DROP> mask(d);
    A b[V];
    load_bias<T, V>(b, bias, place.column, s.columns);
    for (int64 row = place.row; row < place.stop; row += WARPS * U) {
        A z[U][V];
#pragma unroll
        for (int u = 0; u < U; u++) {
            const int64 r = row + u * WARPS;
            load<T, V>(z[u], x, r * s.width + place.column, r < place.stop ? s.size : 0);
        }
#pragma unroll
        for (int u = 0; u < U; u++) {
            const int64 r = row + u * WARPS, i = r * s.width + place.column;
#pragma unroll
            for (int v = 0; v < V; v++) z[u][v] = act.value(z[u][v] + b[v]);
            mask.apply(z[u], i);
            store<T, V>(y, z[u], i, r < place.stop ? s.size : 0);
        }
    }
}

// dz = act's pull of dropout's pull of g, from the residual r: what comes out (divided by dropout's
// scale it is act's value) or what goes in before the bias. With `partial`, the sums of dz over each
// slab's rows, for each column.
template <typename T, int V, typename Act, bool DROP>
__global__ void backward(const T* g, const T* r, const T* bias, T* dz, Shape s, Parameters p,
                         Dropout d, typename Wide<T>::type* partial) {
    typedef typename Wide<T>::type A;
    const int U = 2;
    const Act act(p);
    const Place<V> place(s);
    const Mask<A, V, DROP> mask(d);
    const A keep = DROP && Act::output ? (A)(1.0 - d.rate) : (A)1;
    A b[V], sum[V] = {};
    load_bias<T, V>(b, bias, place.column, s.columns);
    for (int64 row = place.row; row < place.stop; row += WARPS * U) {
        A c[U][V], z[U][V];
#pragma unroll
        for (int u = 0; u < U; u++) {
            const int64 at = row + u * WARPS, i = at * s.width + place.column;
            load<T, V>(c[u], g, i, at < place.stop ? s.size : 0);
            load<T, V>(z[u], r, i, at < place.stop ? s.size : 0);
        }
#pragma unroll
        for (int u = 0; u < U; u++) {
            const int64 at = row + u * WARPS, i = at * s.width + place.column;
            mask.apply(c[u], i);
#pragma unroll
            for (int v = 0; v < V; v++) {
                const A out = act.pull(c[u][v], DROP && Act::output ? z[u][v] * keep : z[u][v] + b[v]);
                c[u][v] = out;
                if (at < place.stop && i + v < s.size) sum[v] += out;
            }
            store<T, V>(dz, c[u], i, at < place.stop ? s.size : 0);
        }
    }
    if (partial) gather(sum, partial, s, place.column, 1);
}

// out = sum over the rows of partial, in a fixed order; 32 columns a block.
template <typename T>
__global__ void finish(const typename Wide<T>::type* partial, T* out, int64 rows, int64 columns) {
    typedef typename Wide<T>::type A;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = 32;
    const int64 column = (int64)blockIdx.x * 32 + lane;
    __shared__ A each[32][33];
    A sum = (A)0;
    if (column < columns)
#pragma unroll 4
        for (int64 r = warp; r < rows; r += warps) sum += partial[r * columns + column];
    each[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && column < columns) {
        A total = (A)0;
#pragma unroll
        for (int w = 0; w < warps; w++) total += each[w][lane];
        out[column] = (T)total;
    }
}

// Gated pairs. A row of x is the values, then the gates, `columns` each: y = dropout(a act(b)). Here
// size, width and columns are those of y; V divides columns.

template <int V> __device__ int64 left_half(const Place<V>& place, const Shape& s) {
    return place.column / s.columns * 2 * s.columns + place.column % s.columns;
}

template <typename T, int V, typename Act, bool DROP>
__global__ void gated_forward(const T* x, const T* bias, T* y, Shape s, Parameters p, Dropout d) {
    typedef typename Wide<T>::type A;
    const Act act(p);
    const Place<V> place(s);
    const Mask<A, V, DROP> mask(d);
    const int64 left = left_half(place, s);
    A ba[V], bb[V];
    load_bias<T, V>(ba, bias, left, 2 * s.columns);
    load_bias<T, V>(bb, bias, left + s.columns, 2 * s.columns);
    for (int64 row = place.row; row < place.stop; row += WARPS) {
        const int64 i = row * s.width + place.column, j = row * 2 * s.width + left;
        if (i >= s.size) break;    // rows end with V elements: columns is a multiple of V
        A a[V], b[V];
        load<T, V>(a, x, j, 2 * s.size);
        load<T, V>(b, x, j + s.columns, 2 * s.size);
#pragma unroll
        for (int v = 0; v < V; v++) a[v] = (a[v] + ba[v]) * act.value(b[v] + bb[v]);
        mask.apply(a, i);
        store<T, V>(y, a, i, s.size);
    }
}

template <typename T, int V, typename Act, bool DROP>
__global__ void gated_backward(const T* g, const T* x, const T* bias, T* dx, Shape s, Parameters p,
                               Dropout d, typename Wide<T>::type* partial) {
    typedef typename Wide<T>::type A;
    const Act act(p);
    const Place<V> place(s);
    const Mask<A, V, DROP> mask(d);
    const int64 left = left_half(place, s);
    A ba[V], bb[V], suma[V] = {}, sumb[V] = {};
    load_bias<T, V>(ba, bias, left, 2 * s.columns);
    load_bias<T, V>(bb, bias, left + s.columns, 2 * s.columns);
    for (int64 row = place.row; row < place.stop; row += WARPS) {
        const int64 i = row * s.width + place.column, j = row * 2 * s.width + left;
        if (i >= s.size) break;
        A c[V], a[V], b[V];
        load<T, V>(c, g, i, s.size);
        load<T, V>(a, x, j, 2 * s.size);
        load<T, V>(b, x, j + s.columns, 2 * s.size);
        mask.apply(c, i);
#pragma unroll
        for (int v = 0; v < V; v++) {
            const A z = b[v] + bb[v], value = act.value(z);
            b[v] = act.pull(c[v] * (a[v] + ba[v]), Act::output ? value : z);
            a[v] = c[v] * value;
            suma[v] += a[v];
            sumb[v] += b[v];
        }
        store<T, V>(dx, a, j, 2 * s.size);
        store<T, V>(dx, b, j + s.columns, 2 * s.size);
    }
    if (partial) {
        gather(suma, partial, s, place.column, 2);
        gather(sumb, partial + s.columns, s, place.column, 2);
    }
}
