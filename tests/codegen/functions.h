// Small functions to be scheduled at random, with the heads that differ.h reads.
#ifndef TS_TEST_FUNCTIONS_H
#define TS_TEST_FUNCTIONS_H

static const char *const functions[] = {
    // A matrix product with an elementwise producer and consumer; sizes that nothing divides evenly.
    "# run 7\n# run 16\n# tolerance 1e-5\n"
    "func product(n: dim(1..64), a: f16[n, 24], b: f32[24, 20], c: out f32[n, 20]) {\n"
    "  alloc x: f32[n, 24]\n  alloc p: f32[n, 20]\n"
    "  for i in 0..n, k in 0..24 {\n    block widen(vi: S = i, vk: S = k) {\n      x[vi, vk] = cast(f32, a[vi, vk]) * "
    "0.5\n    }\n  }\n"
    "  for i in 0..n, j in 0..20, k in 0..24 {\n    block dot(vi: S = i, vj: S = j, vk: R = k) {\n      init { p[vi, "
    "vj] = 0.0 }\n      p[vi, vj] = p[vi, vj] + x[vi, vk] * b[vk, vj]\n    }\n  }\n"
    "  for i in 0..n, j in 0..20 {\n    block out(vi: S = i, vj: S = j) {\n      c[vi, vj] = max(p[vi, vj], 0.0) + "
    "1.0\n    }\n  }\n}\n",
    // A stencil: consumers read three neighbours of the producer.
    "# tolerance 1e-5\n"
    "func stencil(x: f32[50], y: out f32[48]) {\n  alloc t: f32[50]\n"
    "  for i in 0..50 {\n    block twice(v: S = i) {\n      t[v] = x[v] * 2.0\n    }\n  }\n"
    "  for i in 0..48 {\n    block sum(v: S = i) {\n      y[v] = t[v] + t[v + 1] * 0.5 + t[v + 2]\n    }\n  }\n}\n",
    // Rows: maximum, exponentials, sum, quotient.
    "# run 3\n# run 8\n# tolerance 1e-5\n"
    "func rows(n: dim(1..64), x: f32[n, 12], y: out f32[n, 12]) {\n  alloc m: f32[n]\n  alloc e: f32[n, 12]\n  alloc "
    "z: f32[n]\n"
    "  for i in 0..n, k in 0..12 {\n    block top(vi: S = i, vk: R = k) {\n      init { m[vi] = -1.0e30 }\n      m[vi] "
    "= max(m[vi], x[vi, vk])\n    }\n  }\n"
    "  for i in 0..n, k in 0..12 {\n    block weight(vi: S = i, vk: S = k) {\n      e[vi, vk] = exp(x[vi, vk] - "
    "m[vi])\n    }\n  }\n"
    "  for i in 0..n, k in 0..12 {\n    block total(vi: S = i, vk: R = k) {\n      init { z[vi] = 0.0 }\n      z[vi] = "
    "z[vi] + e[vi, vk]\n    }\n  }\n"
    "  for i in 0..n, k in 0..12 {\n    block share(vi: S = i, vk: S = k) {\n      y[vi, vk] = e[vi, vk] / z[vi]\n    "
    "}\n  }\n}\n",
    // Four-bit codes, integers, a reduction in two loops.
    "# run 5\n"
    "func codes(n: dim(1..64), q: u32[16, 4], x: i8[n, 32], y: out i32[n, 16]) {\n  alloc w: i32[16, 32]\n"
    "  for o in 0..16, k in 0..32 {\n    block unpack(vo: S = o, vk: S = k) {\n      w[vo, vk] = cast(i32, (q[vo, vk "
    "// 8] >> cast(u32, vk % 8 * 4)) & 15) - 7\n    }\n  }\n"
    "  for a in 0..n, o in 0..16, g in 0..4, k in 0..8 {\n    block dot(va: S = a, vo: S = o, vg: R = g, vk: R = k) "
    "{\n      init { y[va, vo] = 0 }\n      y[va, vo] = y[va, vo] + w[vo, vg * 8 + vk] * cast(i32, x[va, vg * 8 + "
    "vk])\n    }\n  }\n}\n",
    // A vector times the rows of a matrix.
    "# tolerance 1e-5\n"
    "func vector(x: f32[96], w: f32[24, 96], y: out f32[24]) {\n"
    "  for j in 0..24, k in 0..96 {\n    block mv(vj: S = j, vk: R = k) {\n      init { y[vj] = 0.0 }\n      y[vj] = "
    "y[vj] + x[vk] * w[vj, vk]\n    }\n  }\n}\n",
    // Two values carried together.
    "# run 4\n"
    "func largest(n: dim(1..16), x: f32[n, 70], v: out f32[n], j: out i32[n]) {\n"
    "  for a in 0..n, k in 0..70 {\n    block am(va: S = a, vk: R = k) {\n      init { v[va] = -inf j[va] = 2147483647 "
    "}\n      let wins: bool = v[va] < x[va, vk] || v[va] == x[va, vk] && cast(i32, vk) < j[va]\n      j[va] = "
    "select(wins, cast(i32, vk), j[va])\n      v[va] = max(v[va], x[va, vk])\n    }\n  }\n}\n",
};

#endif
