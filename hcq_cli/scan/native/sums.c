/* Sums of rounded table entries over a block of videos: upper bounds of scores alone; the scores themselves are added in
 * query.c. AVX-512 VBMI holds a table of 256 in four registers (vpermi2b), AVX2
 * looks up in sixteen tables of 16 (pshufb), NEON in four of 64 (tbl), portable C looks up in memory.
 */
#include "scan.h"

#include <string.h>

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define X86 1
#include <immintrin.h>
#else
#define X86 0
#endif

#if defined(__aarch64__) && defined(__ARM_NEON) && (defined(__GNUC__) || defined(__clang__))
#define NEON 1
#include <arm_neon.h>
#else
#define NEON 0
#endif

/* Eight videos at a time, whose sums stay in registers; the whole of the first and the last eight. */
static void add_portable(const uint8_t *codes, ptrdiff_t stride, ptrdiff_t blocks, int from, int to,
                         const uint8_t *tables, ptrdiff_t count, uint16_t *sums, int how)
{
    for (ptrdiff_t b = 0; b < blocks; b++, codes += stride, sums += WIDTH)
        for (int v = from / 8 * 8; v < to; v += 8) {
            unsigned sum[8];
            for (int n = 0; n < 8; n++) sum[n] = how & FIRST ? 0 : sums[v + n];
            for (ptrdiff_t s = 0; s < count; s++)
                for (int n = 0; n < 8; n++) sum[n] += tables[s * ENTRIES + codes[s * WIDTH + v + n]];
            for (int n = 0; n < 8; n++) sums[v + n] = (uint16_t)sum[n];
        }
}

#if defined(__GNUC__) || defined(__clang__)
typedef uint16_t eight __attribute__((vector_size(16))); /* what SSE2 and NEON hold in a register */

/* Four videos at a time: eight sums, which stay in the registers of any processor. */
static void add_together_portable(const uint8_t *codes, ptrdiff_t stride, ptrdiff_t blocks, const uint16_t *tables,
                                  ptrdiff_t count, uint16_t *sums, int how)
{
    for (ptrdiff_t b = 0; b < blocks; b++, codes += stride)
        for (int v = 0; v < WIDTH; v += 4, sums += 4 * TOGETHER) {
            eight *left = (eight *)sums, sum[8];
#pragma GCC unroll 8
            for (int n = 0; n < 8; n++) sum[n] = how & FIRST ? (eight){0} : left[n];
            for (ptrdiff_t s = 0; s < count; s++) {
                const eight *table = (const eight *)tables + s * ENTRIES * 2;
                const uint8_t *code = codes + s * WIDTH + v;
#pragma GCC unroll 4
                for (int n = 0; n < 4; n++) {
                    sum[2 * n] += table[2 * code[n]];
                    sum[2 * n + 1] += table[2 * code[n] + 1];
                }
            }
#pragma GCC unroll 8
            for (int n = 0; n < 8; n++) left[n] = sum[n];
        }
}
#else
#define add_together_portable NULL
#endif

#if X86
/* The kernels for x86 add two neighbouring bytes as one 16-bit lane (`both`) and the upper byte alone (`odd`): the
 * even sums are both - (odd << 8), taken once at the end. */
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi")))
#define INLINE static inline __attribute__((always_inline))
#define HOLD(x) __asm__("" : "+v"(x)) /* in its register: compilers would rather read memory again */
#define FORGET(x) __asm__("" : "+r"(x))

AVX512 INLINE void start(__m512i *both, __m512i *odd, const int groups, const uint16_t *sums, int how)
{
#pragma GCC unroll 8
    for (int g = 0; g < groups; g++) {
        both[g] = how & FIRST ? _mm512_setzero_si512() : _mm512_load_si512(sums + 64 * g);
        odd[g] = how & FIRST ? _mm512_setzero_si512() : _mm512_load_si512(sums + 64 * g + 32);
    }
}

AVX512 INLINE void look_up(__m512i *both, __m512i *odd, __m512i code, __m512i t0, __m512i t1, __m512i t2, __m512i t3)
{
    const __m512i lower = _mm512_permutex2var_epi8(t0, code, t1), upper = _mm512_permutex2var_epi8(t2, code, t3);
    const __m512i entry = _mm512_mask_blend_epi8(_mm512_movepi8_mask(code), lower, upper);
    *both = _mm512_add_epi16(*both, entry);
    *odd = _mm512_add_epi16(*odd, _mm512_srli_epi16(entry, 8));
}

AVX512 INLINE void finish(__m512i *both, __m512i *odd, const int groups, uint16_t *sums, int how)
{
#pragma GCC unroll 8
    for (int g = 0; g < groups; g++) {
        if (how & LAST) both[g] = _mm512_sub_epi16(both[g], _mm512_slli_epi16(odd[g], 8));
        _mm512_store_si512(sums + 64 * g, both[g]);
        _mm512_store_si512(sums + 64 * g + 32, odd[g]);
    }
}

