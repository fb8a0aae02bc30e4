/* The search: bounds of each query's table, the k best so far, and the way through the codes. */
#include "_scan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TILE 64         /* sub-quantizers whose uint8 tables (16 KiB) stay in the first-level cache */
#define SUPERBLOCK 8    /* blocks that all queries pass over before the next are read from memory */
#define ALIGNMENT 64
#define LANES 16
#define SPARE(S) ((S) / 16 + 1) /* most tables beyond one a sub-quantizer: what they cost is a sixteenth of a scan */
#define FINEST 64               /* most tables of one sub-quantizer */

typedef struct {
    const float *table;  /* [S, 256], padded with each sub-quantizer's last entry */
    const uint8_t *low;  /* [S + spare, 256], rounded down */
    const int32_t *again; /* [spare], the sub-quantizers of the tables after the first S */
    ptrdiff_t spare;
    double offset, step; /* a score lies between offset + sum·step and offset + (sum + slack)·step, give or take error */
    double slack;
    double error;
    int bounded;         /* 0: the table cannot be bounded, every video is scored */
    long threshold;      /* least sum that may still matter */
    double *scores;      /* heap of the k best, the worst first */
    int64_t *rows;
    ptrdiff_t found;
} query;

/* The least and the greatest of a table's entries, in lanes that a compiler makes vectors of. */
static void extremes(const float *entries, float *least, float *most)
{
    float low[LANES], high[LANES];
    for (int lane = 0; lane < LANES; lane++) low[lane] = high[lane] = entries[0];
    for (ptrdiff_t c = 0; c < ENTRIES; c += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            const float entry = entries[c + lane];
            low[lane] = entry < low[lane] ? entry : low[lane];
            high[lane] = entry > high[lane] ? entry : high[lane];
        }
    *least = low[0], *most = high[0];
    for (int lane = 1; lane < LANES; lane++) {
        *least = low[lane] < *least ? low[lane] : *least;
        *most = high[lane] > *most ? high[lane] : *most;
    }
}

/* How many tables beyond one a range needs with a step of that size: more than 255 steps do not go in a byte. */
static double spare_tables(double range, double step)
{
    return fmax(ceil(floor(range / step) / 255), 1) - 1;
}

static double all_spare_tables(const double *ranges, ptrdiff_t S, double step)
{
    double spare = 0;
    for (ptrdiff_t s = 0; s < S; s++) spare += spare_tables(ranges[s], step);
    return spare;
}

/* Pad a query's table [S, K] to 256 entries and round it down, each sub-quantizer to uint8 tables that add up to it.
 *
 * After a rotation few sub-quantizers have most of the range. A step that brings the widest to 255 leaves the others
 * with hardly a step, and bounds so wide that a tenth of all videos has to be scored; so the widest get several tables,
 * as many in all as SPARE allows. What rounding down takes away is counted sub-quantizer by sub-quantizer (`slack`):
 * less than a step each, and next to nothing where the whole range is less. */
