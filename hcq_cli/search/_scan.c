/* The scan kernels: exact top k over uint8 codes in kernel order (blocks.py), without the GIL.
 *
 * Each query's float table is rounded down to uint8, every sub-quantizer with its own offset, all with one common
 * step. The sum of S such entries, in unsigned 16 bits, is a lower bound of a video's score, and an upper bound
 * lies S steps above it. A video whose upper bound cannot beat the k-th best score found so far is passed over;
 * any other is scored again from the same codes by the canonical sum: float64, in the order of the sub-quantizers.
 * Rows come in ascending order and only a higher score displaces one that was found, so ties stay with the lowest.
 *
 * How the bounds are added up is the one thing that differs by processor: AVX-512 VBMI holds a table of 256 in
 * four registers (vpermi2b), AVX2 looks up in sixteen tables of 16 (pshufb), portable C looks up in memory.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 256       /* videos in a block */
#define ENTRIES 256     /* of a padded table */
#define TILE 64         /* sub-quantizers whose uint8 tables (16 KiB) stay in the first-level cache */
#define SUPERBLOCK 8    /* blocks that all queries pass over before the next are read from memory */
#define ALIGNMENT 64
#define AHEAD 2048      /* bytes of codes asked for ahead of their use: a scan is as fast as memory gives them */
#define MOST_SUM 65535  /* of an accumulator */

#if defined(__x86_64__) && (defined(__GNUC__) || defined(__clang__))
#define X86 1
#include <immintrin.h>
#else
#define X86 0
#endif

/* Add the entries of `count` sub-quantizers to the sums of a block's 256 videos.
 * codes [count, 256], tables [count, 256]; `first` starts from zero, `last` leaves true sums. */
typedef void (*accumulate)(const uint8_t *codes, const uint8_t *tables, Py_ssize_t count, uint16_t *sums, int first,
                           int last);

typedef struct {
    const char *name;
    accumulate add;
    int group; /* videos whose even and odd ones are kept apart in the sums; 1: sums are in order */
} kernel;

typedef struct {
    const float *table;  /* [S, 256], padded with each sub-quantizer's last entry */
    const uint8_t *low;  /* [S, 256], rounded down */
    double offset, step; /* a score lies between offset + sum·step and offset + (sum + S)·step, give or take error */
    double error;
    int bounded;         /* 0: the table cannot be bounded, every video is scored */
    long threshold;      /* least sum that may still matter */
    double *scores;      /* heap of the k best, the worst first */
    int64_t *rows;
    Py_ssize_t found;
} query;

static void add_portable(const uint8_t *codes, const uint8_t *tables, Py_ssize_t count, uint16_t *sums, int first,
                         int last)
{
    (void)last;
    if (first) memset(sums, 0, WIDTH * sizeof *sums);
    for (Py_ssize_t s = 0; s < count; s++, codes += WIDTH, tables += ENTRIES)
        for (int v = 0; v < WIDTH; v++) sums[v] = (uint16_t)(sums[v] + tables[codes[v]]);
}

#if X86
/* Both vector kernels add two neighbouring bytes as one 16-bit lane (`both`) and the upper byte alone (`odd`): the
 * even sums are both - (odd << 8), taken once at the end. */
__attribute__((target("avx512f,avx512bw,avx512vbmi"))) static void
add_avx512(const uint8_t *codes, const uint8_t *tables, Py_ssize_t count, uint16_t *sums, int first, int last)
{
    __m512i both[4], odd[4];
    for (int g = 0; g < 4; g++) {
        both[g] = first ? _mm512_setzero_si512() : _mm512_load_si512(sums + 64 * g);
        odd[g] = first ? _mm512_setzero_si512() : _mm512_load_si512(sums + 64 * g + 32);
    }
    for (Py_ssize_t s = 0; s < count; s++, codes += WIDTH, tables += ENTRIES) {
        const __m512i t0 = _mm512_load_si512(tables), t1 = _mm512_load_si512(tables + 64);
        const __m512i t2 = _mm512_load_si512(tables + 128), t3 = _mm512_load_si512(tables + 192);
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++) {
            _mm_prefetch((const char *)codes + 64 * g + AHEAD, _MM_HINT_T0);
            const __m512i code = _mm512_loadu_si512(codes + 64 * g);
            const __m512i lower = _mm512_permutex2var_epi8(t0, code, t1);
            const __m512i upper = _mm512_permutex2var_epi8(t2, code, t3);
            const __m512i entry = _mm512_mask_blend_epi8(_mm512_movepi8_mask(code), lower, upper);
            both[g] = _mm512_add_epi16(both[g], entry);
            odd[g] = _mm512_add_epi16(odd[g], _mm512_srli_epi16(entry, 8));
        }
    }
    for (int g = 0; g < 4; g++) {
        if (last) both[g] = _mm512_sub_epi16(both[g], _mm512_slli_epi16(odd[g], 8));
        _mm512_store_si512(sums + 64 * g, both[g]);
        _mm512_store_si512(sums + 64 * g + 32, odd[g]);
    }
}

