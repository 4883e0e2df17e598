// Pooling over windows of images. One thread for each element of the result, forward and back:
// a gradient is gathered from the windows that a pixel is in, in order, so that nothing is added
// by two threads.

#include "reduce.cuh"

struct Window {
    int height, width, rows, columns;        // of an image (of less than 2^31 places), and of windows
    int kernel_h, kernel_w, stride_h, stride_w, top, left, dilation_h, dilation_w;
    int adaptive, padded, divisor, unused;
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

template <typename A> __device__ A share(const Span& y, const Span& x, const Window& w) {
    if (w.divisor) return (A)1.0f / (A)w.divisor;
    if (w.padded) return (A)1.0f / (A)((y.last - y.start) * (x.last - x.start));
    return (A)1.0f / (A)((y.stop - max(y.start, 0)) * (x.stop - max(x.start, 0)));
}

// The largest element of each window, NaN before all, and where it is in its image.
template <typename T>
__global__ void largest(T* y, int* places, const T* x, Window w, int64 size) {
    typedef typename Wide<T>::type A;
    const int64 stride = (int64)gridDim.x * blockDim.x;
    for (int64 t = (int64)blockIdx.x * blockDim.x + threadIdx.x; t < size; t += stride) {
        const int64 line = t / w.columns, image = line / w.rows;
        const int top = (int)(line - image * w.rows) * w.stride_h - w.top;
        const int left = (int)(t - line * w.columns) * w.stride_w - w.left;
        const T* from = x + image * w.height * w.width;
        T best = (T)0.0f;
        int at = -1;
        for (int k = 0; k < w.kernel_h; k++) {
            const int a = top + k * w.dilation_h;
            if (a < 0 || a >= w.height) continue;
#pragma unroll 2
            for (int m = 0; m < w.kernel_w; m++) {
                const int b = left + m * w.dilation_w;
                if (b < 0 || b >= w.width) continue;
                const T v = from[a * w.width + b];
                if (at < 0 || (A)v > (A)best || (A)v != (A)v) {
                    best = v;
                    at = a * w.width + b;
                }
            }
        }
        y[t] = best;
        places[t] = at;
    }
}

// What came back to each pixel from the windows whose largest element it was.
template <typename T>
__global__ void put(T* out, const T* g, const int* places, Window w, int64 size) {
    typedef typename Wide<T>::type A;
    const int64 stride = (int64)gridDim.x * blockDim.x;
    const int reach_h = (w.kernel_h - 1) * w.dilation_h + 1;
    const int reach_w = (w.kernel_w - 1) * w.dilation_w + 1;
    for (int64 t = (int64)blockIdx.x * blockDim.x + threadIdx.x; t < size; t += stride) {
        const int64 line = t / w.width, image = line / w.height;
        const int y = (int)(line - image * w.height), x = (int)(t - line * w.width);
        const Span rows = covering(y, w.height, reach_h, w.stride_h, w.top, w.rows, 0);
        const Span columns = covering(x, w.width, reach_w, w.stride_w, w.left, w.columns, 0);
        A sum = (A)0.0f;
        for (int i = rows.start; i < rows.stop; i++)
            for (int j = columns.start; j < columns.stop; j++) {
                const int64 from = (image * w.rows + i) * w.columns + j;
                if (places[from] == y * w.width + x) sum += (A)g[from];
            }
        out[t] = (T)sum;
    }
}

template <typename T> __global__ void mean(T* y, const T* x, Window w, int64 size) {
    typedef typename Wide<T>::type A;
    const int64 stride = (int64)gridDim.x * blockDim.x;
    for (int64 t = (int64)blockIdx.x * blockDim.x + threadIdx.x; t < size; t += stride) {
        const int64 line = t / w.columns, image = line / w.rows;
        const Span rows = span((int)(line - image * w.rows), w.height, w.kernel_h, w.stride_h, w.top,
                               w.rows, w.adaptive);
        const Span columns = span((int)(t - line * w.columns), w.width, w.kernel_w, w.stride_w, w.left,
                                  w.columns, w.adaptive);
        const T* from = x + image * w.height * w.width;
        A sum = (A)0.0f;
        for (int a = max(rows.start, 0); a < rows.stop; a++)
            for (int b = max(columns.start, 0); b < columns.stop; b++)
                sum += (A)from[a * w.width + b];
        y[t] = (T)(sum * share<A>(rows, columns, w));
    }
}

// The transpose of mean.
template <typename T> __global__ void spread(T* out, const T* g, Window w, int64 size) {
    typedef typename Wide<T>::type A;
    const int64 stride = (int64)gridDim.x * blockDim.x;
    for (int64 t = (int64)blockIdx.x * blockDim.x + threadIdx.x; t < size; t += stride) {
        const int64 line = t / w.width, image = line / w.height;
        const Span rows = covering((int)(line - image * w.height), w.height, w.kernel_h, w.stride_h,
                                   w.top, w.rows, w.adaptive);
        const Span columns = covering((int)(t - line * w.width), w.width, w.kernel_w, w.stride_w, w.left,
                                      w.columns, w.adaptive);
        A sum = (A)0.0f;
        for (int i = rows.start; i < rows.stop; i++) {
            const Span y = span(i, w.height, w.kernel_h, w.stride_h, w.top, w.rows, w.adaptive);
            for (int j = columns.start; j < columns.stop; j++) {
                const Span x =
                    span(j, w.width, w.kernel_w, w.stride_w, w.left, w.columns, w.adaptive);
                sum += (A)g[(image * w.rows + i) * w.columns + j] * share<A>(y, x, w);
            }
        }
        out[t] = (T)sum;
    }
}