/* Codes that memory has to give. Two things make this as fast as reading alone: they are asked for into the
 * second-level cache (the first waits for few lines at a time: reading and looking up would take turns), and the table
 * is read for each 64 codes, which keeps the look-ups from running into codes still on their way. A block, or 64 videos
 * of one: `groups` is 4 or 1, a constant in every call. */
AVX512 INLINE void add_from_memory(const uint8_t *codes, const int groups, const uint8_t *tables, ptrdiff_t count,
                                   uint16_t *sums, int how)
{
    __m512i both[4], odd[4];
    start(both, odd, groups, sums, how);
    for (ptrdiff_t s = 0; s < count; s++, codes += WIDTH, tables += ENTRIES) {
        for (int g = 0; g < groups; g++) _mm_prefetch((const char *)codes + AHEAD + 64 * g, _MM_HINT_T1);
#pragma GCC unroll 4
        for (int g = 0; g < groups; g++) {
            __m512i code = _mm512_loadu_si512(codes + 64 * g);
            HOLD(code);
            FORGET(tables);
            look_up(both + g, odd + g, code, _mm512_load_si512(tables), _mm512_load_si512(tables + 64),
                    _mm512_load_si512(tables + 128), _mm512_load_si512(tables + 192));
        }
    }
    finish(both, odd, groups, sums, how);
}

/* Codes that lie in the second-level cache: one block, or two that share each table in registers. `blocks` is a
 * constant in every call. */
AVX512 INLINE void add_from_cache(const uint8_t *codes, ptrdiff_t stride, const int blocks, const uint8_t *tables,
                                  ptrdiff_t count, uint16_t *sums, int how)
{
    __m512i both[8], odd[8];
    start(both, odd, 4 * blocks, sums, how);
    for (ptrdiff_t s = 0; s < count; s++, codes += WIDTH, tables += ENTRIES) {
        const __m512i t0 = _mm512_load_si512(tables), t1 = _mm512_load_si512(tables + 64);
        const __m512i t2 = _mm512_load_si512(tables + 128), t3 = _mm512_load_si512(tables + 192);
#pragma GCC unroll 8
        for (int g = 0; g < 4 * blocks; g++) {
            __m512i code = _mm512_loadu_si512(codes + g / 4 * stride + g % 4 * 64);
            HOLD(code);
            look_up(both + g, odd + g, code, t0, t1, t2, t3);
        }
    }
    finish(both, odd, 4 * blocks, sums, how);
}

AVX512 static void add_avx512(const uint8_t *codes, ptrdiff_t stride, ptrdiff_t blocks, int from, int to,
                              const uint8_t *tables, ptrdiff_t count, uint16_t *sums, int how)
{
    if (to - from < WIDTH) {
        for (int v = from; v < to; v += 64) add_from_memory(codes + v, 1, tables, count, sums + v, how);
        return;
    }
    if (how & FROM_MEMORY) {
        for (; blocks > 0; blocks--, codes += stride, sums += WIDTH)
            add_from_memory(codes, 4, tables, count, sums, how);
        return;
    }
    for (; blocks > 1; blocks -= 2, codes += 2 * stride, sums += 2 * WIDTH)
        add_from_cache(codes, stride, 2, tables, count, sums, how);
    if (blocks) add_from_cache(codes, stride, 1, tables, count, sums, how);
}

#define LOOK_UP(n) \
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(table + 16 * (n)))), low)
#define OF_2(n) _mm256_blendv_epi8(LOOK_UP(n), LOOK_UP((n) + 1), bit4)
#define OF_4(n) _mm256_blendv_epi8(OF_2(n), OF_2((n) + 2), bit5)
#define OF_8(n) _mm256_blendv_epi8(OF_4(n), OF_4((n) + 4), bit6)

__attribute__((target("avx2"))) static void add_avx2(const uint8_t *codes, ptrdiff_t stride, ptrdiff_t blocks, int from,
                                                     int to, const uint8_t *tables, ptrdiff_t count, uint16_t *sums,
                                                     int how)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    const ptrdiff_t ahead = how & FROM_MEMORY ? count * WIDTH : 0;
    for (ptrdiff_t n = 0, each = (to - from) / 32; n < blocks * each; n++) {
        const ptrdiff_t b = n / each, v = from + n % each * 32;
        __m256i *even_sums = (__m256i *)(sums + b * WIDTH + v), *odd_sums = even_sums + 1;
        __m256i both = how & FIRST ? _mm256_setzero_si256() : _mm256_load_si256(even_sums);
        __m256i odd = how & FIRST ? _mm256_setzero_si256() : _mm256_load_si256(odd_sums);
        const uint8_t *table = tables, *at = codes + b * stride + v;
        for (ptrdiff_t s = 0; s < count; s++, at += WIDTH, table += ENTRIES) {
            if (ahead && (v % 64 == 0 || v == from)) _mm_prefetch((const char *)at + ahead, _MM_HINT_T1);
            const __m256i code = _mm256_loadu_si256((const __m256i *)at);
            const __m256i low = _mm256_and_si256(code, nibble);
            const __m256i bit4 = _mm256_slli_epi16(code, 3), bit5 = _mm256_slli_epi16(code, 2);
            const __m256i bit6 = _mm256_slli_epi16(code, 1); /* a blend looks at the top bit of each byte */
            const __m256i entry = _mm256_blendv_epi8(OF_8(0), OF_8(8), code);
            both = _mm256_add_epi16(both, entry);
            odd = _mm256_add_epi16(odd, _mm256_srli_epi16(entry, 8));
        }
        if (how & LAST) both = _mm256_sub_epi16(both, _mm256_slli_epi16(odd, 8));
        _mm256_store_si256(even_sums, both);
        _mm256_store_si256(odd_sums, odd);
    }
}