#define LOOK_UP(n) \
    _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(_mm_load_si128((const __m128i *)(table + 16 * (n)))), low)
#define OF_2(n) _mm256_blendv_epi8(LOOK_UP(n), LOOK_UP((n) + 1), bit4)
#define OF_4(n) _mm256_blendv_epi8(OF_2(n), OF_2((n) + 2), bit5)
#define OF_8(n) _mm256_blendv_epi8(OF_4(n), OF_4((n) + 4), bit6)

__attribute__((target("avx2"))) static void add_avx2(const uint8_t *codes, const uint8_t *tables, Py_ssize_t count,
                                                     uint16_t *sums, int first, int last)
{
    const __m256i nibble = _mm256_set1_epi8(15);
    for (int g = 0; g < WIDTH / 32; g++) {
        __m256i *even_sums = (__m256i *)(sums + 32 * g), *odd_sums = even_sums + 1;
        __m256i both = first ? _mm256_setzero_si256() : _mm256_load_si256(even_sums);
        __m256i odd = first ? _mm256_setzero_si256() : _mm256_load_si256(odd_sums);
        const uint8_t *table = tables, *at = codes + 32 * g;
        for (Py_ssize_t s = 0; s < count; s++, at += WIDTH, table += ENTRIES) {
            const __m256i code = _mm256_loadu_si256((const __m256i *)at);
            const __m256i low = _mm256_and_si256(code, nibble);
            const __m256i bit4 = _mm256_slli_epi16(code, 3), bit5 = _mm256_slli_epi16(code, 2);
            const __m256i bit6 = _mm256_slli_epi16(code, 1); /* a blend looks at the top bit of each byte */
            const __m256i entry = _mm256_blendv_epi8(OF_8(0), OF_8(8), code);
            both = _mm256_add_epi16(both, entry);
            odd = _mm256_add_epi16(odd, _mm256_srli_epi16(entry, 8));
        }
        if (last) both = _mm256_sub_epi16(both, _mm256_slli_epi16(odd, 8));
        _mm256_store_si256(even_sums, both);
        _mm256_store_si256(odd_sums, odd);
    }
}
#endif

static int available(kernel *known)
{
    int count = 0;
#if X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bw"))
        known[count++] = (kernel){"avx512", add_avx512, 64};
    if (__builtin_cpu_supports("avx2")) known[count++] = (kernel){"avx2", add_avx2, 32};
#endif
    known[count++] = (kernel){"portable", add_portable, 1};
    return count;
}

/* Pad a query's table [S, K] to 256 entries and round it down to uint8. */
static void bound(query *q, const float *table, Py_ssize_t S, Py_ssize_t K, float *padded, uint8_t *low)
{
    double widest = 0, total = 0, magnitude = 0;
    q->offset = 0;
    for (Py_ssize_t s = 0; s < S; s++) {
        double least = table[s * K], most = least;
        for (Py_ssize_t c = 0; c < ENTRIES; c++) {
            const float entry = table[s * K + (c < K ? c : K - 1)];
            padded[s * ENTRIES + c] = entry;
            least = entry < least ? entry : least;
            most = entry > most ? entry : most;
        }
        widest = fmax(widest, most - least);
        total += most - least;
        magnitude += fmax(fabs(least), fabs(most));
        q->offset += least;
    }
    /* Rounding of sums and differences in float64, generously. */
    q->error = 8 * (double)(S + 8) * 1.2e-16 * magnitude;
    q->step = fmax(widest / 255, total / (MOST_SUM - 1));
    q->bounded = isfinite(total) && isfinite(magnitude) && q->step > 0 && isfinite(1 / q->step) && S < MOST_SUM / 2;
    for (Py_ssize_t s = 0; s < S; s++) {
        const float *entries = padded + s * ENTRIES;
        double least = entries[0];
        for (Py_ssize_t c = 1; c < K; c++) least = entries[c] < least ? entries[c] : least;
        for (Py_ssize_t c = 0; c < ENTRIES; c++) {
            const double steps = q->bounded ? (entries[c] - least) / q->step : 0;
            low[s * ENTRIES + c] = (uint8_t)(int)(steps < 255 ? steps : 255); /* never negative: this rounds down */
        }
    }
    q->table = padded;
    q->low = low;
    q->threshold = 0;
    q->found = 0;
}

