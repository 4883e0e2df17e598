// Pooling over windows of images. A block makes a tile of the result (of one image, or of several
// small ones whole) from the elements that the tile's windows are of, which it reads once: they stay
// in shared memory if KEEP says that they fit. One thread for each element of the result, forward
// and back: a gradient is gathered from the windows that a pixel is in, in order, so that nothing is
// added by two threads, and how the result is cut into tiles changes no bit.

#include "reduce.cuh"

const int THREADS = 256;

struct Window {
    int height, width, rows, columns;        // of an image, and of windows
    int kernel_h, kernel_w, stride_h, stride_w, top, left, dilation_h, dilation_w;
    int adaptive, padded, divisor, unused;
};

// The tile of each block: `count` images of the result's `height` by `width`; tiles side by side.
struct Tiling {
    int64 images;
    int count, height, width, across, down, unused;
};

// Along one axis: window i, and the windows that pixel i is in.
struct Span {
    int start, stop, last;       // pixels start to stop - 1; the window ends at `last` with padding
};

__device__ int scaled(int i, int by, int over) { return (int)((int64)i * by / over); }

__device__ Span span(int i, int size, int kernel, int stride, int pad, int count, int adaptive) {
    if (adaptive) {
        const int stop = (int)(((int64)(i + 1) * size + count - 1) / count);
        return {scaled(i, size, count), stop, stop};
    }
    const int start = i * stride - pad, end = start + kernel;
    return {start, min(end, size), min(end, size + pad)};
}

__device__ Span covering(int i, int size, int reach, int stride, int pad, int count, int adaptive) {
    if (adaptive)
        return {scaled(i, count, size), (int)(((int64)(i + 1) * count + size - 1) / size), 0};
    const int after = i + pad - reach;        // the last pixel that ends before this one's windows
    return {after < 0 ? 0 : after / stride + 1, min(count, (i + pad) / stride + 1), 0};
}

// How far a window reaches with its dilation.
__device__ int reach_h(const Window& w) { return (w.kernel_h - 1) * w.dilation_h + 1; }
__device__ int reach_w(const Window& w) { return (w.kernel_w - 1) * w.dilation_w + 1; }

// Of an image: the rows and columns of windows, and those of windows that pixels are in.
__device__ Span window_y(int i, const Window& w) {
    return span(i, w.height, reach_h(w), w.stride_h, w.top, w.rows, w.adaptive);
}
__device__ Span window_x(int i, const Window& w) {
    return span(i, w.width, reach_w(w), w.stride_w, w.left, w.columns, w.adaptive);
}
__device__ Span windows_y(int i, const Window& w) {
    return covering(i, w.height, reach_h(w), w.stride_h, w.top, w.rows, w.adaptive);
}
__device__ Span windows_x(int i, const Window& w) {
    return covering(i, w.width, reach_w(w), w.stride_w, w.left, w.columns, w.adaptive);
}

// How many of a window's rows (or columns) the mean counts, and what an element is multiplied with.
__device__ int counted(const Span& s, const Window& w) {
    return w.padded ? s.last - s.start : s.stop - max(s.start, 0);
}
template <typename A> __device__ A share(int tall, int wide, const Window& w) {
    return (A)1.0f / (A)(w.divisor ? w.divisor : tall * wide);
}

struct Place {
    int image, y, x;
};

// A block's part of the result.
struct Tile {
    int64 image;                             // the first
    int count, top, left, height, width;

    __device__ Tile(const Tiling& t, int all_h, int all_w) {
        const int64 line = blockIdx.x / t.across, group = line / t.down;
        image = group * t.count;
        count = (int)min((int64)t.count, t.images - image);
        top = (int)(line - group * t.down) * t.height;
        left = (int)(blockIdx.x - line * t.across) * t.width;
        height = min(t.height, all_h - top);
        width = min(t.width, all_w - left);
    }

    __device__ int size() const { return count * height * width; }

    // Element t's image, counted from the first, row and column.
    __device__ Place place(int t) const {
        const int line = t / width, n = line / height;
        return {n, top + line - n * height, left + t - line * width};
    }
};

struct Same {
    template <typename T> __device__ T operator()(T v, int, int) const { return v; }
};

