// wgmma: the warpgroup's matrix instructions of Hopper, and what stands around them.
#pragma once
#include "gemm_ptx.cuh"

// Descriptor of a K-major operand in 128-byte swizzled shared memory: rows of 128 bytes, eight to an atom of 1024.
__device__ __forceinline__ u64 wgmma_rows128(u32 address) {
  return (u64)(address >> 4 & 0x3fff) | (u64)1 << 16 | (u64)64 << 32 | (u64)1 << 62;
}
// The same from its low word: 0x10000 + address / 16, which may be added to.
__device__ __forceinline__ u64 wgmma_rows128_at(u32 low) {
  u64 v;
  asm("mov.b64 %0, {%1, %2};" : "=l"(v) : "r"(low), "r"(0x40000040));
  return v;
}
// What a step of bytes within the atom adds to a descriptor.
#define WGMMA_STEP(bytes) ((u64)((bytes) >> 4))
__device__ __forceinline__ void wgmma_begin() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_end() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Until at most LEFT of the warpgroup's groups are unfinished.
template <int LEFT> __device__ __forceinline__ void wgmma_wait_for() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}
template <int REGISTERS> __device__ __forceinline__ void registers_give() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
template <int REGISTERS> __device__ __forceinline__ void registers_take() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}
// The registers stay what they are until here: wgmma writes them behind the compiler's back.
template <int N> __device__ __forceinline__ void wgmma_touch(float (&d)[N]) {
#pragma unroll
  for (int i = 0; i < N; i++) asm volatile("" : "+f"(d[i])::"memory");
}

