// One update of one parameter: p and its gradient g are read, the optimizer's own arrays are updated in place, and the
// new parameter is stored in a new array. See tinygrad_lab.optim.updates. Rates are passed by value or by address. The
// caller computes `rest` = 1 - rho, `rest1` = 1 - beta1 and `rest2` = 1 - beta2 in double precision.

#define SLOPE ((SUM)g[i] + decay * (SUM)p[i])

extern "C" __global__ void sgd(const REAL* p, const REAL* g, REAL* out, NUMBER(SUM, lr), SUM decay, int n) {
    SUM lr = READ(lr);
    EACH(i, n) out[i] = (REAL)((SUM)p[i] - lr * SLOPE);
}

extern "C" __global__ void momentum(
    const REAL* p, const REAL* g, REAL* velocity, REAL* out, NUMBER(SUM, lr), SUM share, int nesterov, SUM decay, int n
) {
    SUM lr = READ(lr);
    EACH(i, n) {
        SUM slope = SLOPE, v = share * (SUM)velocity[i] + slope;
        velocity[i] = (REAL)v;
        out[i] = (REAL)((SUM)p[i] - lr * (nesterov ? slope + share * v : v));
    }
}

extern "C" __global__ void adagrad(
    const REAL* p, const REAL* g, REAL* squares, REAL* out, NUMBER(SUM, lr), SUM eps, SUM decay, int n
) {
    SUM lr = READ(lr);
    EACH(i, n) {
        SUM slope = SLOPE, s = (SUM)squares[i] + slope * slope;
        squares[i] = (REAL)s;
        out[i] = (REAL)((SUM)p[i] - lr * slope / (sqrt(s) + eps));
    }
}

// velocity may be null
extern "C" __global__ void rmsprop(
    const REAL* p, const REAL* g, REAL* squares, REAL* velocity, REAL* out, NUMBER(SUM, lr), SUM rho, SUM rest, SUM eps,
    SUM share, SUM decay, int n
) {
    SUM lr = READ(lr);
    EACH(i, n) {
        SUM slope = SLOPE, s = rho * (SUM)squares[i] + rest * slope * slope;
        squares[i] = (REAL)s;
        SUM step = slope / (sqrt(s) + eps);
        if (velocity) {
            step += share * (SUM)velocity[i];
            velocity[i] = (REAL)step;
        }
        out[i] = (REAL)((SUM)p[i] - lr * step);
    }
}

extern "C" __global__ void adadelta(
    const REAL* p, const REAL* g, REAL* squares, REAL* steps, REAL* out, NUMBER(SUM, lr), SUM rho, SUM rest, SUM eps,
    SUM decay, int n
) {
    SUM lr = READ(lr);
    EACH(i, n) {
        SUM slope = SLOPE, s = rho * (SUM)squares[i] + rest * slope * slope;
        squares[i] = (REAL)s;
        SUM step = slope * sqrt((SUM)steps[i] + eps) / sqrt(s + eps);
        steps[i] = (REAL)(rho * (SUM)steps[i] + rest * step * step);
        out[i] = (REAL)((SUM)p[i] - lr * step);
    }
}

// rate = lr / (1 - beta1^t), root = (1 - beta2^t)^-1/2, kept = 1, or 1 - lr decay for decoupled weight decay
extern "C" __global__ void adam(
    const REAL* p, const REAL* g, REAL* mean, REAL* squares, REAL* out,
    NUMBER(SUM, rate), NUMBER(SUM, root), NUMBER(SUM, kept), SUM beta1, SUM rest1, SUM beta2, SUM rest2,
    SUM eps, SUM decay, int n
) {
    SUM rate = READ(rate), root = READ(root), kept = READ(kept);
    EACH(i, n) {
        SUM slope = SLOPE;
        SUM m = beta1 * (SUM)mean[i] + rest1 * slope, v = beta2 * (SUM)squares[i] + rest2 * slope * slope;
        mean[i] = (REAL)m;
        squares[i] = (REAL)v;
        out[i] = (REAL)(kept * (SUM)p[i] - rate * m / (sqrt(v) * root + eps));
    }
}

extern "C" __global__ void average(REAL* average, const REAL* p, SUM weight, int n) {
    EACH(i, n) average[i] = (REAL)((SUM)average[i] + weight * ((SUM)p[i] - (SUM)average[i]));
}
