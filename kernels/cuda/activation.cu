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
    double rate, scale;    // 1 / (1 - rate)
};

template <typename A, bool DROP> struct Mask {
    A scale;
    uint32 threshold;
    const uint32* state;    // in shared memory: read once for the block

    __device__ explicit Mask(const Dropout& d) {
        if (DROP) {
            __shared__ uint32 kept[4];
            if (threadIdx.x < 4) kept[threadIdx.x] = d.state[threadIdx.x];
            __syncthreads();
            scale = (A)d.scale;
            threshold = d.threshold;
            state = kept;
        }
    }

    // The words of the four elements that element i is one of.
    __device__ Words words(int64 i) const {
        if (!DROP) return {};
        const uint64 q = (uint64)i / 4;
        return philox((uint32)q, (uint32)(q >> 32), state[2], state[3], state[0], state[1]);
    }

    // x, which is element i, scaled or dropped.
    __device__ A of(A x, int64 i, const Words& w) const {
        if (!DROP) return x;
        const int j = (int)i & 3;
        const uint32 word = j == 0 ? w.at[0] : j == 1 ? w.at[1] : j == 2 ? w.at[2] : w.at[3];
        return word >= threshold ? x * scale : (A)0;
    }
};

// Elements i to i + V - 1 of p; 0 behind the end. They stay packed: that takes fewer registers.
template <typename T, int V> __device__ Pack<T, V> load(const T* p, int64 i, int64 size) {
    if (i + V <= size) return *(const Pack<T, V>*)(p + i);
    Pack<T, V> x;
#pragma unroll
    for (int v = 0; v < V; v++) x.at[v] = i + v < size ? p[i + v] : (T)0.0f;
    return x;
}