// The sums of an instruction: their numbers in its text, and the operands from d[i] on.
#define WGMMA_NUMBERS_8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define WGMMA_NUMBERS_12 WGMMA_NUMBERS_8 ", %8, %9, %10, %11"
#define WGMMA_NUMBERS_16 WGMMA_NUMBERS_8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define WGMMA_NUMBERS_20 WGMMA_NUMBERS_16 ", %16, %17, %18, %19"
#define WGMMA_NUMBERS_24 WGMMA_NUMBERS_16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define WGMMA_NUMBERS_28 WGMMA_NUMBERS_24 ", %24, %25, %26, %27"
#define WGMMA_NUMBERS_32 WGMMA_NUMBERS_24 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define WGMMA_NUMBERS_36 WGMMA_NUMBERS_32 ", %32, %33, %34, %35"
#define WGMMA_NUMBERS_40 WGMMA_NUMBERS_32 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define WGMMA_NUMBERS_44 WGMMA_NUMBERS_40 ", %40, %41, %42, %43"
#define WGMMA_NUMBERS_48 WGMMA_NUMBERS_40 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define WGMMA_NUMBERS_52 WGMMA_NUMBERS_48 ", %48, %49, %50, %51"
#define WGMMA_NUMBERS_56 WGMMA_NUMBERS_48 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define WGMMA_NUMBERS_60 WGMMA_NUMBERS_56 ", %56, %57, %58, %59"
#define WGMMA_NUMBERS_64 WGMMA_NUMBERS_56 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define WGMMA_NUMBERS_68 WGMMA_NUMBERS_64 ", %64, %65, %66, %67"
#define WGMMA_NUMBERS_72 WGMMA_NUMBERS_64 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define WGMMA_NUMBERS_76 WGMMA_NUMBERS_72 ", %72, %73, %74, %75"
#define WGMMA_NUMBERS_80 WGMMA_NUMBERS_72 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define WGMMA_NUMBERS_84 WGMMA_NUMBERS_80 ", %80, %81, %82, %83"
#define WGMMA_NUMBERS_88 WGMMA_NUMBERS_80 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define WGMMA_NUMBERS_92 WGMMA_NUMBERS_88 ", %88, %89, %90, %91"
#define WGMMA_NUMBERS_96 WGMMA_NUMBERS_88 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define WGMMA_NUMBERS_100 WGMMA_NUMBERS_96 ", %96, %97, %98, %99"
#define WGMMA_NUMBERS_104 WGMMA_NUMBERS_96 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define WGMMA_NUMBERS_108 WGMMA_NUMBERS_104 ", %104, %105, %106, %107"
#define WGMMA_NUMBERS_112 WGMMA_NUMBERS_104 ", %104, %105, %106, %107, %108, %109, %110, %111"
#define WGMMA_NUMBERS_116 WGMMA_NUMBERS_112 ", %112, %113, %114, %115"
#define WGMMA_NUMBERS_120 WGMMA_NUMBERS_112 ", %112, %113, %114, %115, %116, %117, %118, %119"
#define WGMMA_NUMBERS_124 WGMMA_NUMBERS_120 ", %120, %121, %122, %123"
#define WGMMA_NUMBERS_128 WGMMA_NUMBERS_120 ", %120, %121, %122, %123, %124, %125, %126, %127"
#define WGMMA_SUMS_4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define WGMMA_SUMS_8(d, i) WGMMA_SUMS_4(d, i), WGMMA_SUMS_4(d, i + 4)
#define WGMMA_SUMS_12(d, i) WGMMA_SUMS_8(d, i), WGMMA_SUMS_4(d, i + 8)
#define WGMMA_SUMS_16(d, i) WGMMA_SUMS_8(d, i), WGMMA_SUMS_8(d, i + 8)
#define WGMMA_SUMS_20(d, i) WGMMA_SUMS_16(d, i), WGMMA_SUMS_4(d, i + 16)
#define WGMMA_SUMS_24(d, i) WGMMA_SUMS_16(d, i), WGMMA_SUMS_8(d, i + 16)
#define WGMMA_SUMS_28(d, i) WGMMA_SUMS_24(d, i), WGMMA_SUMS_4(d, i + 24)
#define WGMMA_SUMS_32(d, i) WGMMA_SUMS_24(d, i), WGMMA_SUMS_8(d, i + 24)
#define WGMMA_SUMS_36(d, i) WGMMA_SUMS_32(d, i), WGMMA_SUMS_4(d, i + 32)
#define WGMMA_SUMS_40(d, i) WGMMA_SUMS_32(d, i), WGMMA_SUMS_8(d, i + 32)
#define WGMMA_SUMS_44(d, i) WGMMA_SUMS_40(d, i), WGMMA_SUMS_4(d, i + 40)
#define WGMMA_SUMS_48(d, i) WGMMA_SUMS_40(d, i), WGMMA_SUMS_8(d, i + 40)
#define WGMMA_SUMS_52(d, i) WGMMA_SUMS_48(d, i), WGMMA_SUMS_4(d, i + 48)
#define WGMMA_SUMS_56(d, i) WGMMA_SUMS_48(d, i), WGMMA_SUMS_8(d, i + 48)
#define WGMMA_SUMS_60(d, i) WGMMA_SUMS_56(d, i), WGMMA_SUMS_4(d, i + 56)
#define WGMMA_SUMS_64(d, i) WGMMA_SUMS_56(d, i), WGMMA_SUMS_8(d, i + 56)
#define WGMMA_SUMS_68(d, i) WGMMA_SUMS_64(d, i), WGMMA_SUMS_4(d, i + 64)
#define WGMMA_SUMS_72(d, i) WGMMA_SUMS_64(d, i), WGMMA_SUMS_8(d, i + 64)
#define WGMMA_SUMS_76(d, i) WGMMA_SUMS_72(d, i), WGMMA_SUMS_4(d, i + 72)
#define WGMMA_SUMS_80(d, i) WGMMA_SUMS_72(d, i), WGMMA_SUMS_8(d, i + 72)
#define WGMMA_SUMS_84(d, i) WGMMA_SUMS_80(d, i), WGMMA_SUMS_4(d, i + 80)
#define WGMMA_SUMS_88(d, i) WGMMA_SUMS_80(d, i), WGMMA_SUMS_8(d, i + 80)
#define WGMMA_SUMS_92(d, i) WGMMA_SUMS_88(d, i), WGMMA_SUMS_4(d, i + 88)
#define WGMMA_SUMS_96(d, i) WGMMA_SUMS_88(d, i), WGMMA_SUMS_8(d, i + 88)
#define WGMMA_SUMS_100(d, i) WGMMA_SUMS_96(d, i), WGMMA_SUMS_4(d, i + 96)
#define WGMMA_SUMS_104(d, i) WGMMA_SUMS_96(d, i), WGMMA_SUMS_8(d, i + 96)
#define WGMMA_SUMS_108(d, i) WGMMA_SUMS_104(d, i), WGMMA_SUMS_4(d, i + 104)
#define WGMMA_SUMS_112(d, i) WGMMA_SUMS_104(d, i), WGMMA_SUMS_8(d, i + 104)
#define WGMMA_SUMS_116(d, i) WGMMA_SUMS_112(d, i), WGMMA_SUMS_4(d, i + 112)
#define WGMMA_SUMS_120(d, i) WGMMA_SUMS_112(d, i), WGMMA_SUMS_8(d, i + 112)
#define WGMMA_SUMS_124(d, i) WGMMA_SUMS_120(d, i), WGMMA_SUMS_4(d, i + 120)
#define WGMMA_SUMS_128(d, i) WGMMA_SUMS_120(d, i), WGMMA_SUMS_8(d, i + 120)

