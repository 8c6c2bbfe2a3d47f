// Channels of batches, as (rows, C): sums and statistics over all rows, and per-channel maps of the elements.
//
// Sums are computed in steps. A thread adds up one channel of `per` neighboring rows. Neighboring threads have
// neighboring channels, so together they read memory in order. A step leaves one row for each chunk of rows; the next
// step sums these rows in the same way, until one row is left. The order is fixed, and errors grow with the number of
// steps and with `per`, not with the number of rows.

#define CHUNK(i, rows)                         \
    int c = i % C, chunk = i / C;              \
    int begin = chunk * per;                   \
    int end = begin + per < rows ? begin + per : rows;

// One step of a sum: (rows, C) values to (chunks, C) sums; n = chunks * C.
extern "C" __global__ void sum_values(const REAL* x, SUM* sums, int rows, int C, int per, int n) {
    EACH(i, n) {
        CHUNK(i, rows)
        SUM total = 0;
        for (int row = begin; row < end; row++) total += (SUM)x[row * C + c];
        sums[i] = total;
    }
}

// A further step: sums of sums.
extern "C" __global__ void sum_sums(const SUM* x, SUM* sums, int rows, int C, int per, int n) {
    EACH(i, n) {
        CHUNK(i, rows)
        SUM total = 0;
        for (int row = begin; row < end; row++) total += x[row * C + c];
        sums[i] = total;
    }
}

// The first step of sum g and sum g (x - mean).
extern "C" __global__ void centered_sums(
    const REAL* g, const REAL* x, const REAL* mean, SUM* totals, SUM* moments, int rows, int C, int per, int n
) {
    EACH(i, n) {
        CHUNK(i, rows)
        SUM total = 0, moment = 0, m = (SUM)mean[c];
        for (int row = begin; row < end; row++) {
            SUM slope = (SUM)g[row * C + c];
            total += slope;
            moment += slope * ((SUM)x[row * C + c] - m);
        }
        totals[i] = total;
        moments[i] = moment;
    }
}

// The mean of each chunk, and the sum of the squared deviations from it. The rows are read twice, the second time
// from a cache.
extern "C" __global__ void chunk_statistics(
    const REAL* x, SUM* means, SUM* squares, int rows, int C, int per, int n
) {
    EACH(i, n) {
        CHUNK(i, rows)
        SUM total = 0, square = 0;
        for (int row = begin; row < end; row++) total += (SUM)x[row * C + c];
        SUM mean = total / (end - begin);
        for (int row = begin; row < end; row++) {
            SUM distance = (SUM)x[row * C + c] - mean;
            square += distance * distance;
        }
        means[i] = mean;
        squares[i] = square;
    }
}

// Combines the statistics of `per` chunks of `size` elements each (the last one has the rest of `count`): T. Chan,
// G. Golub, R. LeVeque, "Algorithms for computing the sample variance", 1983, equation 2.1.
extern "C" __global__ void merge_statistics(
    const SUM* means, const SUM* squares, SUM* out_means, SUM* out_squares,
    int rows, int C, int per, int size, int count, int n
) {
    EACH(i, n) {
        CHUNK(i, rows)
        SUM mean = means[begin * C + c], square = squares[begin * C + c];
        SUM have = begin == rows - 1 ? count - begin * size : size;
        for (int row = begin + 1; row < end; row++) {
            SUM more = row == rows - 1 ? count - row * size : size;
            SUM apart = means[row * C + c] - mean, share = more / (have + more);
            mean += apart * share;
            square += squares[row * C + c] + apart * apart * have * share;
            have += more;
        }
        out_means[i] = mean;
        out_squares[i] = square;
    }
}

// The result of the last step, converted: sum * factor.
extern "C" __global__ void finish(const SUM* sums, REAL* out, SUM factor, int n) {
    EACH(i, n) out[i] = (REAL)(sums[i] * factor);
}

// (x - mean) * scale / sqrt(variance + eps) + shift
extern "C" __global__ void normalize(
    const REAL* x, const SUM* mean, const SUM* squares, const REAL* scale, const REAL* shift, REAL* out,
    SUM per_element, SUM eps, int clip, int C, int n
) {
    EACH(i, n) {
        int c = i % C;
        SUM factor = (SUM)scale[c] / sqrt(squares[c] * per_element + eps);
        SUM y = ((SUM)x[i] - mean[c]) * factor + (SUM)shift[c];
        out[i] = (REAL)(clip && y <= (SUM)0 ? (SUM)0 : y);
    }
}

// (x - mean) * factor + shift
extern "C" __global__ void channel_affine(
    const REAL* x, const REAL* mean, const REAL* factor, const REAL* shift, REAL* out, int clip, int C, int n
) {
    EACH(i, n) {
        int c = i % C;
        SUM y = ((SUM)x[i] - (SUM)mean[c]) * (SUM)factor[c] + (SUM)shift[c];
        out[i] = (REAL)(clip && y <= (SUM)0 ? (SUM)0 : y);
    }
}

// a * g + b * (x - mean) + c
extern "C" __global__ void blend(
    const REAL* g, const REAL* x, const REAL* mean, const REAL* a, const REAL* b, const REAL* shift, REAL* out,
    int C, int n
) {
    EACH(i, n) {
        int c = i % C;
        SUM distance = (SUM)x[i] - (SUM)mean[c];
        out[i] = (REAL)((SUM)a[c] * (SUM)g[i] + (SUM)b[c] * distance + (SUM)shift[c]);
    }
}
