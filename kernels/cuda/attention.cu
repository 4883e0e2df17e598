// Attention by tiles, with running softmax: nothing of the size of the scores is stored.
//
// A block of 16 x 16 threads owns 16 * R rows, of queries or of keys, and goes over the others in
// tiles of 16 * C. The sixteen threads beside each other in a warp have R rows together: thread
// (ty, tx) the rows ty * R + a and the columns tx + 16 * b of a tile of scores, and the same rows
// and the columns tx + 16 * c of a result. D is the greatest width of a row.

#include "reduce.cuh"

// How much of each there is; sums and probabilities are kept in A.
template <typename T, int D> struct Tile {
    typedef typename Wide<T>::type A;
    static const bool wide = sizeof(A) == 8;
    static const int R = D > 128 || wide ? 2 : 4, C = wide ? 2 : 4, N = D / 16;
    static const int ROWS = 16 * R, COLUMNS = 16 * C;
    static const int SLICE = wide ? 16 : 32;    // of a row, for the scores
    static const int DEPTH = wide ? 8 : 16;     // of the columns, for a result
    static const int FIRST = (ROWS + COLUMNS) * (SLICE + 1), SECOND = DEPTH * D;
    static const int BUFFER = FIRST > SECOND ? FIRST : SECOND;
    static const int PITCH = COLUMNS + 1;
};

// Rows of `width` elements one after another, some of them, in the order of memory.
template <typename T> struct Rows {
    const T* data;
    int64 count;
    int width;
};

// Put `many` rows from `first` on, columns d to d + W - 1, at a pitch into shared memory; zeros
// where there are none. V elements move as one load.
template <int W, int V, typename T, typename A>
__device__ void stage(A* to, int pitch, Rows<T> x, int64 first, int many, int d) {
    const int left = x.count - first < many ? (int)(x.count - first) : many;
    x.data += first * x.width;
#pragma unroll 2
    for (int p = threadIdx.x; p < many * (W / V); p += 256) {
        const int r = p / (W / V), c = p % (W / V) * V;
        const bool there = r < left && d + c < x.width;
        Pack<T, V> pack;
        if (there) pack = *(const Pack<T, V>*)(x.data + r * x.width + d + c);
#pragma unroll
        for (int v = 0; v < V; v++) to[r * pitch + c + v] = there ? (A)pack.at[v] : (A)0.0f;
    }
}

// s[a][b] = row . column, in slices of their width.
template <typename K, int V, typename T, typename A>
__device__ void scores(A (&s)[K::R][K::C], A* buffer, const Rows<T>& rows, int64 row,
                       const Rows<T>& columns, int64 column) {
    const int ty = threadIdx.x / 16, tx = threadIdx.x % 16, pitch = K::SLICE + 1;
    A* other = buffer + K::ROWS * pitch;
#pragma unroll
    for (int a = 0; a < K::R; a++)
#pragma unroll
        for (int b = 0; b < K::C; b++) s[a][b] = (A)0.0f;
    for (int d = 0; d < rows.width; d += K::SLICE) {
        __syncthreads();
        stage<K::SLICE, V>(buffer, pitch, rows, row, K::ROWS, d);
        stage<K::SLICE, V>(other, pitch, columns, column, K::COLUMNS, d);
        __syncthreads();
#pragma unroll 4
        for (int k = 0; k < K::SLICE; k++) {
            A x[K::R], y[K::C];
#pragma unroll
            for (int a = 0; a < K::R; a++) x[a] = buffer[(ty * K::R + a) * pitch + k];
#pragma unroll
            for (int b = 0; b < K::C; b++) y[b] = other[(tx + 16 * b) * pitch + k];
#pragma unroll
            for (int a = 0; a < K::R; a++)
#pragma unroll
                for (int b = 0; b < K::C; b++) s[a][b] += x[a] * y[b];
        }
    }
}

