// Windows of images as columns of a matrix, and the sum of such columns back into images.

#include "reduce.cuh"

// One group of channels of some samples. A column stands for one output, a row for one tap: a
// channel and a place in the kernel.
struct Shape {
    int64 sample, height, width;             // elements of a sample; of an image
    int kernel_h, kernel_w, stride_h, stride_w, top, left, dilation_h, dilation_w;
    int64 out_h, out_w, columns;             // columns: samples * out_h * out_w
};

// matrix[tap, column] = x at that tap's input for that output; 0 in the padding. A block has `each`
// columns of one channel's taps: the lines of images that those see are read once, into shared
// memory, if KEEP says that they fit. Each thread writes V columns of one row with one store.
template <typename T, typename M, int V, bool KEEP>
__global__ void __launch_bounds__(256, 4)
windows(M* matrix, const T* x, Shape s, int each, int64 tiles) {
    __shared__ T kept[KEEP ? 18432 / sizeof(T) : 1];    // as in kernels/conv.py
    const int64 c = blockIdx.x / tiles, begin = (blockIdx.x - c * tiles) * each;
    const int count = (int)min((int64)each, s.columns - begin);
    // The first and the last line (n * height + y) of the channel's images that is seen.
    int64 top = 0;
    if (KEEP) {
        const int64 v = begin / s.out_w, w = (begin + count - 1) / s.out_w;
        const int64 n = v / s.out_h, m = w / s.out_h;
        const int64 low = (v - n * s.out_h) * s.stride_h - s.top;
        const int64 high = (w - m * s.out_h) * s.stride_h - s.top + (s.kernel_h - 1) * s.dilation_h;
        top = n * s.height + min(max(low, (int64)0), s.height);
        const int64 bottom = m * s.height + max(min(high, s.height - 1), (int64)-1);
        const int width = (int)s.width, size = (int)(bottom - top + 1) * width;
        for (int t = threadIdx.x; t < size; t += 256) {
            const int64 line = top + t / width, image = line / s.height;
            kept[t] = x[image * s.sample + (c * s.height + line - image * s.height) * s.width + t % width];
        }
        __syncthreads();
    }
    const int packs = count / V, taps = s.kernel_h * s.kernel_w;
    for (int t = threadIdx.x; t < taps * packs; t += 256) {
        const int tap = t / packs, i = tap / s.kernel_w;
        int64 column = begin + (int64)(t - tap * packs) * V;
        M* to = matrix + (c * taps + tap) * s.columns + column;
        const int64 place = column / s.out_w;
        int64 u = column - place * s.out_w;
        int64 n = place / s.out_h, v = place - n * s.out_h;
        const int64 down = (int64)i * s.dilation_h - s.top;
        const int64 right = (int64)(tap - i * s.kernel_w) * s.dilation_w - s.left;
        Pack<M, V> pack;
#pragma unroll
        for (int k = 0; k < V; k++) {
            const int64 y = v * s.stride_h + down, z = u * s.stride_w + right;
            const bool inside = (uint64)y < (uint64)s.height && (uint64)z < (uint64)s.width;
            T found = (T)0.0f;
            if (inside)
                found = KEEP ? kept[(int)(n * s.height + y - top) * (int)s.width + (int)z]
                             : x[n * s.sample + (c * s.height + y) * s.width + z];
            pack.at[k] = (M)found;
            if (++u == s.out_w) {
                u = 0;
                if (++v == s.out_h) v = 0, n++;
            }
        }
        write(to, pack);
    }
}

// x = the sum over taps of what the matrix has for it: the transpose of windows. One thread for
// each element of x adds its taps in order.
template <typename T, typename M>
__global__ void images(T* x, const M* matrix, Shape s, int64 channels, int64 samples) {
    typedef typename Wide<T>::type A;
    const int64 area = s.height * s.width, all = samples * channels * area;
    const int64 stride = (int64)gridDim.x * blockDim.x;
    for (int64 t = (int64)blockIdx.x * blockDim.x + threadIdx.x; t < all; t += stride) {
        const int64 n = t / (channels * area), inner = t - n * channels * area;
        const int64 c = inner / area, pixel = inner - c * area;
        const int64 y = pixel / s.width + s.top, z = pixel % s.width + s.left;
        A sum = (A)0.0f;
        for (int i = 0; i < s.kernel_h; i++) {
            const int64 down = y - (int64)i * s.dilation_h;
            const int64 v = down / s.stride_h;
            if (down < 0 || v * s.stride_h != down || v >= s.out_h) continue;
            for (int j = 0; j < s.kernel_w; j++) {
                const int64 right = z - (int64)j * s.dilation_w;
                const int64 u = right / s.stride_w;
                if (right < 0 || u * s.stride_w != right || u >= s.out_w) continue;
                const int64 tap = (c * s.kernel_h + i) * s.kernel_w + j;
                sum += (A)matrix[tap * s.columns + (n * s.out_h + v) * s.out_w + u];
            }
        }
        x[n * s.sample + inner] = (T)sum;
    }
}
