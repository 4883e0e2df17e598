// Pooling over windows of images. One thread for each element of the result, forward and back:
// a gradient is gathered from the windows that a pixel is in, in order, so that nothing is added
// by two threads.

#include "reduce.cuh"

struct Window {
    int64 height, width, rows, columns;      // of an image, and of windows
    int kernel_h, kernel_w, stride_h, stride_w, top, left, dilation_h, dilation_w;
    int adaptive, padded, divisor, unused;
};

// Along one axis: window i, and the windows that pixel i is in.
struct Span {
    int64 start, stop, last;     // pixels start to stop - 1; the window ends at `last` with padding
};

__device__ Span span(int64 i, int64 size, int kernel, int stride, int pad, int64 count, int adaptive) {
    if (adaptive) {
        const int64 stop = ((i + 1) * size + count - 1) / count;
        return {i * size / count, stop, stop};
    }
    const int64 start = i * stride - pad, end = start + kernel;
    return {start, end < size ? end : size, end < size + pad ? end : size + pad};
}

__device__ Span covering(int64 i, int64 size, int reach, int stride, int pad, int64 count, int adaptive) {
    if (adaptive) return {i * count / size, ((i + 1) * count + size - 1) / size, 0};
    const int64 after = i + pad - reach;      // the last pixel that ends before this one's windows
    const int64 first = after < 0 ? 0 : after / stride + 1, end = (i + pad) / stride + 1;
    return {first, end < count ? end : count, 0};
}

template <typename A> __device__ A share(const Span& y, const Span& x, const Window& w) {
    if (w.divisor) return (A)1.0f / (A)w.divisor;
    if (w.padded) return (A)1.0f / (A)((y.last - y.start) * (x.last - x.start));
    const int64 top = y.start > 0 ? y.start : 0, left = x.start > 0 ? x.start : 0;
    return (A)1.0f / (A)((y.stop - top) * (x.stop - left));
}

// The largest element of each window, NaN before all, and where it is in its image.
template <typename T>
__global__ void largest(T* y, int* places, const T* x, Window w, int64 size) {
    typedef typename Wide<T>::type A;
    const int64 stride = (int64)gridDim.x * blockDim.x;
    for (int64 t = (int64)blockIdx.x * blockDim.x + threadIdx.x; t < size; t += stride) {
        const int64 line = t / w.columns, image = line / w.rows;
        const int64 top = (line - image * w.rows) * w.stride_h - w.top;
        const int64 left = (t - line * w.columns) * w.stride_w - w.left;
        const T* from = x + image * w.height * w.width;
        T best = (T)0.0f;
        int64 at = -1;
        for (int k = 0; k < w.kernel_h; k++) {
            const int64 a = top + (int64)k * w.dilation_h;
            if (a < 0 || a >= w.height) continue;
            for (int m = 0; m < w.kernel_w; m++) {
                const int64 b = left + (int64)m * w.dilation_w;
                if (b < 0 || b >= w.width) continue;
                const T v = from[a * w.width + b];
                if (at < 0 || (A)v > (A)best || (A)v != (A)v) {
                    best = v;
                    at = a * w.width + b;
                }
            }
        }
        y[t] = best;
        places[t] = (int)at;
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
        const int64 y = line - image * w.height, x = t - line * w.width;
        const Span rows = covering(y, w.height, reach_h, w.stride_h, w.top, w.rows, 0);
        const Span columns = covering(x, w.width, reach_w, w.stride_w, w.left, w.columns, 0);
        A sum = (A)0.0f;
        for (int64 i = rows.start; i < rows.stop; i++)
            for (int64 j = columns.start; j < columns.stop; j++) {
                const int64 from = (image * w.rows + i) * w.columns + j;
                if (places[from] == (int)(y * w.width + x)) sum += (A)g[from];
            }
        out[t] = (T)sum;
    }
}

template <typename T> __global__ void mean(T* y, const T* x, Window w, int64 size) {
    typedef typename Wide<T>::type A;
    const int64 stride = (int64)gridDim.x * blockDim.x;
    for (int64 t = (int64)blockIdx.x * blockDim.x + threadIdx.x; t < size; t += stride) {
        const int64 line = t / w.columns, image = line / w.rows;
        const Span rows = span(line - image * w.rows, w.height, w.kernel_h, w.stride_h, w.top,
                               w.rows, w.adaptive);
        const Span columns = span(t - line * w.columns, w.width, w.kernel_w, w.stride_w, w.left,
                                  w.columns, w.adaptive);
        const T* from = x + image * w.height * w.width;
        A sum = (A)0.0f;
        for (int64 a = rows.start > 0 ? rows.start : 0; a < rows.stop; a++)
            for (int64 b = columns.start > 0 ? columns.start : 0; b < columns.stop; b++)
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
        const Span rows = covering(line - image * w.height, w.height, w.kernel_h, w.stride_h,
                                   w.top, w.rows, w.adaptive);
        const Span columns = covering(t - line * w.width, w.width, w.kernel_w, w.stride_w, w.left,
                                      w.columns, w.adaptive);
        A sum = (A)0.0f;
        for (int64 i = rows.start; i < rows.stop; i++) {
            const Span y = span(i, w.height, w.kernel_h, w.stride_h, w.top, w.rows, w.adaptive);
            for (int64 j = columns.start; j < columns.stop; j++) {
                const Span x =
                    span(j, w.width, w.kernel_w, w.stride_w, w.left, w.columns, w.adaptive);
                sum += (A)g[(image * w.rows + i) * w.columns + j] * share<A>(y, x, w);
            }
        }
        out[t] = (T)sum;
    }
}