static int worse(const query *q, Py_ssize_t a, Py_ssize_t b)
{
    return q->scores[a] < q->scores[b] || (q->scores[a] == q->scores[b] && q->rows[a] > q->rows[b]);
}

static void swap(query *q, Py_ssize_t a, Py_ssize_t b)
{
    const double score = q->scores[a];
    const int64_t row = q->rows[a];
    q->scores[a] = q->scores[b], q->rows[a] = q->rows[b];
    q->scores[b] = score, q->rows[b] = row;
}

static void keep(query *q, Py_ssize_t k, double score, int64_t row)
{
    Py_ssize_t at;
    if (q->found < k) {
        at = q->found++;
        q->scores[at] = score, q->rows[at] = row;
        for (; at > 0 && worse(q, at, (at - 1) / 2); at = (at - 1) / 2) swap(q, at, (at - 1) / 2);
        return;
    }
    q->scores[0] = score, q->rows[0] = row;
    for (at = 0;;) {
        Py_ssize_t worst = at, left = 2 * at + 1, right = left + 1;
        if (left < k && worse(q, left, worst)) worst = left;
        if (right < k && worse(q, right, worst)) worst = right;
        if (worst == at) return;
        swap(q, at, worst);
        at = worst;
    }
}

/* The least sum whose upper bound exceeds the worst score kept. */
static long threshold(const query *q, Py_ssize_t S)
{
    const double least = (q->scores[0] - q->offset - q->error) / q->step - (double)S;
    if (!(least > 0)) return 0;
    return least > MOST_SUM ? MOST_SUM + 1 : (long)floor(least - 1e-6);
}

/* Score the videos of a block whose bound promises something, canonically. */
static void choose(query *q, const kernel *by, const uint8_t *codes, const uint16_t *sums, const uint8_t *dead,
                   int64_t first_row, int videos, Py_ssize_t S, Py_ssize_t k)
{
    for (int v = 0; v < videos; v++) {
        const int in_group = v % by->group, half = by->group / 2;
        const int slot = by->group == 1 ? v : v - in_group + in_group / 2 + (in_group % 2) * half;
        if (sums[slot] < q->threshold || (dead && dead[first_row + v])) continue;
        double score = 0;
        for (Py_ssize_t s = 0; s < S; s++) score += q->table[s * ENTRIES + codes[s * WIDTH + v]];
        if (q->found == k && !(score > q->scores[0])) continue;
        keep(q, k, score, first_row + v);
        if (q->found == k && q->bounded) q->threshold = threshold(q, S);
    }
}

static int promising(const uint16_t *sums, long least)
{
    if (least > MOST_SUM) return 0;
    unsigned any = 0;
    const uint16_t limit = (uint16_t)least;
    for (int v = 0; v < WIDTH; v++) any |= sums[v] >= limit;
    return any != 0;
}

static void scan_blocks(const kernel *by, const uint8_t *codes, int64_t videos, Py_ssize_t S, query *queries,
                        Py_ssize_t Q, Py_ssize_t k, const uint8_t *dead, uint16_t *sums)
{
    const Py_ssize_t blocks = (Py_ssize_t)((videos + WIDTH - 1) / WIDTH);
    const Py_ssize_t together = Q > 1 ? SUPERBLOCK : 1;
    for (Py_ssize_t start = 0; start < blocks; start += together) {
        const Py_ssize_t stop = start + together < blocks ? start + together : blocks;
        for (Py_ssize_t n = 0; n < Q; n++) {
            query *q = queries + n;
            for (Py_ssize_t s = 0; s < S; s += TILE) {
                const Py_ssize_t count = S - s < TILE ? S - s : TILE;
                for (Py_ssize_t b = start; b < stop; b++)
                    by->add(codes + (b * S + s) * WIDTH, q->low + s * ENTRIES, count, sums + (b - start) * WIDTH, s == 0,
                            s + count == S);
            }
            for (Py_ssize_t b = start; b < stop; b++) {
                const int64_t first_row = (int64_t)b * WIDTH;
                const int64_t left = videos - first_row;
                const uint16_t *block_sums = sums + (b - start) * WIDTH;
                if (promising(block_sums, q->threshold))
                    choose(q, by, codes + b * S * WIDTH, block_sums, dead, first_row, left < WIDTH ? (int)left : WIDTH, S,
                           k);
            }
        }
    }
}

