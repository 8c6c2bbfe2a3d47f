// Local response normalization over neighboring channels of a pixel; n = pixels * C.

// The sum of f over channel c of a pixel, `before` channels before it and `after` after it; f is an expression in v.
#define NEIGHBORS(pixel, f)                                                      \
    SUM total = 0;                                                               \
    for (int k = c - before < 0 ? 0 : c - before; k <= c + after && k < C; k++) { \
        SUM v = (SUM)pixel[k];                                                   \
        total += f;                                                              \
    }

extern "C" __global__ void channel_sum(const REAL* x, REAL* out, int before, int after, int C, int n) {
    EACH(i, n) {
        int c = i % C;
        const REAL* pixel = x + (i - c);
        NEIGHBORS(pixel, v)
        out[i] = (REAL)total;
    }
}

__device__ inline SUM base_of(const REAL* pixel, int c, int before, int after, SUM factor, SUM offset, int C) {
    NEIGHBORS(pixel, v * v)
    return offset + factor * total;
}

// x / (k + factor * sum of squares)^beta
extern "C" __global__ void local_response_norm(
    const REAL* x, REAL* out, int before, int after, SUM factor, SUM beta, SUM offset, int C, int n
) {
    EACH(i, n) {
        int c = i % C;
        out[i] = (REAL)((SUM)x[i] * pow(base_of(x + (i - c), c, before, after, factor, offset, C), -beta));
    }
}

// g / base^beta - 2 factor beta x * (the sum of g x / base^(beta + 1) over the channels whose windows contain this one)
extern "C" __global__ void local_response_norm_grad(
    const REAL* g, const REAL* x, REAL* out, int before, int after, SUM factor, SUM beta, SUM offset, int C, int n
) {
    EACH(i, n) {
        int c = i % C;
        const REAL *cotangent = g + (i - c), *pixel = x + (i - c);
        SUM own = 0, seen = 0;
        for (int k = c - after < 0 ? 0 : c - after; k <= c + before && k < C; k++) {
            SUM base = base_of(pixel, k, before, after, factor, offset, C);
            SUM pull = (SUM)cotangent[k] * pow(base, -beta);
            if (k == c) own = pull;
            seen += pull * (SUM)pixel[k] / base;
        }
        out[i] = (REAL)(own - 2 * factor * beta * (SUM)pixel[c] * seen);
    }
}
