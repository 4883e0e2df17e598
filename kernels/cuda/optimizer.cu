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

// One step of Adafactor. Each tensor is in parts, at most FACTOR_THREADS, and has three phases: the
// sum of its squares and the variances, the norm of its update, the update. A part begins a phase
// when all parts of its tensor have ended the last. Blocks take parts in order, by `taken`, phase
// after phase, so that none waits for one that cannot begin. What parts add up is kept for each and
// added in order: the same bits on every run.
//
// `table` holds addresses by (parameter, gradient, row and column variances; tensor), `dims`
// (matrices, rows, columns); 0 rows for a vector, whose variance is in the third row of the table.
// `first` and `owner` say which parts are of which tensor, `ended` how many have ended, in all
// phases: it and `taken`, behind it, are 0 before and after. Numbers: the decay's power, weight
// decay, the two epsilons and d.
const int FACTOR_THREADS = 512;

// Wait until `count` says so. What others wrote before is seen then.
__device__ void wait_for(const int* count, int least) {
    if (threadIdx.x == 0)
        while (*(const volatile int*)count < least) {}
    __syncthreads();
    __threadfence();
}

// A parameter, its gradient and its variances, and the part `m` of `parts` that is worked on.
template <typename T> struct Factored {
    typedef typename Wide<T>::type A;
    static const int B = FACTOR_THREADS;
    T* p;
    const T* g;
    A *row, *col;
    int count, rows, cols, size, m, parts;    // in 32 bits, as kernels/adafactor.py makes sure

    // Where this part of n things begins.
    __device__ int begin(int n) const { return (int)((int64)n * m / parts); }
    __device__ int end(int n) const { return (int)((int64)n * (m + 1) / parts); }

    __device__ A squares() const {
        A sum[1] = {};
        for (int i = begin(size) + threadIdx.x; i < end(size); i += B) sum[0] += (A)p[i] * (A)p[i];
        reduce<Plus, B>(sum);
        return sum[0];
    }

    __device__ void variances(A scale, A fresh) const {
        if (rows == 0) {
            for (int i = begin(size) + threadIdx.x; i < end(size); i += B) {
                const A x = scale * (A)g[i];
                row[i] += fresh * (x * x - row[i]);
            }
            return;
        }
        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, lines = count * rows;
        for (int r = begin(lines) + warp; r < end(lines); r += B / 32) {
            A sum[1] = {};
            for (int c = lane; c < cols; c += 32) {
                const A x = scale * (A)g[(int64)r * cols + c];
                sum[0] += x * x;
            }
            reduce<Plus, 32>(sum);
            if (lane == 0) row[r] += fresh * (sum[0] / (A)cols - row[r]);
        }
        // Groups of 32 columns: each warp adds up some of the rows.
        __shared__ A sums[B / 32][32];
        const int all = count * cols, groups = (all + 31) / 32;
        for (int q = begin(groups); q < end(groups); q++) {
            const int j = q * 32 + lane;
            A sum = 0;
            if (j < all) {
                const T* top = g + (int64)(j / cols) * rows * cols + j % cols;
                for (int r = warp; r < rows; r += B / 32) {
                    const A x = scale * (A)top[(int64)r * cols];
                    sum += x * x;
                }
            }
            __syncthreads();    // the last group's have been read
            sums[warp][lane] = sum;
            __syncthreads();
            if (warp == 0 && j < all) {
                for (int k = 1; k < B / 32; k++) sum += sums[k][lane];
                col[j] += fresh * (sum / (A)rows - col[j]);
            }
        }
    }

    // What `use` makes of each element and of its update: the scaled gradient over the root of its
    // variance.
    template <typename F> __device__ void updates(A scale, A least_mean, A least, F use) const {
        const int area = rows ? rows * cols : size, start = begin(size), stop = end(size);
        for (int b = start / area; (int64)b * area < stop; b++) {
            A mean[1] = {};
            if (rows) {
                for (int r = threadIdx.x; r < rows; r += B) mean[0] += row[b * rows + r];
                reduce<Plus, B>(mean);
                mean[0] /= (A)rows;
                if (mean[0] < least_mean) mean[0] = least_mean;
            }
            const int last = b < count - 1 ? (b + 1) * area : size, until = min(stop, last);
#pragma unroll 2
            for (int i = max(start, b * area) + threadIdx.x; i < until; i += B) {
                A v = rows ? row[i / cols] * col[b * cols + i % cols] / mean[0] : row[i];
                if (v < least) v = least;
                use(i, scale * (A)g[i] / sqrt(v));
            }
        }
    }
};

template <typename T>
__global__ void __launch_bounds__(FACTOR_THREADS, 2)
adafactor(const uint64* table, const int64* dims, const int64* first, const int* owner, int parts,
          int tensors, typename Wide<T>::type* partials, int* ended, int64* steps, int* ticket,
          double rate, const typename Wide<T>::type* rate_at, double sign,
          const typename Wide<T>::type* unscale, const typename Wide<T>::type* summary,
          double limit, const typename Wide<T>::type* skip, double power_of_step, double decay,
          double epsilon1, double epsilon2, double d) {
    typedef typename Wide<T>::type A;
    const int B = FACTOR_THREADS;
    __shared__ A scale, fresh, shrink, rho;
    __shared__ bool off;
    __shared__ int place;
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
    int* taken = ended + tensors;
    for (;;) {
        if (threadIdx.x == 0) place = atomicAdd(taken, 1);
        __syncthreads();
        const int phase = parts ? place / parts : 3;
        if (phase > 2) break;
        const int part = place - phase * parts;
        const int t = owner[part], start = (int)first[t];
        const int count = (int)dims[3 * t], rows = (int)dims[3 * t + 1], cols = (int)dims[3 * t + 2];
        const int many = (int)(t + 1 < tensors ? first[t + 1] : parts) - start;
        const Factored<T> x = {(T*)table[t], (const T*)table[tensors + t],
                               (A*)table[2 * tensors + t], (A*)table[3 * tensors + t],
                               count, rows, cols, count * (rows ? rows : 1) * cols,
                               part - start, many};
        wait_for(ended + t, phase * many);
        if (phase == 0) {
            const A sum = x.squares();
            if (threadIdx.x == 0) partials[part] = sum;
            x.variances(scale, fresh);
        } else if (phase == 1) {
            A change[1] = {};
            x.updates(scale, (A)epsilon1, least, [&](int, A u) { change[0] += u * u; });
            reduce<Plus, B>(change);
            if (threadIdx.x == 0) partials[parts + part] = change[0];
        } else {
            A sum[2] = {};    // of squares, of the update's
            if (threadIdx.x < many)
                for (int k = 0; k < 2; k++) sum[k] = partials[k * parts + start + threadIdx.x];
            reduce<Plus, B>(sum);
            const A root = sqrt(sum[0] / (A)x.size);
            const A alpha = root > (A)epsilon2 || root != root ? root : (A)epsilon2;
            const A norm = sqrt(sum[1] / (A)x.size) / (A)d;
            const A size = alpha * rho / (norm > (A)1 || norm != norm ? norm : (A)1);
            x.updates(scale, (A)epsilon1, least, [&](int i, A u) {
                x.p[i] = (T)(shrink * (A)x.p[i] - size * u);
            });
        }
        __threadfence();
        __syncthreads();
        if (threadIdx.x == 0) atomicAdd(ended + t, 1);
    }
    if (last_block(ticket)) {
        for (int t = threadIdx.x; t <= tensors; t += B) ended[t] = 0;
        if (threadIdx.x == 0) *steps += 1;
    }
}
