// matmul_types: what a product reads (input) and writes (output) in the operator at hand, and whether y holds a summand already (ADDS).
#pragma once
#include "gemm_ptx.cuh"

#if TS_OP_matmul || TS_OP_matmul_add
#if TS_A_F32
typedef float input;
#else
typedef u16 input;
#endif
#if !TS_OP_matmul_add
enum { ADDS = 0 };
typedef input output;
#else
enum { ADDS = 1 };
#if TS_R_F16
typedef u16 output;
#else
typedef float output;
#endif
#endif
#else  // with the norm before it: x is what the layers add to, y an activation
#if TS_R_F32
typedef float input;
#else
typedef u16 input;
#endif
#if TS_A_F32
typedef float output;
#else
typedef u16 output;
#endif
#endif