/* Eight videos at a time, a register of 16 sums each: their codes are one 64-bit word. */
__attribute__((target("avx2"))) static void add_together_avx2(const uint8_t *codes, ptrdiff_t stride, ptrdiff_t blocks,
                                                              const uint16_t *tables, ptrdiff_t count, uint16_t *sums,
                                                              int how)
{
    for (ptrdiff_t b = 0; b < blocks; b++, codes += stride)
        for (int v = 0; v < WIDTH; v += 8, sums += 8 * TOGETHER) {
            __m256i sum[8];
#pragma GCC unroll 8
            for (int n = 0; n < 8; n++)
                sum[n] = how & FIRST ? _mm256_setzero_si256() : _mm256_load_si256((const __m256i *)sums + n);
            for (ptrdiff_t s = 0; s < count; s++) {
                const __m256i *table = (const __m256i *)tables + s * ENTRIES;
                uint64_t code;
                memcpy(&code, codes + s * WIDTH + v, sizeof code);
#pragma GCC unroll 8
                for (int n = 0; n < 8; n++) sum[n] = _mm256_add_epi16(sum[n], table[code >> 8 * n & 255]);
            }
#pragma GCC unroll 8
            for (int n = 0; n < 8; n++) _mm256_store_si256((__m256i *)sums + n, sum[n]);
        }
}
#endif

#if NEON
/* 64 videos at a time: 8 registers of sums beside the 16 of a table. A code beyond a part of the table leaves what the
 * parts before it have found. The whole of the first and the last 64. */
static void add_neon(const uint8_t *codes, ptrdiff_t stride, ptrdiff_t blocks, int from, int to, const uint8_t *tables,
                     ptrdiff_t count, uint16_t *sums, int how)
{
    const uint8x16_t part = vdupq_n_u8(64);
    for (ptrdiff_t b = 0; b < blocks; b++, codes += stride, sums += WIDTH)
        for (int v = from / 64 * 64; v < to; v += 64) {
            uint16x8_t sum[8];
#pragma GCC unroll 8
            for (int n = 0; n < 8; n++) sum[n] = how & FIRST ? vdupq_n_u16(0) : vld1q_u16(sums + v + 8 * n);
            for (ptrdiff_t s = 0; s < count; s++) {
                const uint8_t *table = tables + s * ENTRIES;
                const uint8x16x4_t t0 = vld1q_u8_x4(table), t1 = vld1q_u8_x4(table + 64);
                const uint8x16x4_t t2 = vld1q_u8_x4(table + 128), t3 = vld1q_u8_x4(table + 192);
                if (how & FROM_MEMORY) __builtin_prefetch(codes + s * WIDTH + v + AHEAD, 0, 2);
#pragma GCC unroll 4
                for (int n = 0; n < 4; n++) {
                    uint8x16_t code = vld1q_u8(codes + s * WIDTH + v + 16 * n), entry = vqtbl4q_u8(t0, code);
                    code = vsubq_u8(code, part), entry = vqtbx4q_u8(entry, t1, code);
                    code = vsubq_u8(code, part), entry = vqtbx4q_u8(entry, t2, code);
                    code = vsubq_u8(code, part), entry = vqtbx4q_u8(entry, t3, code);
                    sum[2 * n] = vaddw_u8(sum[2 * n], vget_low_u8(entry));
                    sum[2 * n + 1] = vaddw_high_u8(sum[2 * n + 1], entry);
                }
            }
#pragma GCC unroll 8
            for (int n = 0; n < 8; n++) vst1q_u16(sums + v + 8 * n, sum[n]);
        }
}
#endif

int hcq_kernels(kernel known[MOST_KERNELS])
{
    int count = 0;
#if X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw"))
        known[count++] = (kernel){"avx512", add_avx512, NULL, 64};
    if (__builtin_cpu_supports("avx2")) known[count++] = (kernel){"avx2", add_avx2, add_together_avx2, 32};
#endif
#if NEON
    known[count++] = (kernel){"neon", add_neon, add_together_portable, 1};
#endif
    known[count++] = (kernel){"portable", add_portable, add_together_portable, 1};
    return count;
}