// sums += weights . rows: the weights are a tile of scores, whose columns are those rows.
template <typename K, int V, typename T, typename A>
__device__ void gather(A (&sums)[K::R][K::N], A* buffer, A* weights, const A (&s)[K::R][K::C],
                       const Rows<T>& x, int64 first) {
    const int ty = threadIdx.x / 16, tx = threadIdx.x % 16, D = 16 * K::N;
    __syncthreads();
#pragma unroll
    for (int a = 0; a < K::R; a++)
#pragma unroll
        for (int b = 0; b < K::C; b++) weights[(ty * K::R + a) * K::PITCH + tx + 16 * b] = s[a][b];
    for (int j = 0; j < K::COLUMNS; j += K::DEPTH) {
        __syncthreads();
        stage<16 * K::N, V>(buffer, D, x, first + j, K::DEPTH, 0);
        __syncthreads();
#pragma unroll 2
        for (int k = 0; k < K::DEPTH; k++) {
            A w[K::R];
#pragma unroll
            for (int a = 0; a < K::R; a++) w[a] = weights[(ty * K::R + a) * K::PITCH + j + k];
#pragma unroll
            for (int c = 0; c < K::N; c++) {
                const A y = buffer[k * D + tx + 16 * c];
#pragma unroll
                for (int a = 0; a < K::R; a++) sums[a][c] += w[a] * y;
            }
        }
    }
}

// What all kernels are told.
struct Problem {
    int64 queries, keys, mask_batch, mask_head, mask_query, mask_key;
    double scale;
    int heads, shared;       // query heads, and how many of them share keys
    int width, deep;         // of queries and keys, and of values
    int causal, masked;
};

// The scores of a tile as the softmax sees them. Thread (ty, tx) has those of the queries
// query + a * query_step and the keys key + b * key_step, a and b by turns the rows.
template <bool KEYS, int R, int C, typename A, typename T>
__device__ void see(A (&s)[R][C], const Problem& p, const T* mask, int64 row, int64 column) {
    const int64 query = KEYS ? column : row, key = KEYS ? row : column;
    // As far as it matters within a tile.
    const int last_query = (int)min(p.queries - query, (int64)1024);
    const int last_key = (int)min(p.keys - key, (int64)1024);
    const int ahead = (int)max(min(key - query, (int64)1024), (int64)-1024);
    mask += query * p.mask_query + key * p.mask_key;
#pragma unroll
    for (int a = 0; a < R; a++)
#pragma unroll
        for (int b = 0; b < C; b++) {
            const int q = KEYS ? 16 * b : a, k = KEYS ? a : 16 * b;
            A x = s[a][b] * (A)p.scale;
            if (q >= last_query || k >= last_key || (p.causal && k + ahead > q)) x = lowest(x);
            else if (p.masked) x += (A)mask[q * p.mask_query + k * p.mask_key];
            s[a][b] = x;
        }
}

template <typename A> __device__ A over_row(A x, bool most) {
#pragma unroll
    for (int o = 8; o > 0; o /= 2) {
        const A y = __shfl_xor_sync(0xffffffffu, x, o);
        x = most ? (y > x || y != y ? y : x) : x + y;
    }
    return x;
}

template <int R, int N, typename T, typename A>
__device__ void keep(T* out, const A (&sums)[R][N], const A (&factor)[R], int64 row, int64 count,
                     int width) {
    const int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
#pragma unroll
    for (int a = 0; a < R; a++) {
        const int64 r = row + ty * R + a;
        if (r >= count) continue;
#pragma unroll
        for (int c = 0; c < N; c++) {
            const int d = tx + 16 * c;
            if (d < width) out[r * width + d] = (T)(sums[a][c] * factor[a]);
        }
    }
}

