/* The scan kernels: exact top k over uint8 codes in kernel order (blocks.py), without the GIL.
 *
 * Each query's float table is rounded down to uint8, every sub-quantizer with its own offset, all with one common
 * step. The sum of S such entries, in unsigned 16 bits, is a lower bound of a video's score, and an upper bound
 * lies S steps above it. A video whose upper bound cannot beat the k-th best score found so far is passed over;
 * any other is scored again from the same codes by the canonical sum: float64, in the order of the sub-quantizers.
 * Of equal scores the lowest row is kept, in whatever order rows come.
 *
 * A scan goes over ranges of slots (places in kernel order). Where codes lie by list (partition.py), each range is
 * visited by the queries that asked for it alone, and `order` says which row each slot holds.
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
#define INTERFACE 2     /* of `scan`, as native_scan.py calls it: a build that lags behind is told by it */

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

/* Where codes lie, and what is known of each. */
typedef struct {
    const uint8_t *codes;  /* [B, S, 256] */
    Py_ssize_t S;
    const uint32_t *order; /* [slots], the row of each slot; NULL: its own number */
    const uint8_t *dead;   /* [rows], rows never to be found; NULL: none */
    int64_t rows;          /* of `dead` */
} place;

/* A range of slots that some queries want to see. */
typedef struct {
    int64_t first_slot, stop_slot, first_asker, stop_asker;
} visit;

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

