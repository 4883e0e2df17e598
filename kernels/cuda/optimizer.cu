// A step of an optimizer over many tensors. The step count, the learning rate and whether to skip
// are read from device memory, so that a captured graph needs nothing from the host.

#include "many.cuh"

// What a rule is made from: the learning rate, the number of this step and its own numbers.
struct Numbers {
    double rate;
    int64 step;
    double at[6];
};

__device__ double power(double x, int64 n) {
    double y = 1;
    for (; n; n /= 2, x *= x)
        if (n % 2) y *= x;
    return y;
}

// Each rule has `STATES` arrays beside the parameter and gives the new parameter from the old,
// the gradient and the states, which it updates.

// Numbers: momentum, dampening, weight decay, Nesterov.
template <typename A, bool MOMENTUM> struct Sgd {
    static const int STATES = MOMENTUM;
    A rate, momentum, fresh, decay;
    bool nesterov;

    __device__ void set(const Numbers& n) {
        rate = n.rate;
        momentum = n.at[0];
        fresh = n.step == 1 ? 1 : 1 - n.at[1];
        decay = n.at[2];
        nesterov = n.at[3] != 0;
    }

    template <int N> __device__ A step(A p, A g, A (&s)[N]) const {
        g += decay * p;
        if (MOMENTUM) {
            s[0] = momentum * s[0] + fresh * g;
            g = nesterov ? g + momentum * s[0] : s[0];
        }
        return p - rate * g;
    }
};

// Numbers: the two betas, epsilon, weight decay, whether that is decoupled. LARGEST: AMSGrad.
template <typename A, bool LARGEST> struct Adam {
    static const int STATES = 2 + LARGEST;
    A rate, first, beta, second, root, epsilon, decay, shrink;

    __device__ void set(const Numbers& n) {
        const bool decoupled = n.at[4] != 0;
        rate = n.rate / (1 - power(n.at[0], n.step));
        first = 1 - n.at[0];
        beta = n.at[1];
        second = 1 - n.at[1];
        root = sqrt(1 - power(n.at[1], n.step));
        epsilon = n.at[2];
        decay = decoupled ? 0 : n.at[3];
        shrink = decoupled ? 1 - n.rate * n.at[3] : 1;
    }

    template <int N> __device__ A step(A p, A g, A (&s)[N]) const {
        g += decay * p;
        s[0] += first * (g - s[0]);
        s[1] = beta * s[1] + second * (g * g);
        A v = s[1];
        if (LARGEST) v = s[N - 1] = v > s[N - 1] || v != v ? v : s[N - 1];
        return shrink * p - rate * s[0] / (sqrt(v) / root + epsilon);
    }
};

// Numbers: learning rate decay, epsilon, weight decay.
template <typename A> struct Adagrad {
    static const int STATES = 1;
    A rate, epsilon, decay;

    __device__ void set(const Numbers& n) {
        rate = n.rate / (1 + (n.step - 1) * n.at[0]);
        epsilon = n.at[1];
        decay = n.at[2];
    }

    template <int N> __device__ A step(A p, A g, A (&s)[N]) const {
        g += decay * p;
        s[0] += g * g;
        return p - rate * g / (sqrt(s[0]) + epsilon);
    }
};

// Numbers: alpha, epsilon, weight decay, momentum. States: the mean of squares, then the mean if
// CENTERED, then the velocity if MOMENTUM.
template <typename A, bool CENTERED, bool MOMENTUM> struct RmsProp {
    static const int STATES = 1 + CENTERED + MOMENTUM;
    A rate, alpha, fresh, epsilon, decay, momentum;

    __device__ void set(const Numbers& n) {
        rate = n.rate;
        alpha = n.at[0];
        fresh = 1 - n.at[0];
        epsilon = n.at[1];
        decay = n.at[2];
        momentum = n.at[3];
    }

    template <int N> __device__ A step(A p, A g, A (&s)[N]) const {
        g += decay * p;
        s[0] = alpha * s[0] + fresh * (g * g);
        A v = s[0];
        if (CENTERED) {
            A& mean = s[CENTERED ? 1 : 0];
            mean += fresh * (g - mean);
            v -= mean * mean;
        }
        g = g / (sqrt(v) + epsilon);
        if (MOMENTUM) g = s[N - 1] = momentum * s[N - 1] + g;
        return p - rate * g;
    }
};