template <typename T, int D, int V>
__global__ void __launch_bounds__(256, 1) attend(
    T* out, typename Wide<T>::type* lse, const T* q, const T* k, const T* v, const T* mask,
    Problem p) {
    typedef Tile<T, D> K;
    typedef typename K::A A;
    __shared__ A buffer[K::BUFFER];
    __shared__ A weights[K::ROWS * K::PITCH];
    const int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
    const int64 tiles = (p.queries + K::ROWS - 1) / K::ROWS;
    const int64 head = blockIdx.x / tiles, row = (blockIdx.x - head * tiles) * K::ROWS;
    const int64 key_head = head / p.shared, b = head / p.heads, h = head - b * p.heads;
    const Rows<T> queries = {q + head * p.queries * p.width, p.queries, p.width};
    const Rows<T> keys = {k + key_head * p.keys * p.width, p.keys, p.width};
    const Rows<T> values = {v + key_head * p.keys * p.deep, p.keys, p.deep};
    mask += b * p.mask_batch + h * p.mask_head;
    A sums[K::R][K::N], top[K::R], total[K::R];
#pragma unroll
    for (int a = 0; a < K::R; a++) {
        top[a] = lowest((A)0);
        total[a] = (A)0.0f;
#pragma unroll
        for (int c = 0; c < K::N; c++) sums[a][c] = (A)0.0f;
    }
    const int64 last = row + K::ROWS < p.keys ? row + K::ROWS : p.keys;
    const int64 end = p.causal ? last : p.keys;
    for (int64 column = 0; column < end; column += K::COLUMNS) {
        A s[K::R][K::C];
        scores<K, V>(s, buffer, queries, row, keys, column);
        see<false>(s, p, mask, row + ty * K::R, column + tx);
#pragma unroll
        for (int a = 0; a < K::R; a++) {
            A most = top[a], sum = (A)0.0f;
#pragma unroll
            for (int b = 0; b < K::C; b++)
                most = s[a][b] > most || s[a][b] != s[a][b] ? s[a][b] : most;
            most = over_row(most, true);
            const A base = most == lowest((A)0) ? (A)0.0f : most;
            const A shrink = exp(top[a] - base);
            top[a] = most;
#pragma unroll
            for (int b = 0; b < K::C; b++) {
                s[a][b] = exp(s[a][b] - base);
                sum += s[a][b];
            }
            total[a] = total[a] * shrink + over_row(sum, false);
#pragma unroll
            for (int c = 0; c < K::N; c++) sums[a][c] *= shrink;
        }
        gather<K, V>(sums, buffer, weights, s, values, column);
    }
    A factor[K::R];
#pragma unroll
    for (int a = 0; a < K::R; a++) {
        // A query that sees no key gets zeros, and infinity, by which its gradient is zero too.
        const bool none = total[a] == (A)0.0f;
        factor[a] = none ? (A)0.0f : (A)1.0f / total[a];
        const int64 r = row + ty * K::R + a;
        if (tx == 0 && r < p.queries)
            lse[head * p.queries + r] = none ? -lowest((A)0) : top[a] + log(total[a]);
    }
    keep<K::R, K::N>(out + head * p.queries * p.deep, sums, factor, row, p.queries, p.deep);
}

// The queries' gradient; and share[i] = g[i] . out[i], which the keys' gradient wants too.
template <typename T, int D, int V>
__global__ void __launch_bounds__(256, 1) pull_queries(
    T* dq, typename Wide<T>::type* share, const T* g, const T* q, const T* k, const T* v,
    const T* mask, const T* out, const typename Wide<T>::type* lse, Problem p) {
    typedef Tile<T, D> K;
    typedef typename K::A A;
    __shared__ A buffer[K::BUFFER];
    __shared__ A weights[K::ROWS * K::PITCH];
    const int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
    const int64 tiles = (p.queries + K::ROWS - 1) / K::ROWS;
    const int64 head = blockIdx.x / tiles, row = (blockIdx.x - head * tiles) * K::ROWS;
    const int64 key_head = head / p.shared, b = head / p.heads, h = head - b * p.heads;
    const Rows<T> queries = {q + head * p.queries * p.width, p.queries, p.width};
    const Rows<T> pulled = {g + head * p.queries * p.deep, p.queries, p.deep};
    const Rows<T> keys = {k + key_head * p.keys * p.width, p.keys, p.width};
    const Rows<T> values = {v + key_head * p.keys * p.deep, p.keys, p.deep};
    mask += b * p.mask_batch + h * p.mask_head;
    A sums[K::R][K::N], level[K::R], mine[K::R];
#pragma unroll
    for (int a = 0; a < K::R; a++) {
        const int64 r = row + ty * K::R + a;
        const bool there = r < p.queries;
        A dot = (A)0.0f;
        for (int d = tx; there && d < p.deep; d += 16)
            dot += (A)pulled.data[r * p.deep + d] * (A)out[(head * p.queries + r) * p.deep + d];
        mine[a] = over_row(dot, false);
        level[a] = there ? lse[head * p.queries + r] : (A)0.0f;
        if (there && tx == 0) share[head * p.queries + r] = mine[a];
#pragma unroll
        for (int c = 0; c < K::N; c++) sums[a][c] = (A)0.0f;
    }
    const int64 last = row + K::ROWS < p.keys ? row + K::ROWS : p.keys;
    const int64 end = p.causal ? last : p.keys;
    for (int64 column = 0; column < end; column += K::COLUMNS) {
        A s[K::R][K::C], slope[K::R][K::C];
        scores<K, V>(s, buffer, queries, row, keys, column);
        see<false>(s, p, mask, row + ty * K::R, column + tx);
#pragma unroll
        for (int a = 0; a < K::R; a++)
#pragma unroll
            for (int b = 0; b < K::C; b++) s[a][b] = exp(s[a][b] - level[a]);
        scores<K, V>(slope, buffer, pulled, row, values, column);
#pragma unroll
        for (int a = 0; a < K::R; a++)
#pragma unroll
            for (int b = 0; b < K::C; b++) s[a][b] *= slope[a][b] - mine[a];
        gather<K, V>(sums, buffer, weights, s, keys, column);
    }
    A factor[K::R];
#pragma unroll
    for (int a = 0; a < K::R; a++) factor[a] = (A)p.scale;
    keep<K::R, K::N>(dq + head * p.queries * p.width, sums, factor, row, p.queries, p.width);
}

