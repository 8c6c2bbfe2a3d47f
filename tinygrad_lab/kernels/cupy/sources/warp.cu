// Bilinear resampling of images (N, H, W, C), each by its own affine map (2 x 3, from output to input pixels): see
// tinygrad_lab.data.augment.warp. One thread computes one element of the result (N, I, J, C).

#define ZERO 0
#define EDGE 1

// The pixel that is used for position i of an axis of length n; -1 for a zero.
__device__ inline int inside(int i, int n, int fill) {
    if (i >= 0 && i < n) return i;
    if (fill == ZERO) return -1;
    if (fill == EDGE || n == 1) return i < 0 ? 0 : n - 1;
    i = (i < 0 ? -i : i) % (2 * n - 2);  // reflected about the centers of the outermost pixels
    return i < n ? i : 2 * n - 2 - i;
}

__device__ inline float pixel(const float* image, int y, int x, int c, int W, int C) {
    return y < 0 || x < 0 ? 0.0f : image[(y * W + x) * C + c];
}

extern "C" __global__ void warp(
    const float* images, const double* maps, float* out, int fill, int H, int W, int C, int I, int J, int n
) {
    EACH(e, n) {
        int c = e % C, j = e / C % J, i = e / (C * J) % I, b = e / (C * J * I);
        const double* m = maps + 6 * b;
        double y = m[0] * i + m[1] * j + m[2], x = m[3] * i + m[4] * j + m[5];
        double row = floor(y), column = floor(x);
        float down = (float)(y - row), right = (float)(x - column);
        int y0 = inside((int)row, H, fill), y1 = inside((int)row + 1, H, fill);
        int x0 = inside((int)column, W, fill), x1 = inside((int)column + 1, W, fill);
        const float* image = images + b * H * W * C;
        float upper = pixel(image, y0, x0, c, W, C), lower = pixel(image, y1, x0, c, W, C);
        if (right > 0) {  // at whole positions the neighbor has weight 0, even if it is infinite
            upper = (1 - right) * upper + right * pixel(image, y0, x1, c, W, C);
            lower = (1 - right) * lower + right * pixel(image, y1, x1, c, W, C);
        }
        out[e] = down > 0 ? (1 - down) * upper + down * lower : upper;
    }
}
