/* The three kernels of the GPU at work, in plain C.
 *
 * kernels.ptx beside this file is made from it (the command stands in its head) and is what the driver compiles on
 * the node; tests/fakes/fakecuda.c includes this file and runs the same text on the CPU. Grid-stride loops only,
 * so that any grid covers any size.
 */
#ifdef __CUDACC__
#define KERNEL extern "C" __global__ void
#define DEVICE static __device__ __forceinline__
#define FIRST (blockIdx.x * blockDim.x + threadIdx.x)
#define STEP (gridDim.x * blockDim.x)
#define FMA(x, y, z) __fmaf_rn(x, y, z)
#define BITS(x) __float_as_uint(x)
#define ADD(p, v) atomicAdd(p, v)
#define MAX(p, v) atomicMax(p, v)
#define OR(p, v) atomicOr(p, v)
typedef uint4 quad;
#endif
typedef unsigned int word;

/* What word `i` of the memory under test holds. Constants find almost nothing (Haque & Pande 2010); addresses and
 * hashes find wrong addressing, walking bits find coupled lines, modulo-20 finds neighbours that disturb each other. */
DEVICE word expected(word i, word kind, word seed) {
    word h;
    switch (kind) {
        case 0: return i ^ seed;
        case 1:
        case 2:
            h = i + seed;
            h ^= h >> 16; h *= 0x85ebca6bu;
            h ^= h >> 13; h *= 0xc2b2ae35u;
            h ^= h >> 16;
            return kind == 1 ? h : ~h;
        case 3: return 1u << ((i + seed) & 31u);
        case 4: return 0u;
        case 5: return 0xffffffffu;
        default: return i % 20u == seed % 20u ? 0x5a5a5a5au : 0xa5a5a5a5u;
    }
}

KERNEL preflight_fill(quad *memory, word quads, word first, word kind, word seed) {
    for (word q = FIRST; q < quads; q += STEP) {
        word i = first + 4u * q;
        quad v;
        v.x = expected(i, kind, seed);
        v.y = expected(i + 1u, kind, seed);
        v.z = expected(i + 2u, kind, seed);
        v.w = expected(i + 3u, kind, seed);
        memory[q] = v;
    }
}

/* found[0] wrong words, [1] ~(index of the first one), [2] bits that are 1 and should be 0, [3] the other way. The
 * caller zeroes `found`. */
DEVICE void compare(word told, word i, word kind, word seed, word *found) {
    word right = expected(i, kind, seed);
    if (told != right) {
        ADD(found, 1u);
        MAX(found + 1, ~i);
        OR(found + 2, told & ~right);
        OR(found + 3, right & ~told);
    }
}

KERNEL preflight_check(const quad *memory, word quads, word first, word kind, word seed, word *found) {
    for (word q = FIRST; q < quads; q += STEP) {
        word i = first + 4u * q;
        quad v = memory[q];
        compare(v.x, i, kind, seed, found);
        compare(v.y, i + 1u, kind, seed, found);
        compare(v.z, i + 2u, kind, seed, found);
        compare(v.w, i + 3u, kind, seed, found);
    }
}

/* x := x * x + c with one rounding, in eight chains a thread. Between c = -2 and c = -1.8 the map is chaotic and
 * stays within [-2, 2]: one wrong bit anywhere changes every later value, and the CPU can compute the same bits.
 * Eight multiply-adds are sixteen operations an iteration. Threads t and t + 8 compute the same. */
KERNEL preflight_burn(word *out, word threads, word iterations) {
    for (word t = FIRST; t < threads; t += STEP) {
        float c = -1.8125f - 0.015625f * (float)(t & 7u);
        float a0 = 0.0625f, a1 = 0.1875f, a2 = 0.3125f, a3 = 0.4375f;
        float a4 = 0.5625f, a5 = 0.6875f, a6 = 0.8125f, a7 = 0.9375f;
        for (word n = 0; n < iterations; n++) {
            a0 = FMA(a0, a0, c); a1 = FMA(a1, a1, c); a2 = FMA(a2, a2, c); a3 = FMA(a3, a3, c);
            a4 = FMA(a4, a4, c); a5 = FMA(a5, a5, c); a6 = FMA(a6, a6, c); a7 = FMA(a7, a7, c);
        }
        word h = BITS(a0);
        h = h * 31u + BITS(a1); h = h * 31u + BITS(a2); h = h * 31u + BITS(a3);
        h = h * 31u + BITS(a4); h = h * 31u + BITS(a5); h = h * 31u + BITS(a6); h = h * 31u + BITS(a7);
        out[t] = h;
    }
}