template <typename T, int V>
__device__ void store(T* p, const Pack<T, V>& x, int64 i, int64 size) {
    if (i + V <= size) {
        write(p + i, x);
    } else {
#pragma unroll
        for (int v = 0; v < V; v++)
            if (i + v < size) p[i + v] = x.at[v];
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

// V entries of the bias for the columns from `column` on, read by one warp for the block.
template <typename T, int V>
__device__ Pack<T, V> load_bias(const T* bias, int64 column, int64 columns) {
    __shared__ Pack<T, V> tile[32];
    __syncthreads();    // the last call's have been read
    if (threadIdx.x < 32)
#pragma unroll
        for (int v = 0; v < V; v++)
            tile[threadIdx.x].at[v] = bias ? bias[(column + v) % columns] : (T)0.0f;
    __syncthreads();
    return tile[threadIdx.x % 32];
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

// Whether each of the V elements of z from i on is above 0, as bits of an array that rows share out by
// whole bytes: threads that have parts of one byte put them together.
template <typename T, int V>
__device__ void write_signs(unsigned char* signs, const Pack<T, V>& z, int64 i, int64 size,
                            uint32 lanes) {
    uint32 bits = 0;
#pragma unroll
    for (int v = 0; v < V; v++) bits |= (uint32)(i + v < size && z.at[v] > (T)0.0f) << v;
    bits <<= i & 7;
#pragma unroll
    for (int n = 1; n < 8 / V; n *= 2) bits |= __shfl_xor_sync(lanes, bits, n);
    if ((i & 7) == 0 && i < size) signs[i >> 3] = (unsigned char)bits;
}

// y = dropout(act(x + bias)), and with `signs` whether y is above 0.
template <typename T, int V, typename Act, bool DROP>
__global__ void __launch_bounds__(32 * WARPS, sizeof(T) == 2 && DROP ? 3 : 4)
forward(const T* x, const T* bias, T* y, Shape s, Parameters p, Dropout d, unsigned char* signs) {
    typedef typename Wide<T>::type A;
    const Act act(p);
    const Place<V> place(s);
    const Mask<A, DROP> mask(d);
    const Pack<T, V> b = load_bias<T, V>(bias, place.column, s.columns);
    const uint32 lanes =
        Act::keeps == SIGNS ? __ballot_sync(0xffffffffu, place.row < place.stop) : 0;
    for (int64 row = place.row; row < place.stop; row += WARPS) {
        const int64 i = row * s.width + place.column;
        Pack<T, V> z = load<T, V>(x, i, s.size);
        Words w;
#pragma unroll
        for (int v = 0; v < V; v++) {
            if (v % 4 == 0) w = mask.words(i + v);
            z.at[v] = (T)mask.of(act.value((A)z.at[v] + (A)b.at[v]), i + v, w);
        }
        store(y, z, i, s.size);
        if constexpr (Act::keeps == SIGNS)
            if (signs) write_signs(signs, z, i, s.size, lanes);
    }
}

// What the backward pass knows of V elements from i on, by `kept`: what goes into an activation before
// the bias, or what comes out (divided by dropout's scale it is the value), or its signs.
template <typename T, int V, Keeps KEEPS> struct Residual {
    Pack<T, V> r;

    __device__ Residual(const void* kept, int64 i, int64 size)
        : r(load<T, V>((const T*)kept, i, size)) {}

    template <typename A> __device__ A of(int v, A bias, A keep) const {
        return KEEPS == OUTPUT ? (A)r.at[v] * keep : (A)r.at[v] + bias;
    }
};

template <typename T, int V> struct Residual<T, V, SIGNS> {
    uint32 bits;

    __device__ Residual(const void* kept, int64 i, int64 size)
        : bits(i < size ? ((const unsigned char*)kept)[i >> 3] >> (i & 7) : 0) {}

    template <typename A> __device__ A of(int v, A, A) const {
        return bits >> v & 1 ? (A)1 : (A)0;
    }
};

// dz = act's pull of dropout's pull of g, from what was kept. With `partial`, the sums of dz over each
// slab's rows, for each column.
template <typename T, int V, typename Act, bool DROP>
__global__ void __launch_bounds__(32 * WARPS, sizeof(T) == 4 && !DROP ? 3 : 2)
backward(const T* g, const void* kept, const T* bias, T* dz, Shape s, Parameters p, Dropout d,
         typename Wide<T>::type* partial) {
    typedef typename Wide<T>::type A;
    const Act act(p);
    const Place<V> place(s);
    const Mask<A, DROP> mask(d);
    const A keep = DROP ? (A)(1.0 - d.rate) : (A)1;
    const A scale = DROP ? (A)1 : (A)d.scale;    // of a mask that is in the signs
    const Pack<T, V> b = load_bias<T, V>(bias, place.column, s.columns);
    A sum[V] = {};
    for (int64 row = place.row; row < place.stop; row += WARPS) {
        const int64 i = row * s.width + place.column;
        Pack<T, V> c = load<T, V>(g, i, s.size);
        const Residual<T, V, Act::keeps> r(kept, i, s.size);
        Words w;
#pragma unroll
        for (int v = 0; v < V; v++) {
            if (v % 4 == 0) w = mask.words(i + v);
            A up = mask.of((A)c.at[v], i + v, w);
            if (Act::keeps == SIGNS) up *= scale;
            const A out = act.pull(up, r.of(v, (A)b.at[v], keep));
            c.at[v] = (T)out;
            sum[v] += out;    // behind the end the cotangent is 0, and so is this
        }
        store(dz, c, i, s.size);
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
__global__ void __launch_bounds__(32 * WARPS, sizeof(T) == 2 && DROP ? 2 : 4)
gated_forward(const T* x, const T* bias, T* y, Shape s, Parameters p, Dropout d) {
    typedef typename Wide<T>::type A;
    const Act act(p);
    const Place<V> place(s);
    const Mask<A, DROP> mask(d);
    const int64 left = left_half(place, s);
    const Pack<T, V> ba = load_bias<T, V>(bias, left, 2 * s.columns);
    const Pack<T, V> bb = load_bias<T, V>(bias, left + s.columns, 2 * s.columns);
    for (int64 row = place.row; row < place.stop; row += WARPS) {
        const int64 i = row * s.width + place.column, j = row * 2 * s.width + left;
        if (i >= s.size) break;    // rows end with V elements: columns is a multiple of V
        Pack<T, V> a = load<T, V>(x, j, 2 * s.size);
        const Pack<T, V> b = load<T, V>(x, j + s.columns, 2 * s.size);
        Words w;
#pragma unroll
        for (int v = 0; v < V; v++) {
            if (v % 4 == 0) w = mask.words(i + v);
            const A out = ((A)a.at[v] + (A)ba.at[v]) * act.value((A)b.at[v] + (A)bb.at[v]);
            a.at[v] = (T)mask.of(out, i + v, w);
        }
        store(y, a, i, s.size);
    }
}

// Resident blocks at least: 128 registers are too few for gelu with dropout, 8 elements a thread.
template <typename Act> struct Pairs { static const int LEAST = 2; };
template <> struct Pairs<Gelu> { static const int LEAST = 1; };

template <typename T, int V, typename Act, bool DROP>
__global__ void __launch_bounds__(32 * WARPS, sizeof(T) == 2 && DROP ? Pairs<Act>::LEAST : 2)
gated_backward(const T* g, const T* x, const T* bias, T* dx, Shape s, Parameters p, Dropout d,
               typename Wide<T>::type* partial) {
    typedef typename Wide<T>::type A;
    const Act act(p);
    const Place<V> place(s);
    const Mask<A, DROP> mask(d);
    const int64 left = left_half(place, s);
    const Pack<T, V> ba = load_bias<T, V>(bias, left, 2 * s.columns);
    const Pack<T, V> bb = load_bias<T, V>(bias, left + s.columns, 2 * s.columns);
    A suma[V] = {}, sumb[V] = {};
    for (int64 row = place.row; row < place.stop; row += WARPS) {
        const int64 i = row * s.width + place.column, j = row * 2 * s.width + left;
        if (i >= s.size) break;
        const Pack<T, V> c = load<T, V>(g, i, s.size);
        Pack<T, V> a = load<T, V>(x, j, 2 * s.size), b = load<T, V>(x, j + s.columns, 2 * s.size);
        Words w;
#pragma unroll
        for (int v = 0; v < V; v++) {
            if (v % 4 == 0) w = mask.words(i + v);
            const A cotangent = mask.of((A)c.at[v], i + v, w);
            const A z = (A)b.at[v] + (A)bb.at[v], value = act.value(z);
            const A db = act.pull(cotangent * ((A)a.at[v] + (A)ba.at[v]),
                                  Act::keeps == OUTPUT ? value : z);
            const A da = cotangent * value;
            suma[v] += da;
            sumb[v] += db;
            a.at[v] = (T)da;
            b.at[v] = (T)db;
        }
        store(dx, a, j, 2 * s.size);
        store(dx, b, j + s.columns, 2 * s.size);
    }
    if (partial) {
        gather(suma, partial, s, place.column, 2);
        gather(sumb, partial + s.columns, s, place.column, 2);
    }
}
