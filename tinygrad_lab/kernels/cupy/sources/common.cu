// Definitions for all kernels. This text follows the definitions of REAL, the type of stored numbers (float, double,
// __half), and SUM, the type of computations (float; double if REAL is double).
//
// No kernel has a barrier: each thread loops over its own items and needs no result of another thread (only the lanes of
// a row exchange registers). Any number of threads therefore computes the same result. A test can compile the kernels
// for the CPU and check the index arithmetic, with one lane and a few "threads" that run one after the other.

typedef unsigned char bits8;
typedef unsigned short bits16;
typedef unsigned long long bits64;

// This thread's items among i = 0 ... n - 1; n is below 2^30, so adding a stride does not overflow.
#define EACH(i, n) for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)

// An option that is passed by value, or by its address on the device (inside a captured graph, whose arguments cannot
// change from launch to launch).
#define NUMBER(type, name) type name##_value, const type* name##_place
#define READ(name) (name##_place ? *name##_place : name##_value)

#ifndef INFINITY
#define INFINITY __int_as_float(0x7F800000)
#endif
