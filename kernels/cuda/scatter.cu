// out[rows[i]] += values[i], each run of equal rows summed in order by one thread.

#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef long long int64;

// Sums are kept in float where the elements are narrower.
template <typename T> struct Sum { typedef T type; };
template <> struct Sum<__half> { typedef float type; };
template <> struct Sum<__nv_bfloat16> { typedef float type; };

// V elements that move as one load or store of up to 16 bytes.
template <typename T, int V> struct alignas(sizeof(T) * V) Pack { T at[V]; };

// CUDA's float2 and double2 are the complex numbers here; they have no operator of their own.
template <typename A, typename T> __device__ void add(A& sum, T x) { sum += (A)x; }
__device__ void add(float2& sum, float2 x) { sum.x += x.x; sum.y += x.y; }
__device__ void add(double2& sum, double2 x) { sum.x += x.x; sum.y += x.y; }

// One thread for each pack of columns of the first of a run: `order` sorts `rows` stably, so the
// thread walks its run in the order of i and adds as a loop over i would, bit for bit.
template <typename T, typename I, int V>
__global__ void add_rows(T* out, const I* rows, const int64* order, const T* values,
                         int64 count, int64 packs, int64 height) {
    typedef typename Sum<T>::type A;
    const Pack<T, V>* from = (const Pack<T, V>*)values;
    Pack<T, V>* to = (Pack<T, V>*)out;
    const int64 stride = (int64)gridDim.x * blockDim.x;
    for (int64 t = (int64)blockIdx.x * blockDim.x + threadIdx.x; t < count * packs; t += stride) {
        int64 i = t / packs;
        const int64 column = t - i * packs;
        int64 source = order[i];
        const I row = rows[source];
        if (i > 0 && rows[order[i - 1]] == row) continue;    // inside a run
        if ((unsigned long long)row >= (unsigned long long)height) continue;    // no such row
        Pack<T, V> pack = to[(int64)row * packs + column];
        A sum[V];
        for (int v = 0; v < V; v++) sum[v] = (A)pack.at[v];
        do {
            pack = from[source * packs + column];
            for (int v = 0; v < V; v++) add(sum[v], pack.at[v]);
            if (++i == count) break;
            source = order[i];
        } while (rows[source] == row);
        for (int v = 0; v < V; v++) pack.at[v] = (T)sum[v];
        to[(int64)row * packs + column] = pack;
    }
}
