// The counter-based generator Philox 4x32-10 (Salmon et al. 2011). kernels/cpu/philox.py is the same.

typedef unsigned int uint32;

// Four words for a counter and a key.
struct Words { uint32 at[4]; };

__device__ __forceinline__ Words philox(uint32 c0, uint32 c1, uint32 c2, uint32 c3, uint32 k0,
                                        uint32 k1) {
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const uint32 high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        const uint32 high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

// Four words, read once for a warp, all of whose threads call this.
__device__ void read_state(uint32 (&state)[4], const uint32* from) {
    const uint32 word = threadIdx.x % 32 < 4 ? from[threadIdx.x % 4] : 0;
#pragma unroll
    for (int i = 0; i < 4; i++) state[i] = __shfl_sync(0xffffffffu, word, i);
}

// A stream of words: `state` holds the key (two words) and the upper half of the counter.
struct Stream {
    uint32 state[4];

    __device__ explicit Stream(const uint32* from) {
        read_state(state, from);
    }

    // Words 4q to 4q + 3.
    __device__ Words at(unsigned long long q) const {
        return philox((uint32)q, (uint32)(q >> 32), state[2], state[3], state[0], state[1]);
    }
};