// The part of an array of images that a tile is made from: kept in shared memory if KEEP, each
// element as a K, which `as` makes of it and of its row and column.
template <typename T, bool KEEP, typename K = T> struct Part {
    const K* base;
    int top, left, pitch;
    int64 image;                             // elements from one to the next

    template <typename F = Same>
    __device__ Part(K* kept, const T* from, const Tile& tile, const Span& y, const Span& x, int all_h,
                    int all_w, F as = F()) {
        if constexpr (!KEEP) {
            base = from + tile.image * all_h * all_w;
            top = left = 0;
            pitch = all_w;
            image = (int64)all_h * all_w;
            return;
        }
        base = kept;
        top = max(y.start, 0);
        left = max(x.start, 0);
        pitch = max(min(x.stop, all_w) - left, 0);
        const int rows = max(min(y.stop, all_h) - top, 0), area = rows * pitch;
        image = area;
        for (int t = threadIdx.x; t < tile.count * area; t += blockDim.x) {
            const int n = t / area, inner = t - n * area;
            const int a = top + inner / pitch, b = left + inner % pitch;
            kept[t] = as(from[((tile.image + n) * all_h + a) * all_w + b], a, b);
        }
    }

    __device__ K at(int n, int y, int x) const {
        if (KEEP) return base[n * (int)image + (y - top) * pitch + x - left];
        return base[n * image + (int64)y * pitch + x];
    }
};

// From the first span's start to the last one's stop.
__device__ Span join(const Span& a, const Span& b) { return {a.start, b.stop, 0}; }

// How many elements of so many bytes a block keeps: as in kernels/pool.py.
const int KEPT = 18432;
template <bool KEEP> constexpr int room(int bytes, int kept = KEPT) {
    return KEEP ? kept / bytes : 1;
}

// The largest element of each window, NaN before all, and where it is in its image.
template <typename T, bool KEEP>
__global__ void __launch_bounds__(THREADS, 4)
largest(T* out, int* places, const T* in, Window w, Tiling tiling) {
    typedef typename Wide<T>::type A;
    __shared__ T kept[room<KEEP>(sizeof(T))];
    const Tile tile(tiling, w.rows, w.columns);
    const Part<T, KEEP> from(
        kept, in, tile, join(window_y(tile.top, w), window_y(tile.top + tile.height - 1, w)),
        join(window_x(tile.left, w), window_x(tile.left + tile.width - 1, w)), w.height, w.width);
    __syncthreads();
    for (int t = threadIdx.x; t < tile.size(); t += THREADS) {
        const Place p = tile.place(t);
        T best = (T)0.0f;
        int at = -1;
        for (int k = 0; k < w.kernel_h; k++) {
            const int a = p.y * w.stride_h - w.top + k * w.dilation_h;
            if (a < 0 || a >= w.height) continue;
#pragma unroll 2
            for (int m = 0; m < w.kernel_w; m++) {
                const int b = p.x * w.stride_w - w.left + m * w.dilation_w;
                if (b < 0 || b >= w.width) continue;
                const T v = from.at(p.image, a, b);
                if (at < 0 || (A)v > (A)best || (A)v != (A)v) {
                    best = v;
                    at = a * w.width + b;
                }
            }
        }
        const int64 to = ((tile.image + p.image) * w.rows + p.y) * w.columns + p.x;
        out[to] = best;
        places[to] = at;
    }
}

// Where a window's largest element is: kept as how far from the window's first place, which
// kernels/pool.py sees to be less than NOWHERE.
template <bool KEEP> struct Mark { typedef unsigned short type; };
template <> struct Mark<false> { typedef int type; };
const unsigned NOWHERE = 65535;

// The first place of window (i, j), of the padding too.
__device__ int first_place(int i, int j, const Window& w) {
    return (i * w.stride_h - w.top) * w.width + j * w.stride_w - w.left;
}

