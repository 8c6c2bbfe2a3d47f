// What all kernels share. Before this text stand REAL, the type that numbers are stored in (float, double, __half), and
// SUM, the one that they are computed in (float; double for double).
//
// No kernel has a barrier: each thread goes through the items that fall to it and needs no other's results (the lanes of a
// row, below, exchange registers). So any number of threads computes the same, and the index arithmetic can be run and
// tested by an ordinary compiler, with one lane and a handful of "threads" one after the other.

typedef unsigned char bits8;
typedef unsigned short bits16;
typedef unsigned long long bits64;

// The items i = 0 ... n - 1 that fall to this thread; n is below 2^30, so that adding a stride does not overflow.
#define EACH(i, n) for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)

// An option that is given by value, or by a place on the device where it lies (inside a captured graph, whose arguments
// cannot change from launch to launch).
#define NUMBER(type, name) type name##_value, const type* name##_place
#define READ(name) (name##_place ? *name##_place : name##_value)

#ifndef INFINITY
#define INFINITY __int_as_float(0x7F800000)
#endif