// The gradients of keys and values: here the block's rows are keys, and the columns queries, of
// all the heads that share the keys, in order.
template <typename T, int D, int V>
__global__ void __launch_bounds__(256, 1) pull_keys(
    T* dk, T* dv, const typename Wide<T>::type* share, const T* g, const T* q, const T* k,
    const T* v, const T* mask, const typename Wide<T>::type* lse, Problem p) {
    typedef Tile<T, D> K;
    typedef typename K::A A;
    __shared__ A buffer[K::BUFFER];
    __shared__ A weights[K::ROWS * K::PITCH];
    const int ty = threadIdx.x / 16, tx = threadIdx.x % 16;
    const int64 tiles = (p.keys + K::ROWS - 1) / K::ROWS;
    const int64 key_head = blockIdx.x / tiles, row = (blockIdx.x - key_head * tiles) * K::ROWS;
    const Rows<T> keys = {k + key_head * p.keys * p.width, p.keys, p.width};
    const Rows<T> values = {v + key_head * p.keys * p.deep, p.keys, p.deep};
    A to_k[K::R][K::N], to_v[K::R][K::N], factor[K::R];
#pragma unroll
    for (int a = 0; a < K::R; a++) {
        factor[a] = (A)1.0f;
#pragma unroll
        for (int c = 0; c < K::N; c++) to_k[a][c] = to_v[a][c] = (A)0.0f;
    }
    for (int64 head = key_head * p.shared; head < (key_head + 1) * p.shared; head++) {
        const int64 b = head / p.heads, h = head - b * p.heads;
        const Rows<T> queries = {q + head * p.queries * p.width, p.queries, p.width};
        const Rows<T> pulled = {g + head * p.queries * p.deep, p.queries, p.deep};
        const T* hidden = mask + b * p.mask_batch + h * p.mask_head;
        const int64 start = p.causal ? row / K::COLUMNS * K::COLUMNS : 0;
        for (int64 column = start; column < p.queries; column += K::COLUMNS) {
            A s[K::R][K::C], slope[K::R][K::C];
            scores<K, V>(s, buffer, keys, row, queries, column);
            see<true>(s, p, hidden, row + ty * K::R, column + tx);
            const int64 left = p.queries - column - tx, at = head * p.queries + column + tx;
#pragma unroll
            for (int b = 0; b < K::C; b++) {
                const A level = 16 * b < left ? lse[at + 16 * b] : (A)0.0f;
#pragma unroll
                for (int a = 0; a < K::R; a++) s[a][b] = exp(s[a][b] - level);
            }
            gather<K, V>(to_v, buffer, weights, s, pulled, column);
            scores<K, V>(slope, buffer, values, row, pulled, column);
#pragma unroll
            for (int b = 0; b < K::C; b++) {
                const A mine = 16 * b < left ? share[at + 16 * b] : (A)0.0f;
#pragma unroll
                for (int a = 0; a < K::R; a++) s[a][b] *= (slope[a][b] - mine) * (A)p.scale;
            }
            gather<K, V>(to_k, buffer, weights, s, queries, column);
        }
    }
    keep<K::R, K::N>(dk + key_head * p.keys * p.width, to_k, factor, row, p.keys, p.width);
    keep<K::R, K::N>(dv + key_head * p.keys * p.deep, to_v, factor, row, p.keys, p.deep);
}
