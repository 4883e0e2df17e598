// out[rows[i]] += values[i], each run of equal rows summed in order by one thread.

#include "reduce.cuh"

// Places of a block at most, those that it looks ahead, and those that it reads at a time behind them.
const int MOST = 1024, AHEAD = 16, MORE = 64;

// `order` sorts `rows` stably. A block has `each` places of it, whose rows it reads once, and a thread
// for each pack of columns of the first of a run: it walks its run in the order of i and adds as a
// loop over i would, bit for bit. The one run that goes on further than the block sees comes last,
// and the whole block reads on for it.
template <typename T, typename I, int V>
__global__ void __launch_bounds__(256)
add_rows(T* out, const I* rows, const int64* order, const T* values, int64 count, int64 packs,
         int64 height, int each) {
    typedef typename Long<T>::type A;
    __shared__ int64 sources[MOST + AHEAD], numbers[MOST + AHEAD + 1];    // [k + 1] of sources[k]
    const Pack<T, V>* from = (const Pack<T, V>*)values;
    Pack<T, V>* to = (Pack<T, V>*)out;
    const int64 first = (int64)blockIdx.x * each;
    const int places = (int)(first + each < count ? each : count - first);
    const int known = (int)(first + each + AHEAD < count ? each + AHEAD : count - first);
    for (int k = threadIdx.x; k <= known; k += 256) {
        const int64 i = first + k - 1, source = i < 0 ? 0 : order[i];
        numbers[k] = i < 0 ? -1 : (int64)rows[source];
        if (k > 0) sources[k - 1] = source;
    }
    __syncthreads();
    const int64 last = numbers[places];
    const bool on = first + known < count && numbers[known] == last;
    for (int64 t = threadIdx.x; t < places * packs; t += 256) {
        int k = (int)(t / packs);
        const int64 column = t - k * packs, row = numbers[k + 1];
        if (row == numbers[k] || (on && row == last)) continue;    // inside a run, or for later
        if ((uint64)row >= (uint64)height) continue;    // no such row
        Pack<T, V> pack = to[row * packs + column];
        A sum[V];
        for (int v = 0; v < V; v++) sum[v] = (A)pack.at[v];
        do {
            pack = from[sources[k] * packs + column];
            for (int v = 0; v < V; v++) sum[v] += (A)pack.at[v];
            k++;
        } while (k < known && numbers[k + 1] == row);
        for (int v = 0; v < V; v++) pack.at[v] = (T)sum[v];
        to[row * packs + column] = pack;
    }
    if (!on || (uint64)last >= (uint64)height || numbers[0] == last) return;
    int start = places;    // of the last run
    while (start > 0 && numbers[start] == last) start--;
    for (int64 base = 0; base < packs; base += 256) {
        const int64 column = base + threadIdx.x;
        const bool mine = column < packs;
        Pack<T, V> pack;
        if (mine) pack = to[last * packs + column];
        A sum[V];
        for (int v = 0; v < V; v++) sum[v] = (A)pack.at[v];
        bool more = true;
        for (int64 i = first + start; more; i += MORE) {
            __syncthreads();    // what was read has been used
            const int ready = (int)(count - i < MORE ? count - i : MORE);
            if ((int)threadIdx.x < ready) {
                sources[threadIdx.x] = order[i + threadIdx.x];
                numbers[threadIdx.x] = (int64)rows[sources[threadIdx.x]];
            }
            __syncthreads();
            int k = 0;
            for (; k < ready && numbers[k] == last; k++) {
                if (!mine) continue;
                pack = from[sources[k] * packs + column];
                for (int v = 0; v < V; v++) sum[v] += (A)pack.at[v];
            }
            more = k == MORE && i + MORE < count;
        }
        for (int v = 0; v < V; v++) pack.at[v] = (T)sum[v];
        if (mine) to[last * packs + column] = pack;
    }
}
