// N_NOW rows from position T_NOW on: known when the kernel is compiled, or read from `dims`, the dimensions in device memory.
#pragma once
#ifdef TS_n
#define N_NOW TS_n
#else
#define N_NOW (int)dims[TS_DIM_n]
#endif
#ifdef TS_t
#define T_NOW TS_t
#else
#define T_NOW (int)dims[TS_DIM_t]
#endif