/* Score the videos `from` to `to` of a block whose bound promises something, canonically. */
static void choose(query *q, const kernel *by, const place *in, int64_t block, int from, int to, const uint16_t *sums,
                   Py_ssize_t k)
{
    const uint8_t *codes = in->codes + block * in->S * WIDTH;
    for (int v = from; v < to; v++) {
        const int in_group = v % by->group, half = by->group / 2;
        const int at = by->group == 1 ? v : v - in_group + in_group / 2 + (in_group % 2) * half;
        if (sums[at] < q->threshold) continue;
        const int64_t slot = block * WIDTH + v, row = in->order ? in->order[slot] : slot;
        if (in->dead && (row >= in->rows || in->dead[row])) continue;
        double score = 0;
        for (Py_ssize_t s = 0; s < in->S; s++) score += q->table[s * ENTRIES + codes[s * WIDTH + v]];
        if (q->found == k && !(score > q->scores[0] || (score == q->scores[0] && row < q->rows[0]))) continue;
        keep(q, k, score, row);
        if (q->found == k && q->bounded) q->threshold = threshold(q, in->S);
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

/* Let some queries see the slots of one visit. */
static void scan_slots(const kernel *by, const place *in, const visit *seen, query *queries, const int32_t *askers,
                       Py_ssize_t k, uint16_t *sums)
{
    const Py_ssize_t S = in->S;
    const int64_t first_block = seen->first_slot / WIDTH, blocks = (seen->stop_slot + WIDTH - 1) / WIDTH;
    const int64_t together = seen->stop_asker - seen->first_asker > 1 ? SUPERBLOCK : 1;
    for (int64_t start = first_block; start < blocks; start += together) {
        const int64_t stop = start + together < blocks ? start + together : blocks;
        for (int64_t n = seen->first_asker; n < seen->stop_asker; n++) {
            query *q = queries + (askers ? askers[n] : n);
            for (Py_ssize_t s = 0; s < S; s += TILE) {
                const Py_ssize_t count = S - s < TILE ? S - s : TILE;
                for (int64_t b = start; b < stop; b++)
                    by->add(in->codes + (b * S + s) * WIDTH, q->low + s * ENTRIES, count, sums + (b - start) * WIDTH,
                            s == 0, s + count == S);
            }
            for (int64_t b = start; b < stop; b++) {
                const uint16_t *block_sums = sums + (b - start) * WIDTH;
                const int64_t from = seen->first_slot - b * WIDTH, to = seen->stop_slot - b * WIDTH;
                if (promising(block_sums, q->threshold))
                    choose(q, by, in, b, from > 0 ? (int)from : 0, to < WIDTH ? (int)to : WIDTH, block_sums, k);
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

/* Search; the heaps [Q, k] are filled in no particular order, counts [Q] says how far. Gives 0 without memory. */
static int scan(const kernel *by, const place *in, const visit *visits, Py_ssize_t V, const int32_t *askers,
                const float *tables, Py_ssize_t Q, Py_ssize_t K, double *scores, int64_t *rows, int64_t *counts,
                Py_ssize_t k)
{
    const size_t cells = (size_t)in->S * ENTRIES;
    void *raw_low = NULL, *raw_sums = NULL;
    uint8_t *low = aligned(cells * (size_t)Q, &raw_low);
    uint16_t *sums = aligned(SUPERBLOCK * WIDTH * sizeof *sums, &raw_sums);
    float *padded = malloc(cells * (size_t)Q * sizeof *padded);
    query *queries = malloc((size_t)Q * sizeof *queries);
    const int enough = low && sums && padded && queries;
    if (enough) {
        for (Py_ssize_t n = 0; n < Q; n++) {
            const Py_ssize_t at = n * (Py_ssize_t)cells;
            bound(queries + n, tables + n * in->S * K, in->S, K, padded + at, low + at);
            queries[n].scores = scores + n * k;
            queries[n].rows = rows + n * k;
        }
        for (Py_ssize_t v = 0; v < V; v++) scan_slots(by, in, visits + v, queries, askers, k, sums);
        for (Py_ssize_t n = 0; n < Q; n++) counts[n] = queries[n].found;
    }
    free(raw_low), free(raw_sums), free(padded), free(queries);
    return enough;
}

enum { CODES, TABLES, DEAD, ORDER, VISITS, ASKERS, SCORES, ROWS, COUNTS, BUFFERS };

static const char *misfit(Py_ssize_t S, Py_ssize_t Q, Py_ssize_t K, Py_ssize_t k, long long slots,
                          const Py_buffer *given)
{
    const Py_ssize_t askers = given[ASKERS].len / (Py_ssize_t)sizeof(int32_t);
    if (S < 1 || Q < 1 || K < 1 || K > ENTRIES || k < 1 || slots < 0) return "sizes out of range";
    if (given[CODES].len < (slots + WIDTH - 1) / WIDTH * S * WIDTH) return "codes too short";
    if (given[TABLES].len < Q * S * K * (Py_ssize_t)sizeof(float)) return "tables too short";
    if (given[DEAD].buf && !given[ORDER].buf && given[DEAD].len < slots) return "dead too short";
    if (given[ORDER].buf && given[ORDER].len < slots * (Py_ssize_t)sizeof(uint32_t)) return "order too short";
    if (given[SCORES].len < Q * k * 8 || given[ROWS].len < Q * k * 8) return "results too short";
    if (given[COUNTS].len < Q * 8) return "counts too short";
    const visit *visits = given[VISITS].buf;
    for (Py_ssize_t v = 0; visits && v < given[VISITS].len / (Py_ssize_t)sizeof *visits; v++) {
        if (visits[v].first_slot < 0 || visits[v].stop_slot > slots) return "a visit beyond the codes";
        if (visits[v].first_asker < 0 || visits[v].stop_asker > askers) return "a visit beyond the askers";
    }
    const int32_t *asker = given[ASKERS].buf;
    for (Py_ssize_t n = 0; n < askers; n++)
        if (asker[n] < 0 || asker[n] >= Q) return "an asker beyond the queries";
    return NULL;
}

static PyObject *py_scan(PyObject *module, PyObject *arguments)
{
    (void)module;
    const char *name;
    Py_buffer given[BUFFERS];
    Py_ssize_t S, Q, K, k;
    long long slots;
    int done = 0;
    if (!PyArg_ParseTuple(arguments, "sy*Lny*nnz*z*z*z*w*w*w*n:scan", &name, &given[CODES], &slots, &S, &given[TABLES],
                          &Q, &K, &given[DEAD], &given[ORDER], &given[VISITS], &given[ASKERS], &given[SCORES],
                          &given[ROWS], &given[COUNTS], &k))
        return NULL;
    kernel known[3];
    const kernel *by = NULL;
    for (int count = available(known); count--;)
        if (!strcmp(known[count].name, name)) by = known + count;
    const char *problem = by ? misfit(S, Q, K, k, slots, given) : "no such kernel";
    if (!problem) {
        const place in = {given[CODES].buf, S, given[ORDER].buf, given[DEAD].buf, given[DEAD].len};
        const visit everything = {0, slots, 0, Q};
        const visit *visits = given[VISITS].buf ? given[VISITS].buf : &everything;
        const Py_ssize_t V = given[VISITS].buf ? given[VISITS].len / (Py_ssize_t)sizeof *visits : 1;
        const int32_t *askers = given[VISITS].buf ? given[ASKERS].buf : NULL;
        Py_BEGIN_ALLOW_THREADS
        done = scan(by, &in, visits, V, askers, given[TABLES].buf, Q, K, given[SCORES].buf, given[ROWS].buf,
                    given[COUNTS].buf, k);
        Py_END_ALLOW_THREADS
    }
    for (int n = 0; n < BUFFERS; n++)
        if (given[n].obj) PyBuffer_Release(&given[n]);
    if (problem) PyErr_SetString(PyExc_ValueError, problem);
    else if (!done) PyErr_NoMemory();
    if (problem || !done) return NULL;
    Py_RETURN_NONE;
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
     "scan(kernel, codes, slots, S, tables, Q, K, dead, order, visits, askers, scores, rows, counts, k)\n\n"
     "Fill float64 scores [Q, k] and int64 rows [Q, k] with the best, unordered, and int64 counts [Q]: how many.\n"
     "visits int64 [V, 4] are ranges of slots and of askers, int32 numbers of queries; None: all slots, by all."},
    {"kernels", py_kernels, METH_NOARGS, "Names of the kernels this processor can run, the fastest first."},
    {NULL, NULL, 0, NULL},
};
static int add_constants(PyObject *module) { return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE); }

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)add_constants}, {0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_scan", "Scan kernels in C.", 0, methods, slots,
                                        NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__scan(void) { return PyModuleDef_Init(&definition); }
