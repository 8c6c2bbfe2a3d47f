// Local response normalisation: each channel of a pixel and those about it; n = pixels * C.

// The sum over channel c, `before` before it and `after` after it, of f(x).
#define NEIGHBOURS(f)                                                            \
    int c = i % C;                                                               \
    SUM total = 0;                                                               \
    for (int k = c - before < 0 ? 0 : c - before; k <= c + after && k < C; k++) { \
        SUM v = (SUM)x[i - c + k];                                               \
        total += f;                                                              \
    }

extern "C" __global__ void channel_sum(const REAL* x, REAL* out, int before, int after, int C, int n) {
    EACH(i, n) {
        NEIGHBOURS(v)
        out[i] = (REAL)total;
    }
}

// x / (k + factor * sum of squares)^beta
extern "C" __global__ void local_response_norm(
    const REAL* x, REAL* out, int before, int after, SUM factor, SUM beta, SUM offset, int C, int n
) {
    EACH(i, n) {
        NEIGHBOURS(v * v)
        out[i] = (REAL)((SUM)x[i] * pow(offset + factor * total, -beta));
    }
}