// Numbers: the two betas, weight decay.
template <typename A> struct Lion {
    static const int STATES = 1;
    A rate, shrink, beta1, fresh1, beta2, fresh2;

    __device__ void set(const Numbers& n) {
        rate = n.rate;
        shrink = 1 - n.rate * n.at[2];
        beta1 = n.at[0];
        fresh1 = 1 - n.at[0];
        beta2 = n.at[1];
        fresh2 = 1 - n.at[1];
    }

    template <int N> __device__ A step(A p, A g, A (&s)[N]) const {
        const A u = beta1 * s[0] + fresh1 * g;
        s[0] = beta2 * s[0] + fresh2 * g;
        return shrink * p - (u > 0 ? rate : u < 0 ? -rate : rate * u);
    }
};

// V elements at i of one tensor, whose addresses are in `row`: parameter, gradient, states.
template <class Rule, typename T, int V, typename A>
__device__ void advance(const Rule& rule, const uint64* row, int64 i, A factor) {
    const int S = Rule::STATES;
    T* param = (T*)row[0] + i;
    Pack<T, V> p = *(const Pack<T, V>*)param;
    const Pack<T, V> g = *(const Pack<T, V>*)((const T*)row[1] + i);
    Pack<A, V> s[S > 0 ? S : 1];
#pragma unroll
    for (int k = 0; k < S; k++) s[k] = *(const Pack<A, V>*)((const A*)row[2 + k] + i);
#pragma unroll
    for (int v = 0; v < V; v++) {
        A state[S > 0 ? S : 1];
#pragma unroll
        for (int k = 0; k < S; k++) state[k] = s[k].at[v];
        p.at[v] = (T)rule.step((A)p.at[v], factor * (A)g.at[v], state);
#pragma unroll
        for (int k = 0; k < S; k++) s[k].at[v] = state[k];
    }
    write(param, p);
#pragma unroll
    for (int k = 0; k < S; k++) write((A*)row[2 + k] + i, s[k]);
}

// By what gradients are multiplied: divided by the loss scale, clipped as in PyTorch, where a norm
// that is not finite says so in the gradients. A negative limit is none.
template <typename A>
__device__ double factor_of(double sign, const A* unscale, const A* summary, double limit) {
    const double factor = sign / (unscale ? (double)*unscale : 1.0);
    if (!summary || limit < 0) return factor;
    const double clip = limit / (summary[0] * fabs(factor) + 1e-6);
    return factor * (clip >= 1 ? 1 : clip);
}

// `table` holds addresses by (parameter, gradient, states...; tensor). A null pointer is what is
// not given: rate_at overrides rate. summary: the gradients' norm.
template <class Rule, typename T, int V>
__global__ void __launch_bounds__(THREADS, 4) update(const uint64* table, const int64* sizes, const int64* first,
                       const int* owner, int chunks, int tensors, int64* steps, int* ticket,
                       double rate, const typename Wide<T>::type* rate_at, double sign,
                       const typename Wide<T>::type* unscale,
                       const typename Wide<T>::type* summary, double limit,
                       const typename Wide<T>::type* skip, double n0, double n1, double n2,
                       double n3, double n4) {
    typedef typename Wide<T>::type A;
    const int ROWS = 2 + Rule::STATES;
    __shared__ Rule rule;
    __shared__ A scale;
    __shared__ bool off;
    __shared__ uint64 row[ROWS];
    const Chunks places = {sizes, first, owner};
    if (threadIdx.x == 0) {
        off = skip && *skip != 0;
        rule.set({rate_at ? (double)*rate_at : rate, *steps + 1, {n0, n1, n2, n3, n4}});
        scale = (A)factor_of(sign, unscale, summary, limit);
    }
    __syncthreads();
    if (off) return;
    for (int c = blockIdx.x; c < chunks; c += gridDim.x) {
        int t;
        int64 size, start, stop;
        places.find(c, t, size, start, stop);
        bool whole = true;
        if (threadIdx.x < ROWS) {
            row[threadIdx.x] = table[(int64)threadIdx.x * tensors + t];
            whole = aligned((const void*)row[threadIdx.x]);
        }
        whole = __syncthreads_and(whole);
        const int64 packed = whole ? start + (stop - start) / V * V : start;
#pragma unroll 1
        for (int64 i = start + threadIdx.x * V; i < packed; i += THREADS * V)
            advance<Rule, T, V>(rule, row, i, scale);
#pragma unroll 1
        for (int64 i = packed + threadIdx.x; i < stop; i += THREADS)
            advance<Rule, T, 1>(rule, row, i, scale);
    }
    if (last_block(ticket) && threadIdx.x == 0) *steps += 1;
}

// One step of Adafactor, a block for each tensor: its sums over rows, columns and the whole tensor
// each wait for the last. `table` holds addresses by (parameter, gradient, row and column variances;
// tensor), `dims` (matrices, rows, columns); 0 rows for a vector, whose variance is in the third row
// of the table. Numbers: the decay's power, weight decay, the two epsilons and d.
const int FACTOR_THREADS = 512;