static void bound(query *q, const float *table, ptrdiff_t S, ptrdiff_t K, float *padded, uint8_t *low, int32_t *again,
                  double *ranges)
{
    double widest = 0, total = 0, magnitude = 0;
    q->offset = 0;
    for (ptrdiff_t s = 0; s < S; s++) {
        float *entries = padded + s * ENTRIES, least, most;
        memcpy(entries, table + s * K, (size_t)K * sizeof *entries);
        for (ptrdiff_t c = K; c < ENTRIES; c++) entries[c] = entries[K - 1];
        extremes(entries, &least, &most);
        ranges[s] = (double)most - least;
        widest = fmax(widest, ranges[s]);
        total += ranges[s];
        magnitude += fmax(fabs((double)least), fabs((double)most));
        q->offset += least;
    }
    /* Rounding of sums, differences and quotients in float64, generously. */
    q->error = 8 * (double)(S + 8) * 1.2e-16 * magnitude;
    const double least_step = total / (MOST_SUM - 1);
    q->step = fmax(widest / 255, least_step);
    q->bounded = isfinite(total) && isfinite(magnitude) && q->step > 0 && isfinite(1 / q->step) && S < MOST_SUM / 2;
    for (int finer = 2; q->bounded && finer <= FINEST; finer *= 2) {
        const double step = fmax(widest / (255.0 * finer), least_step);
        if (!isfinite(1 / step) || all_spare_tables(ranges, S, step) > (double)SPARE(S)) break;
        q->step = step;
    }
    const double steps_a_unit = q->bounded ? 1 / q->step : 0;
    q->spare = 0;
    q->slack = 0;
    for (ptrdiff_t s = 0; s < S; s++) {
        const float *entries = padded + s * ENTRIES;
        const ptrdiff_t more = q->bounded ? (ptrdiff_t)spare_tables(ranges[s], q->step) : 0;
        const double limit = 255.0 * (double)(more + 1);
        float least, most;
        double lost = 0;
        extremes(entries, &least, &most);
        for (ptrdiff_t c = 0; c < ENTRIES; c++) {
            const double steps = ((double)entries[c] - least) * steps_a_unit;
            int whole = (int)(steps < limit ? steps : limit); /* never negative: this rounds down */
            lost = fmax(lost, steps - whole);
            for (ptrdiff_t t = 0; t <= more; t++) {
                const int part = whole < 255 ? whole : 255;
                low[(t == 0 ? s : S + q->spare + t - 1) * ENTRIES + c] = (uint8_t)part;
                whole -= part;
            }
        }
        for (ptrdiff_t t = 0; t < more; t++) again[q->spare++] = (int32_t)s;
        q->slack += lost;
    }
    q->table = padded;
    q->low = low;
    q->again = again;
    q->threshold = 0;
    q->found = 0;
}

static int worse(const query *q, ptrdiff_t a, ptrdiff_t b)
{
    return q->scores[a] < q->scores[b] || (q->scores[a] == q->scores[b] && q->rows[a] > q->rows[b]);
}

static void swap(query *q, ptrdiff_t a, ptrdiff_t b)
{
    const double score = q->scores[a];
    const int64_t row = q->rows[a];
    q->scores[a] = q->scores[b], q->rows[a] = q->rows[b];
    q->scores[b] = score, q->rows[b] = row;
}

static void keep(query *q, ptrdiff_t k, double score, int64_t row)
{
    ptrdiff_t at;
    if (q->found < k) {
        at = q->found++;
        q->scores[at] = score, q->rows[at] = row;
        for (; at > 0 && worse(q, at, (at - 1) / 2); at = (at - 1) / 2) swap(q, at, (at - 1) / 2);
        return;
    }
    q->scores[0] = score, q->rows[0] = row;
    for (at = 0;;) {
        ptrdiff_t worst = at, left = 2 * at + 1, right = left + 1;
        if (left < k && worse(q, left, worst)) worst = left;
        if (right < k && worse(q, right, worst)) worst = right;
        if (worst == at) return;
        swap(q, at, worst);
        at = worst;
    }
}

/* The least sum whose upper bound exceeds the worst score kept. */
static long threshold(const query *q)
{
    const double least = (q->scores[0] - q->offset - q->error) / q->step - q->slack;
    if (!(least > 0)) return 0;
    return least > MOST_SUM ? MOST_SUM + 1 : (long)floor(least - 1e-6);
}

