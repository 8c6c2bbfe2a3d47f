// Pooling of images (N, H, W, C) to maps (N, Ho, Wo, C). A window of kh x kw moves over the padded image in steps of
// (sh, sw); `top` and `left` are the padding before the image. One thread computes one element of the result. Forward,
// it reads the elements of its window; backward, the windows that contain its element. So no two threads add to the same
// element, and the order of additions is fixed.

#define GEOMETRY int H, int W, int C, int Ho, int Wo, int kh, int kw, int sh, int sw, int top, int left

// The position (b, p, q, c) of element i of a map with `height` rows of `width` pixels.
#define PLACE(i, height, width)            \
    int c = i % C;                         \
    int q = i / C % (width);               \
    int p = i / (C * (width)) % (height);  \
    int b = i / (C * (width) * (height));

// The first and the last window that contain an image's row (or column) h: those p with 0 <= h + before - p * s < k.
__device__ inline int first_window(int h, int before, int k, int s) {
    int past = h + before - k + 1;  // p * s is at least this
    return past <= 0 ? 0 : (past + s - 1) / s;
}

__device__ inline int last_window(int h, int before, int s, int count) {
    int p = (h + before) / s;
    return p < count ? p : count - 1;
}

// The maximum of each window and its row-major index in the window. Padding is minus infinity, the first of equal maxima
// wins, and NaN wins over every number.
extern "C" __global__ void max_pool(const REAL* x, REAL* out, bits8* index, int n, GEOMETRY) {
    EACH(i, n) {
        PLACE(i, Ho, Wo)
        SUM best = -(SUM)INFINITY;
        int at = -1;  // so that the first position in the image also wins if all are minus infinity
        for (int j = 0; j < kh * kw; j++) {
            int h = p * sh - top + j / kw, w = q * sw - left + j % kw;
            if (h < 0 || h >= H || w < 0 || w >= W) continue;
            SUM v = (SUM)x[((b * H + h) * W + w) * C + c];
            if (at < 0 || v > best || (v != v && best == best)) {
                best = v;
                at = j;
            }
        }
        out[i] = (REAL)best;
        index[i] = (bits8)(at < 0 ? 0 : at);
    }
}

// Adds to each pixel the cotangents of the windows whose maximum it was; n pixels.
extern "C" __global__ void max_pool_grad(const REAL* g, const bits8* index, REAL* out, int n, GEOMETRY) {
    EACH(i, n) {
        PLACE(i, H, W)  // (p, q) is the pixel here
        SUM total = 0;
        for (int u = first_window(p, top, kh, sh); u <= last_window(p, top, sh, Ho); u++)
            for (int v = first_window(q, left, kw, sw); v <= last_window(q, left, sw, Wo); v++) {
                int window = ((b * Ho + u) * Wo + v) * C + c;
                int place = (p + top - u * sh) * kw + (q + left - v * sw);
                if (index[window] == place) total += (SUM)g[window];
            }
        out[i] = (REAL)total;
    }
}

// The element at `index` of each window; 0 outside of the image.
extern "C" __global__ void max_pool_take(const REAL* x, const bits8* index, REAL* out, int n, GEOMETRY) {
    EACH(i, n) {
        PLACE(i, Ho, Wo)
        int h = p * sh - top + index[i] / kw, w = q * sw - left + index[i] % kw;
        bool inside = index[i] < kh * kw && h >= 0 && h < H && w >= 0 && w < W;
        out[i] = inside ? x[((b * H + h) * W + w) * C + c] : (REAL)0.0f;
    }
}

// The sum of each window, with zeros in the padding.
extern "C" __global__ void sum_pool(const REAL* x, REAL* out, int n, GEOMETRY) {
    EACH(i, n) {
        PLACE(i, Ho, Wo)
        SUM total = 0;
        for (int j = 0; j < kh * kw; j++) {
            int h = p * sh - top + j / kw, w = q * sw - left + j % kw;
            if (h >= 0 && h < H && w >= 0 && w < W) total += (SUM)x[((b * H + h) * W + w) * C + c];
        }
        out[i] = (REAL)total;
    }
}

// Adds to each pixel the cotangents of all windows that contain it.
extern "C" __global__ void sum_pool_grad(const REAL* g, REAL* out, int n, GEOMETRY) {
    EACH(i, n) {
        PLACE(i, H, W)
        SUM total = 0;
        for (int u = first_window(p, top, kh, sh); u <= last_window(p, top, sh, Ho); u++)
            for (int v = first_window(q, left, kw, sw); v <= last_window(q, left, sw, Wo); v++)
                total += (SUM)g[((b * Ho + u) * Wo + v) * C + c];
        out[i] = (REAL)total;
    }
}
