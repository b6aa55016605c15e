#pragma once
// Eight 4-bit codes of one lane -> its A fragment of a 16 x 16 tile, code - 7, exactly: 0x6400 + q is the half 1024 + q, and a
// code four bits higher counts sixteenfold.
__device__ __forceinline__ void codes_to_f16(u32 w, u32 (&a)[4]) {
  u32 magic = 0x64006400u, low = 0x64076407u, sixteenth = 0x2c002c00u, high = 0xd470d470u;  // 1031, 1/16, -71
  u32 v = w >> 8;
  a[0] = sub_f16x2(mask_or<0x000f000fu>(w, magic), low);
  a[1] = fma_f16x2(mask_or<0x00f000f0u>(w, magic), sixteenth, high);
  a[2] = sub_f16x2(mask_or<0x000f000fu>(v, magic), low);
  a[3] = fma_f16x2(mask_or<0x00f000f0u>(v, magic), sixteenth, high);
}
