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

// `order` sorts `rows` stably. A block has `each` places of it, whose rows it reads once, and a thread
// for each pack of columns of the first of a run: it walks its run in the order of i and adds as a
// loop over i would, bit for bit.
template <typename T, typename I, int V>
__global__ void __launch_bounds__(256)
add_rows(T* out, const I* rows, const int64* order, const T* values, int64 count, int64 packs,
         int64 height, int each) {
    typedef typename Sum<T>::type A;
    __shared__ int64 sources[1024], numbers[1025];    // numbers[k + 1] of sources[k]
    const Pack<T, V>* from = (const Pack<T, V>*)values;
    Pack<T, V>* to = (Pack<T, V>*)out;
    const int64 first = (int64)blockIdx.x * each;
    const int places = (int)(first + each < count ? each : count - first);
    for (int k = threadIdx.x; k <= places; k += 256) {
        const int64 i = first + k - 1, source = i < 0 ? 0 : order[i];
        numbers[k] = i < 0 ? -1 : (int64)rows[source];
        if (k > 0) sources[k - 1] = source;
    }
    __syncthreads();
    for (int64 t = threadIdx.x; t < places * packs; t += 256) {
        int k = (int)(t / packs);
        const int64 column = t - k * packs, row = numbers[k + 1];
        if (row == numbers[k]) continue;    // inside a run
        if ((unsigned long long)row >= (unsigned long long)height) continue;    // no such row
        Pack<T, V> pack = to[row * packs + column];
        A sum[V];
        for (int v = 0; v < V; v++) sum[v] = (A)pack.at[v];
        int64 source = sources[k];
        for (int64 i = first + k;;) {
            pack = from[source * packs + column];
            for (int v = 0; v < V; v++) add(sum[v], pack.at[v]);
            if (++i == count) break;
            if (++k < places) {
                if (numbers[k + 1] != row) break;
                source = sources[k];
            } else {    // the run goes on behind this block's places
                source = order[i];
                if ((int64)rows[source] != row) break;
            }
        }
        for (int v = 0; v < V; v++) pack.at[v] = (T)sum[v];
        to[row * packs + column] = pack;
    }
}
