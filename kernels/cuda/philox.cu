// Random words, uniform and normal numbers from a stream of Philox 4x32-10.

#include "reduce.cuh"
#include "philox.cuh"

// Four words as four elements.
struct Bits {
    typedef uint32 type;
    static const int count = 4;
    __device__ static void of(const Words& w, uint32* out) {
        for (int i = 0; i < 4; i++) out[i] = w.at[i];
    }
};

template <typename T> struct Uniform;

template <> struct Uniform<float> {
    typedef float type;
    static const int count = 4;
    __device__ static void of(const Words& w, float* out) {
        for (int i = 0; i < 4; i++) out[i] = (w.at[i] >> 8) * 0x1p-24f;
    }
};

template <> struct Uniform<double> {
    typedef double type;
    static const int count = 2;
    __device__ static void of(const Words& w, double* out) {
        for (int i = 0; i < 2; i++)
            out[i] = (((uint64)w.at[2 * i + 1] << 32 | w.at[2 * i]) >> 11) * 0x1p-53;
    }
};

// Pairs by Box and Muller, of 1 - u, which is never 0.
template <typename T> struct Normal;

template <> struct Normal<float> {
    typedef float type;
    static const int count = 4;
    __device__ static void of(const Words& w, float* out) {
        float u[4];
        Uniform<float>::of(w, u);
        for (int i = 0; i < 4; i += 2) {
            const float r = sqrtf(-2.0f * logf(1.0f - u[i]));
            sincospif(2.0f * u[i + 1], &out[i + 1], &out[i]);
            out[i] *= r;
            out[i + 1] *= r;
        }
    }
};

template <> struct Normal<double> {
    typedef double type;
    static const int count = 2;
    __device__ static void of(const Words& w, double* out) {
        double u[2];
        Uniform<double>::of(w, u);
        const double r = sqrt(-2.0 * log(1.0 - u[0]));
        sincospi(2.0 * u[1], &out[1], &out[0]);
        out[0] *= r;
        out[1] *= r;
    }
};

// One thread for the elements of four words, 16 bytes.
template <typename Kind>
__global__ void draw(const uint32* state, typename Kind::type* out, int64 size) {
    typedef typename Kind::type T;
    const int n = Kind::count;
    const Stream stream(state);
    const int64 stride = (int64)gridDim.x * blockDim.x;
    for (int64 q = (int64)blockIdx.x * blockDim.x + threadIdx.x; q * n < size; q += stride) {
        Pack<T, n> pack;
        Kind::of(stream.at(q), pack.at);
        if (q * n + n <= size) {
            ((Pack<T, n>*)out)[q] = pack;
        } else {
#pragma unroll
            for (int i = 0; i < n; i++)
                if (q * n + i < size) out[q * n + i] = pack.at[i];
        }
    }
}