// What came back to each pixel from the windows whose largest element it was. Two arrays are read
// for one that is written: tiles are twice as large as the others', so that few are in two of them.
template <typename T, bool KEEP>
__global__ void __launch_bounds__(2 * THREADS, 2)
put(T* out, const T* g, const int* places, Window w, Tiling tiling) {
    typedef typename Wide<T>::type A;
    typedef typename Mark<KEEP>::type M;
    constexpr int all = room<KEEP>(sizeof(T) + sizeof(M), KEPT / 2 * 3);
    __shared__ T kept[all];
    __shared__ M marks[all];
    const Tile tile(tiling, w.height, w.width);
    const Span rows = join(windows_y(tile.top, w), windows_y(tile.top + tile.height - 1, w));
    const Span columns = join(windows_x(tile.left, w), windows_x(tile.left + tile.width - 1, w));
    const Part<T, KEEP> from(kept, g, tile, rows, columns, w.rows, w.columns);
    const Part<int, KEEP, M> mark(
        marks, places, tile, rows, columns, w.rows, w.columns, [&w](int place, int i, int j) {
            return (M)min((unsigned)(place - first_place(i, j, w)), NOWHERE);
        });
    __syncthreads();
    for (int t = threadIdx.x; t < tile.size(); t += 2 * THREADS) {
        const Place p = tile.place(t);
        const Span down = windows_y(p.y, w), over = windows_x(p.x, w);
        A sum = (A)0.0f;
        for (int i = down.start; i < down.stop; i++) {
            int here = p.y * w.width + p.x - (KEEP ? first_place(i, over.start, w) : 0);
            for (int j = over.start; j < over.stop; j++) {
                if (mark.at(p.image, i, j) == here) sum += (A)from.at(p.image, i, j);
                if (KEEP) here -= w.stride_w;
            }
        }
        out[((tile.image + p.image) * w.height + p.y) * w.width + p.x] = (T)sum;
    }
}

template <typename T, bool KEEP>
__global__ void __launch_bounds__(THREADS, 4) mean(T* out, const T* in, Window w, Tiling tiling) {
    typedef typename Wide<T>::type A;
    __shared__ T kept[room<KEEP>(sizeof(T))];
    const Tile tile(tiling, w.rows, w.columns);
    const Part<T, KEEP> from(
        kept, in, tile, join(window_y(tile.top, w), window_y(tile.top + tile.height - 1, w)),
        join(window_x(tile.left, w), window_x(tile.left + tile.width - 1, w)), w.height, w.width);
    __syncthreads();
    for (int t = threadIdx.x; t < tile.size(); t += THREADS) {
        const Place p = tile.place(t);
        const Span down = window_y(p.y, w), over = window_x(p.x, w);
        A sum = (A)0.0f;
        for (int a = max(down.start, 0); a < down.stop; a++)
            for (int b = max(over.start, 0); b < over.stop; b++) sum += (A)from.at(p.image, a, b);
        out[((tile.image + p.image) * w.rows + p.y) * w.columns + p.x] =
            (T)(sum * share<A>(counted(down, w), counted(over, w), w));
    }
}

// The transpose of mean.
template <typename T, bool KEEP>
__global__ void __launch_bounds__(THREADS, 4) spread(T* out, const T* g, Window w, Tiling tiling) {
    typedef typename Wide<T>::type A;
    __shared__ T kept[room<KEEP>(sizeof(T))];
    const Tile tile(tiling, w.height, w.width);
    const Part<T, KEEP> from(
        kept, g, tile, join(windows_y(tile.top, w), windows_y(tile.top + tile.height - 1, w)),
        join(windows_x(tile.left, w), windows_x(tile.left + tile.width - 1, w)), w.rows, w.columns);
    __syncthreads();
    for (int t = threadIdx.x; t < tile.size(); t += THREADS) {
        const Place p = tile.place(t);
        const Span down = windows_y(p.y, w), over = windows_x(p.x, w);
        A sum = (A)0.0f;
        for (int i = down.start; i < down.stop; i++) {
            const int tall = counted(window_y(i, w), w);
#pragma unroll 1
            for (int j = over.start; j < over.stop; j++)
                sum += (A)from.at(p.image, i, j) * share<A>(tall, counted(window_x(j, w), w), w);
        }
        out[((tile.image + p.image) * w.height + p.y) * w.width + p.x] = (T)sum;
    }
}
