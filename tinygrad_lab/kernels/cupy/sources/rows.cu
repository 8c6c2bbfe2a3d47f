// Rows of K classes: softmax and cross entropies. LANES threads share a row: lane l has the classes l, l + LANES, ...,
// and the lanes combine their parts by exchanging registers.

#ifndef LANES
#define LANES 32
#endif

#define ROW(i, rows) EACH(i, (rows) * LANES)
#define CLASSES(k) for (int k = lane; k < K; k += LANES)

__device__ inline SUM sum_of_lanes(SUM v) {
    for (int far = LANES / 2; far; far /= 2) v += __shfl_xor_sync(0xFFFFFFFFu, v, far, LANES);
    return v;
}

// The larger of two numbers; NaN if one is NaN.
__device__ inline SUM larger(SUM a, SUM b) { return a > b || a != a ? a : b; }

__device__ inline SUM largest_of_lanes(SUM v) {
    for (int far = LANES / 2; far; far /= 2) v = larger(v, __shfl_xor_sync(0xFFFFFFFFu, v, far, LANES));
    return v;
}

__device__ inline SUM peak_of(const REAL* x, int K, int lane) {
    SUM peak = -(SUM)INFINITY;
    CLASSES(k) peak = larger((SUM)x[k], peak);
    return largest_of_lanes(peak);
}

__device__ inline SUM powers_of(const REAL* x, SUM peak, int K, int lane) {
    SUM total = 0;
    CLASSES(k) total += exp((SUM)x[k] - peak);
    return sum_of_lanes(total);
}

extern "C" __global__ void softmax(const REAL* x, REAL* out, int K, int rows) {
    ROW(i, rows) {
        const REAL* row = x + i / LANES * K;
        int lane = i % LANES;
        SUM peak = peak_of(row, K, lane), total = powers_of(row, peak, K, lane);
        CLASSES(k) out[i / LANES * K + k] = (REAL)(exp((SUM)row[k] - peak) / total);
    }
}

extern "C" __global__ void log_softmax(const REAL* x, REAL* out, int K, int rows) {
    ROW(i, rows) {
        const REAL* row = x + i / LANES * K;
        int lane = i % LANES;
        SUM peak = peak_of(row, K, lane), total = log(powers_of(row, peak, K, lane));
        CLASSES(k) out[i / LANES * K + k] = (REAL)((SUM)row[k] - peak - total);
    }
}

// The smoothed target probability of class k: from `shares`, or from the class number in `labels` if `shares` is null.
__device__ inline SUM wanted(const REAL* shares, const long long* labels, int row, int k, SUM smoothing, int K) {
    SUM t = shares ? (SUM)shares[row * K + k] : (SUM)(labels[row] == k);
    return smoothing != 0 ? t * (1 - smoothing) + smoothing / K : t;
}

// -sum_k t_k log softmax(x)_k; the term of a class with t = 0 is 0 for every logit.
extern "C" __global__ void cross_entropy(
    const REAL* x, const REAL* shares, const long long* labels, SUM smoothing, REAL* out, int K, int rows
) {
    ROW(i, rows) {
        const REAL* row = x + i / LANES * K;
        int lane = i % LANES;
        SUM peak = peak_of(row, K, lane), total = log(powers_of(row, peak, K, lane)), loss = 0;
        CLASSES(k) {
            SUM t = wanted(shares, labels, i / LANES, k, smoothing, K);
            if (t != 0) loss -= t * ((SUM)row[k] - peak - total);
        }
        loss = sum_of_lanes(loss);
        if (lane == 0) out[i / LANES] = (REAL)loss;
    }
}

// g (softmax(x) sum(t) - t)
extern "C" __global__ void cross_entropy_grad(
    const REAL* g,
    const REAL* x,
    const REAL* shares,
    const long long* labels,
    SUM smoothing,
    REAL* out,
    int K,
    int rows
) {
    ROW(i, rows) {
        const REAL* row = x + i / LANES * K;
        int lane = i % LANES;
        SUM peak = peak_of(row, K, lane), total = powers_of(row, peak, K, lane), whole = 0;
        CLASSES(k) whole += wanted(shares, labels, i / LANES, k, smoothing, K);
        whole = sum_of_lanes(whole);
        CLASSES(k) {
            SUM p = exp((SUM)row[k] - peak) / total, t = wanted(shares, labels, i / LANES, k, smoothing, K);
            out[i / LANES * K + k] = (REAL)((SUM)g[i / LANES] * (p * whole - t));
        }
    }
}
