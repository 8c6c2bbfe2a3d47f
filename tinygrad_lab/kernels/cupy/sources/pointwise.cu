// Elementwise kernels: activations, the bias of a convolution, dropout, and rounding to bfloat16.

extern "C" __global__ void relu(const REAL* x, REAL* out, int n) {
    EACH(i, n) {
        SUM v = (SUM)x[i];
        out[i] = (REAL)(v > 0 || v != v ? v : (SUM)0);  // NaN stays NaN
    }
}

extern "C" __global__ void relu_grad(const REAL* g, const REAL* y, REAL* out, int n) {
    EACH(i, n) out[i] = (SUM)y[i] > 0 ? g[i] : (REAL)0.0f;
}

// Adds a bias for each channel to y, (rows, channels), and applies ReLU if `clip`. bias may be null.
extern "C" __global__ void bias_relu(REAL* y, const REAL* bias, int channels, int clip, int n) {
    EACH(i, n) {
        SUM v = (SUM)y[i] + (bias ? (SUM)bias[i % channels] : (SUM)0);
        y[i] = (REAL)(!clip || v > 0 || v != v ? v : (SUM)0);
    }
}

// SplitMix64 at the counter `place`; see tinygrad_lab.backend.random_bits.
__device__ inline bits64 random_bits(bits64 key, bits64 place) {
    bits64 z = key + (place + 1) * 0x9E3779B97F4A7C15ull;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

// The keys of draws in a step from their bases.
extern "C" __global__ void keys_in_step(const bits64* bases, const bits64* step, bits64* keys, int n) {
    EACH(i, n) keys[i] = random_bits(bases[i], *step);
}

// x is (outer, shared, inner). The elements (o, :, k) along the middle axis share random number o * inner + k.
extern "C" __global__ void dropout(
    const REAL* x, REAL* out, NUMBER(bits64, key), bits64 threshold, SUM scale, int shared, int inner, int n
) {
    bits64 key = READ(key);
    EACH(i, n) {
        bits64 place = (bits64)(i / (shared * inner)) * inner + i % inner;
        SUM factor = random_bits(key, place) >= threshold ? scale : (SUM)0;
        out[i] = (REAL)((SUM)x[i] * factor);  // a product, so that NaN stays NaN
    }
}

// The nearest bfloat16, ties to even: the upper half of a float's bits, plus one if the lower half is past the middle.
extern "C" __global__ void round_to_bfloat16(const float* x, bits16* out, int n) {
    EACH(i, n) {
        union { float value; unsigned int bits; } u;
        u.value = x[i];
        bool nan = u.value != u.value;
        out[i] = nan ? 0x7FC0 : (bits16)((u.bits + 0x7FFF + (u.bits >> 16 & 1)) >> 16);
    }
}
