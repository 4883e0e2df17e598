// Loops over the chunks of many arrays (kernels/many.py makes the tables).

#include "reduce.cuh"

const int CHUNK = 4096;      // elements; as in kernels/many.py
const int THREADS = 256;     // of each block

struct Chunks {
    const int64* sizes;
    const int64* first;
    const int* owner;

    // Array t, its size, and the elements start to stop - 1 of it that chunk c has. One thread
    // reads the tables for the block.
    __device__ void find(int c, int& t, int64& size, int64& start, int64& stop) const {
        __shared__ int array;
        __shared__ int64 place[2];
        __syncthreads();    // the last chunk's have been read
        if (threadIdx.x == 0) {
            array = owner[c];
            place[0] = sizes[array];
            place[1] = (c - first[array]) * CHUNK;
        }
        __syncthreads();
        t = array;
        size = place[0];
        start = place[1];
        stop = start + CHUNK < size ? start + CHUNK : size;
    }
};

// p[i], read by one thread for the block.
template <typename T> __device__ T* pointer(const uint64* p, int64 i) {
    __shared__ uint64 found;
    __syncthreads();
    if (threadIdx.x == 0) found = p[i];
    __syncthreads();
    return (T*)found;
}