// d[64 x N] += a[64 x 16] . b[N x 16]^T: a in registers (16 rows a warp, as in mma.m16n8k16), b K-major in shared memory.
__device__ __forceinline__ void wgmma_rs(float (&d)[8], const u32 (&a)[4], u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n16k16.f32.f16.f16 {" WGMMA_NUMBERS_8 "}, {%8, %9, %10, %11}, %12, 1, 1, 1, 0;"
      : WGMMA_SUMS_8(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void wgmma_rs(float (&d)[16], const u32 (&a)[4], u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n32k16.f32.f16.f16 {" WGMMA_NUMBERS_16 "}, {%16, %17, %18, %19}, %20, 1, 1, 1, 0;"
      : WGMMA_SUMS_16(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void wgmma_rs(float (&d)[32], const u32 (&a)[4], u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" WGMMA_NUMBERS_32 "}, {%32, %33, %34, %35}, %36, 1, 1, 1, 0;"
      : WGMMA_SUMS_32(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void wgmma_rs(float (&d)[64], const u32 (&a)[4], u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" WGMMA_NUMBERS_64 "}, {%64, %65, %66, %67}, %68, 1, 1, 1, 0;"
      : WGMMA_SUMS_64(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ __forceinline__ void wgmma_rs(float (&d)[128], const u32 (&a)[4], u64 b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 {" WGMMA_NUMBERS_128 "}, {%128, %129, %130, %131}, %132, 1, 1, 1, 0;"
      : WGMMA_SUMS_128(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// The same with both operands in shared memory, for each width that a tile may have: so many sums, their numbers in its text, and those of the descriptors.
#define WGMMA_SS(width, sums, numbers, a_number, b_number)                                                                                    \
  __device__ __forceinline__ void wgmma_ss(float (&d)[sums], u64 a, u64 b) {                                                                  \
    asm volatile("wgmma.mma_async.sync.aligned.m64n" #width "k16.f32.f16.f16 {" numbers "}, %" #a_number ", %" #b_number ", 1, 1, 1, 0, 0;" \
                 : WGMMA_SUMS_##sums(d, 0)                                                                                                    \
                 : "l"(a), "l"(b));                                                                                                           \
  }
WGMMA_SS(16, 8, WGMMA_NUMBERS_8, 8, 9)
WGMMA_SS(24, 12, WGMMA_NUMBERS_12, 12, 13)
WGMMA_SS(32, 16, WGMMA_NUMBERS_16, 16, 17)
WGMMA_SS(40, 20, WGMMA_NUMBERS_20, 20, 21)
WGMMA_SS(48, 24, WGMMA_NUMBERS_24, 24, 25)
WGMMA_SS(56, 28, WGMMA_NUMBERS_28, 28, 29)
WGMMA_SS(64, 32, WGMMA_NUMBERS_32, 32, 33)
WGMMA_SS(72, 36, WGMMA_NUMBERS_36, 36, 37)
WGMMA_SS(80, 40, WGMMA_NUMBERS_40, 40, 41)
WGMMA_SS(88, 44, WGMMA_NUMBERS_44, 44, 45)
WGMMA_SS(96, 48, WGMMA_NUMBERS_48, 48, 49)
WGMMA_SS(104, 52, WGMMA_NUMBERS_52, 52, 53)
WGMMA_SS(112, 56, WGMMA_NUMBERS_56, 56, 57)
WGMMA_SS(120, 60, WGMMA_NUMBERS_60, 60, 61)
WGMMA_SS(128, 64, WGMMA_NUMBERS_64, 64, 65)
WGMMA_SS(136, 68, WGMMA_NUMBERS_68, 68, 69)
WGMMA_SS(144, 72, WGMMA_NUMBERS_72, 72, 73)
WGMMA_SS(152, 76, WGMMA_NUMBERS_76, 76, 77)
WGMMA_SS(160, 80, WGMMA_NUMBERS_80, 80, 81)
WGMMA_SS(168, 84, WGMMA_NUMBERS_84, 84, 85)
WGMMA_SS(176, 88, WGMMA_NUMBERS_88, 88, 89)
WGMMA_SS(184, 92, WGMMA_NUMBERS_92, 92, 93)
WGMMA_SS(192, 96, WGMMA_NUMBERS_96, 96, 97)
WGMMA_SS(200, 100, WGMMA_NUMBERS_100, 100, 101)
WGMMA_SS(208, 104, WGMMA_NUMBERS_104, 104, 105)
WGMMA_SS(216, 108, WGMMA_NUMBERS_108, 108, 109)
WGMMA_SS(224, 112, WGMMA_NUMBERS_112, 112, 113)
WGMMA_SS(232, 116, WGMMA_NUMBERS_116, 116, 117)
WGMMA_SS(240, 120, WGMMA_NUMBERS_120, 120, 121)
WGMMA_SS(248, 124, WGMMA_NUMBERS_124, 124, 125)
WGMMA_SS(256, 128, WGMMA_NUMBERS_128, 128, 129)