template <typename T>
__global__ void __launch_bounds__(FACTOR_THREADS, 1)
adafactor(const uint64* table, const int64* dims, int tensors, int64* steps, int* ticket,
          double rate, const typename Wide<T>::type* rate_at, double sign,
          const typename Wide<T>::type* unscale, const typename Wide<T>::type* summary,
          double limit, const typename Wide<T>::type* skip, double power_of_step, double decay,
          double epsilon1, double epsilon2, double d) {
    typedef typename Wide<T>::type A;
    const int B = FACTOR_THREADS;
    __shared__ A scale, fresh, shrink, rho, step_size;
    __shared__ bool off;
    if (threadIdx.x == 0) {
        off = skip && *skip != 0;
        const double lr = rate_at ? (double)*rate_at : rate, step = (double)(*steps + 1);
        const double bound = 1 / sqrt(step);
        scale = (A)factor_of(sign, unscale, summary, limit);
        fresh = (A)exp(power_of_step * log(step));
        shrink = (A)(1 - lr * decay);
        rho = (A)(lr < bound ? lr : bound);
    }
    __syncthreads();
    if (off) return;
    const A least = (A)(epsilon1 * epsilon1);
    for (int t = blockIdx.x; t < tensors; t += gridDim.x) {
        T* p = (T*)table[t];
        const T* g = (const T*)table[tensors + t];
        A* row = (A*)table[2 * tensors + t];
        A* col = (A*)table[3 * tensors + t];
        // In 32 bits, as kernels/adafactor.py makes sure: the loops divide by them.
        const int count = (int)dims[3 * t], rows = (int)dims[3 * t + 1], cols = (int)dims[3 * t + 2];
        const int64 size = (int64)count * (rows > 0 ? rows : 1) * cols;
        if (size == 0) continue;
        A squares[1] = {};
        for (int64 i = threadIdx.x; i < size; i += B) squares[0] += (A)p[i] * (A)p[i];
        reduce<Plus, B>(squares);
        if (rows == 0) {
            for (int64 i = threadIdx.x; i < size; i += B) {
                const A x = scale * (A)g[i];
                row[i] += fresh * (x * x - row[i]);
            }
        } else {
            for (int r = threadIdx.x / 32; r < count * rows; r += B / 32) {
                A sum[1] = {};
                for (int c = threadIdx.x % 32; c < cols; c += 32) {
                    const A x = scale * (A)g[(int64)r * cols + c];
                    sum[0] += x * x;
                }
                reduce<Plus, 32>(sum);
                if (threadIdx.x % 32 == 0) row[r] += fresh * (sum[0] / (A)cols - row[r]);
            }
            for (int j = threadIdx.x; j < count * cols; j += B) {
                const int64 first = (int64)(j / cols) * rows * cols + j % cols;
                A sum = 0;
                for (int r = 0; r < rows; r++) {
                    const A x = scale * (A)g[first + (int64)r * cols];
                    sum += x * x;
                }
                col[j] += fresh * (sum / (A)rows - col[j]);
            }
        }
        __syncthreads();    // the variances are written
        A change[1] = {};
        for (int pass = 0; pass < 2; pass++) {    // the update's norm, then the update
            for (int b = 0; b < (rows ? count : 1); b++) {
                A mean[1] = {};
                if (rows) {
                    for (int r = threadIdx.x; r < rows; r += B) mean[0] += row[b * rows + r];
                    reduce<Plus, B>(mean);
                    mean[0] /= (A)rows;
                    if (mean[0] < (A)epsilon1) mean[0] = (A)epsilon1;
                }
                const int length = rows ? rows * cols : (int)size;
                for (int i = threadIdx.x; i < length; i += B) {
                    A v = rows ? row[b * rows + i / cols] * col[b * cols + i % cols] / mean[0] : row[i];
                    if (v < least) v = least;
                    const int64 at = (int64)b * length + i;
                    const A u = scale * (A)g[at] / sqrt(v);
                    if (pass == 0) change[0] += u * u;
                    else p[at] = (T)(shrink * (A)p[at] - step_size * u);
                }
            }
            if (pass == 0) {
                reduce<Plus, B>(change);
                if (threadIdx.x == 0) {
                    const A root = sqrt(squares[0] / (A)size);
                    const A alpha = root > (A)epsilon2 || root != root ? root : (A)epsilon2;
                    const A norm = sqrt(change[0] / (A)size) / (A)d;
                    step_size = alpha * rho / (norm > (A)1 || norm != norm ? norm : (A)1);
                }
                __syncthreads();
            }
        }
    }
    if (last_block(ticket) && threadIdx.x == 0) *steps += 1;
}