static void *aligned(size_t bytes, void **to_free)
{
    char *memory = malloc(bytes + ALIGNMENT);
    *to_free = memory;
    return memory ? memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT) : NULL;
}

/* Search; the heaps [Q, k] are filled in no particular order. Gives how many each found, or -1 without memory. */
static Py_ssize_t scan(const kernel *by, const uint8_t *codes, int64_t videos, Py_ssize_t S, const float *tables,
                       Py_ssize_t Q, Py_ssize_t K, const uint8_t *dead, double *scores, int64_t *rows, Py_ssize_t k)
{
    const size_t cells = (size_t)S * ENTRIES;
    void *raw_low = NULL, *raw_sums = NULL;
    uint8_t *low = aligned(cells * (size_t)Q, &raw_low);
    uint16_t *sums = aligned(SUPERBLOCK * WIDTH * sizeof *sums, &raw_sums);
    float *padded = malloc(cells * (size_t)Q * sizeof *padded);
    query *queries = malloc((size_t)Q * sizeof *queries);
    Py_ssize_t found = -1;
    if (low && sums && padded && queries) {
        for (Py_ssize_t n = 0; n < Q; n++) {
            bound(queries + n, tables + n * S * K, S, K, padded + n * (Py_ssize_t)cells, low + n * (Py_ssize_t)cells);
            queries[n].scores = scores + n * k;
            queries[n].rows = rows + n * k;
        }
        scan_blocks(by, codes, videos, S, queries, Q, k, dead, sums);
        found = queries[0].found;
    }
    free(raw_low), free(raw_sums), free(padded), free(queries);
    return found;
}

static const char *misfit(Py_ssize_t S, Py_ssize_t Q, Py_ssize_t K, Py_ssize_t k, long long videos,
                          const Py_buffer *codes, const Py_buffer *tables, const Py_buffer *dead,
                          const Py_buffer *scores, const Py_buffer *rows)
{
    if (S < 1 || Q < 1 || K < 1 || K > ENTRIES || k < 1 || videos < 0) return "sizes out of range";
    if (codes->len < (videos + WIDTH - 1) / WIDTH * S * WIDTH) return "codes too short";
    if (tables->len < Q * S * K * (Py_ssize_t)sizeof(float)) return "tables too short";
    if (dead->buf && dead->len < videos) return "dead too short";
    if (scores->len < Q * k * 8 || rows->len < Q * k * 8) return "results too short";
    return NULL;
}

static PyObject *py_scan(PyObject *module, PyObject *arguments)
{
    (void)module;
    const char *name;
    Py_buffer codes, tables, dead, scores, rows;
    Py_ssize_t S, Q, K, k, found = -1;
    long long videos;
    if (!PyArg_ParseTuple(arguments, "sy*Lny*nnz*w*w*n:scan", &name, &codes, &videos, &S, &tables, &Q, &K, &dead,
                          &scores, &rows, &k))
        return NULL;
    kernel known[3];
    const kernel *by = NULL;
    for (int count = available(known); count--;)
        if (!strcmp(known[count].name, name)) by = known + count;
    const char *problem = by ? misfit(S, Q, K, k, videos, &codes, &tables, &dead, &scores, &rows) : "no such kernel";
    if (!problem) {
        Py_BEGIN_ALLOW_THREADS
        found = scan(by, codes.buf, videos, S, tables.buf, Q, K, dead.buf, scores.buf, rows.buf, k);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&codes), PyBuffer_Release(&tables), PyBuffer_Release(&scores), PyBuffer_Release(&rows);
    if (dead.buf) PyBuffer_Release(&dead);
    if (problem) PyErr_SetString(PyExc_ValueError, problem);
    else if (found < 0) PyErr_NoMemory();
    return problem || found < 0 ? NULL : PyLong_FromSsize_t(found);
}

static PyObject *py_kernels(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
    kernel known[3];
    const int count = available(known);
    PyObject *names = PyList_New(0);
    for (int n = 0; names && n < count; n++) {
        PyObject *name = PyUnicode_FromString(known[n].name);
        if (!name || PyList_Append(names, name)) Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyMethodDef methods[] = {
    {"scan", py_scan, METH_VARARGS,
     "scan(kernel, codes, videos, S, tables, Q, K, dead, scores, rows, k) -> found\n\n"
     "Fill float64 scores [Q, k] and int64 rows [Q, k] with the best, unordered; give how many of the k were found."},
    {"kernels", py_kernels, METH_NOARGS, "Names of the kernels this processor can run, the fastest first."},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_scan", "Scan kernels in C.", 0, methods, slots,
                                        NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__scan(void) { return PyModuleDef_Init(&definition); }
