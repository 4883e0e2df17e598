// Activations: value(z), and pull(g, r), the cotangent of z from that of the value, where r is the
// value itself if the backward pass keeps the OUTPUT, else z, of which by SIGNS only it is known
// whether it is above 0. kernels/cpu/activation.py is the same.

enum Keeps { INPUT, OUTPUT, SIGNS };

struct Parameters { double first, second; };

template <typename A> __device__ A logistic(A z) {
    const A e = exp(-fabs(z));
    return (z < (A)0 ? e : (A)1) / ((A)1 + e);
}

// The logistic function of z and of -z, neither by a difference.
template <typename A> struct Sides {
    A at, against;
    __device__ explicit Sides(A z) {
        const A e = exp(-fabs(z)), d = (A)1 / ((A)1 + e);
        at = z < (A)0 ? e * d : d;
        against = z < (A)0 ? d : e * d;
    }
};

// A slope that is not negative: of a value beyond 1, as dropout's scale leaves it when that is
// rounded and taken out again.
template <typename A> __device__ A rising(A slope) { return slope < (A)0 ? (A)0 : slope; }

struct Identity {
    static const Keeps keeps = OUTPUT;
    __device__ explicit Identity(Parameters) {}
    template <typename A> __device__ A value(A z) const { return z; }
    template <typename A> __device__ A pull(A g, A y) const { return g; }
};

struct Relu {
    static const Keeps keeps = SIGNS;
    __device__ explicit Relu(Parameters) {}
    template <typename A> __device__ A value(A z) const { return z < (A)0 ? (A)0 : z; }
    template <typename A> __device__ A pull(A g, A z) const { return z > (A)0 ? g : (A)0; }
};

struct LeakyRelu {
    static const Keeps keeps = SIGNS;    // its slope is not negative
    double slope;
    __device__ explicit LeakyRelu(Parameters p) : slope(p.first) {}
    template <typename A> __device__ A value(A z) const { return z > (A)0 ? z : z * (A)slope; }
    template <typename A> __device__ A pull(A g, A z) const { return z > (A)0 ? g : g * (A)slope; }
};

struct Sigmoid {
    static const Keeps keeps = OUTPUT;
    __device__ explicit Sigmoid(Parameters) {}
    template <typename A> __device__ A value(A z) const { return logistic(z); }
    template <typename A> __device__ A pull(A g, A y) const { return g * rising(y * ((A)1 - y)); }
};

struct Tanh {
    static const Keeps keeps = OUTPUT;
    __device__ explicit Tanh(Parameters) {}
    template <typename A> __device__ A value(A z) const { return tanh(z); }
    template <typename A> __device__ A pull(A g, A y) const { return g * rising((A)1 - y * y); }
};

struct Elu {
    static const Keeps keeps = INPUT;
    double alpha;
    __device__ explicit Elu(Parameters p) : alpha(p.first) {}
    template <typename A> __device__ A value(A z) const {
        return z > (A)0 ? z : (A)alpha * expm1(z);
    }
    template <typename A> __device__ A pull(A g, A z) const {
        return z > (A)0 ? g : g * ((A)alpha * exp(z));
    }
};

struct Selu {
    static const Keeps keeps = INPUT;
    __device__ explicit Selu(Parameters) {}
    template <typename A> __device__ A value(A z) const {
        return z > (A)0 ? (A)1.0507009873554805 * z : (A)1.7580993408473766 * expm1(z);
    }
    template <typename A> __device__ A pull(A g, A z) const {
        return g * (z > (A)0 ? (A)1.0507009873554805 : (A)1.7580993408473766 * exp(z));
    }
};

struct Gelu {
    static const Keeps keeps = INPUT;
    __device__ explicit Gelu(Parameters) {}
    template <typename A> __device__ A value(A z) const { return z * normcdf(z); }
    template <typename A> __device__ A pull(A g, A z) const {
        z = z > (A)40 ? (A)40 : z < (A)-40 ? (A)-40 : z;    // where the slope is 1 and 0
        return g * (normcdf(z) + z * ((A)0.3989422804014327 * exp((A)-0.5 * (z * z))));
    }
};

struct GeluTanh {
    static const Keeps keeps = INPUT;
    __device__ explicit GeluTanh(Parameters) {}
    // 0.5 (1 + tanh(u)) = logistic(2u)
    template <typename A> __device__ A twice(A z) const {
        return (A)1.5957691216057308 * (z + (A)0.044715 * (z * z * z));
    }
    template <typename A> __device__ A value(A z) const { return z * logistic(twice(z)); }
    template <typename A> __device__ A pull(A g, A z) const {
        z = z > (A)40 ? (A)40 : z < (A)-40 ? (A)-40 : z;
        const Sides<A> s(twice(z));
        const A du = (A)1.5957691216057308 * ((A)1 + (A)0.134145 * (z * z));
        return g * (s.at + z * (s.at * s.against) * du);
    }
};

struct Silu {
    static const Keeps keeps = INPUT;
    __device__ explicit Silu(Parameters) {}
    template <typename A> __device__ A value(A z) const { return z * logistic(z); }
    template <typename A> __device__ A pull(A g, A z) const {
        const Sides<A> s(z);
        return g * (s.at * ((A)1 + z * s.against));
    }
};

struct Mish {
    static const Keeps keeps = INPUT;
    __device__ explicit Mish(Parameters) {}
    // w = tanh(softplus(z)) and 1 - w, neither by a difference
    template <typename A> __device__ void parts(A z, A& w, A& rest) const {
        const A e = exp(-fabs(z));
        const A n = z < (A)0 ? e * (e + (A)2) : (A)1 + (A)2 * e;
        const A m = z < (A)0 ? (A)2 : (A)2 * e * e;
        w = n / (n + m);
        rest = m / (n + m);
    }
    template <typename A> __device__ A value(A z) const {
        A w, rest;
        parts(z, w, rest);
        return z * w;
    }
    template <typename A> __device__ A pull(A g, A z) const {
        A w, rest;
        parts(z, w, rest);
        return g * (w + z * logistic(z) * (rest * ((A)1 + w)));
    }
};

struct HardSwish {
    static const Keeps keeps = INPUT;
    __device__ explicit HardSwish(Parameters) {}
    template <typename A> __device__ A value(A z) const {
        return z <= (A)-3 ? (A)0 : z >= (A)3 ? z : z * (z + (A)3) / (A)6;
    }
    template <typename A> __device__ A pull(A g, A z) const {
        return z <= (A)-3 ? (A)0 : z >= (A)3 ? g : g * (z / (A)3 + (A)0.5);
    }
};

struct Softplus {
    static const Keeps keeps = INPUT;
    double beta, threshold;
    __device__ explicit Softplus(Parameters p) : beta(p.first), threshold(p.second) {}
    template <typename A> __device__ A value(A z) const {
        const A u = z * (A)beta;
        if (u > (A)threshold) return z;
        return ((u > (A)0 ? u : (A)0) + log1p(exp(-fabs(u)))) / (A)beta;
    }
    template <typename A> __device__ A pull(A g, A z) const {
        const A u = z * (A)beta;
        return u > (A)threshold ? g : g * logistic(u);
    }
};
