// Half precision of the processor.
typedef _Float16 __half;