/* Score the videos `from` to `to` of a block whose bound promises something, canonically. */
static void choose(query *q, const kernel *by, const place *in, int64_t block, int from, int to, const uint16_t *sums,
                   ptrdiff_t k)
{
    const uint8_t *codes = in->codes + block * in->S * WIDTH;
    for (int v = from; v < to; v++) {
        const int in_group = v % by->group, half = by->group / 2;
        const int at = by->group == 1 ? v : v - in_group + in_group / 2 + (in_group % 2) * half;
        if (sums[at] < q->threshold) continue;
        const int64_t slot = block * WIDTH + v, row = in->order ? in->order[slot] : slot;
        if (in->dead && (row >= in->rows || in->dead[row])) continue;
        double score = 0;
        for (ptrdiff_t s = 0; s < in->S; s++) score += q->table[s * ENTRIES + codes[s * WIDTH + v]];
        if (q->found == k && !(score > q->scores[0] || (score == q->scores[0] && row < q->rows[0]))) continue;
        keep(q, k, score, row);
        if (q->found == k && q->bounded) q->threshold = threshold(q);
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
                       ptrdiff_t k, uint16_t *sums)
{
    const ptrdiff_t S = in->S;
    const int64_t first_block = seen->first_slot / WIDTH, blocks = (seen->stop_slot + WIDTH - 1) / WIDTH;
    const int64_t together = seen->stop_asker - seen->first_asker > 1 ? SUPERBLOCK : 1;
    for (int64_t start = first_block; start < blocks; start += together) {
        const int64_t stop = start + together < blocks ? start + together : blocks;
        for (int64_t n = seen->first_asker; n < seen->stop_asker; n++) {
            query *q = queries + (askers ? askers[n] : n);
            const int unread = n == seen->first_asker ? FROM_MEMORY : 0;
            for (ptrdiff_t s = 0; s < S; s += TILE) {
                const ptrdiff_t count = S - s < TILE ? S - s : TILE;
                by->add(in->codes + (start * S + s) * WIDTH, S * WIDTH, stop - start, q->low + s * ENTRIES, count,
                        sums, (s == 0 ? FIRST : 0) | (s + count == S && !q->spare ? LAST : 0) | unread);
            }
            for (ptrdiff_t t = 0; t < q->spare; t++)
                by->add(in->codes + (start * S + q->again[t]) * WIDTH, S * WIDTH, stop - start,
                        q->low + (S + t) * ENTRIES, 1, sums, t + 1 == q->spare ? LAST : 0);
            for (int64_t b = start; b < stop; b++) {
                const uint16_t *block_sums = sums + (b - start) * WIDTH;
                const int64_t from = seen->first_slot - b * WIDTH, to = seen->stop_slot - b * WIDTH;
                if (promising(block_sums, q->threshold))
                    choose(q, by, in, b, from > 0 ? (int)from : 0, to < WIDTH ? (int)to : WIDTH, block_sums, k);
            }
        }
    }
}

/* Ask for the first codes of a visit to come: nothing of what lies before them has asked for them. */
static void expect(const place *in, const visit *next)
{
#if defined(__GNUC__) || defined(__clang__)
    const uint8_t *codes = in->codes + next->first_slot / WIDTH * in->S * WIDTH;
    for (ptrdiff_t at = 0; at < AHEAD; at += ALIGNMENT) __builtin_prefetch(codes + at, 0, 2);
#else
    (void)in, (void)next;
#endif
}

static void *aligned(size_t bytes, void **to_free)
{
    char *memory = malloc(bytes + ALIGNMENT);
    *to_free = memory;
    return memory ? memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT) : NULL;
}

int hcq_scan(const kernel *by, const place *in, const visit *visits, ptrdiff_t V, const int32_t *askers,
             const float *tables, ptrdiff_t Q, ptrdiff_t K, double *scores, int64_t *rows, int64_t *counts,
             ptrdiff_t k)
{
    const size_t cells = (size_t)in->S * ENTRIES, spare = (size_t)SPARE(in->S);
    void *raw_low = NULL, *raw_sums = NULL;
    uint8_t *low = aligned((cells + spare * ENTRIES) * (size_t)Q, &raw_low);
    uint16_t *sums = aligned(SUPERBLOCK * WIDTH * sizeof *sums, &raw_sums);
    float *padded = malloc(cells * (size_t)Q * sizeof *padded);
    query *queries = malloc((size_t)Q * sizeof *queries);
    int32_t *again = malloc(spare * (size_t)Q * sizeof *again);
    double *ranges = malloc((size_t)in->S * sizeof *ranges);
    const int enough = low && sums && padded && queries && again && ranges;
    if (enough) {
        for (ptrdiff_t n = 0; n < Q; n++) {
            const ptrdiff_t at = n * (ptrdiff_t)cells;
            bound(queries + n, tables + n * in->S * K, in->S, K, padded + at, low + at + n * (ptrdiff_t)spare * ENTRIES,
                  again + n * (ptrdiff_t)spare, ranges);
            queries[n].scores = scores + n * k;
            queries[n].rows = rows + n * k;
        }
        for (ptrdiff_t v = 0; v < V; v++) {
            if (v + 1 < V) expect(in, visits + v + 1);
            scan_slots(by, in, visits + v, queries, askers, k, sums);
        }
        for (ptrdiff_t n = 0; n < Q; n++) counts[n] = queries[n].found;
    }
    free(raw_low), free(raw_sums), free(padded), free(queries), free(again), free(ranges);
    return enough;
}
