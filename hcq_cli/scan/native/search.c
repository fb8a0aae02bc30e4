/* The search: each query's bounds in bytes, and the way through the codes. */
#include "query.h"
#include "together.h"

#include <stdlib.h>

#define TILE 64         /* sub-quantizers whose uint8 tables (16 KiB) stay in the first-level cache */
#define SUPERBLOCK 8    /* blocks that all queries pass over before the next are read from memory */
#define FINER 1.19      /* steps that are tried go down by a fourth root of two */
#define MOST_TRIES 24
#define CLIPPED 0.3     /* what is clipped counts less than what rounding adds: videos among the best have little of it */
#define FEWEST_TOGETHER 4 /* queries that are faster looked up together (together.c) than one by one */

/* How far bounds lie above scores, about: half a step where a range is longer than one, and what is clipped. */
static double looseness(const float *padded, const range *ranges, ptrdiff_t S, ptrdiff_t K, double step, int most)
{
    double rounding = 0, clipped = 0;
    for (ptrdiff_t s = 0; s < S; s++) {
        const double length = (double)ranges[s].most - ranges[s].least, base = ranges[s].most - most * step;
        rounding += (length < step ? length : step) / 2;
        if (length <= most * step) continue;
        double below = 0;
        for (ptrdiff_t c = 0; c < K; c++) below += padded[s * ENTRIES + c] < base ? base - padded[s * ENTRIES + c] : 0;
        clipped += below / (double)K;
    }
    return rounding + CLIPPED * clipped;
}

/* Round a query's table [S, K] to bytes `low` [S, 256].
 *
 * After a rotation few sub-quantizers have most of the range. A step that brings the widest to 255 leaves the others
 * with hardly a step, and bounds so wide that a tenth of all videos has to be scored. So the step is a smaller one, with
 * which bounds are the closest although the least entries of the widest are clipped. */
static void bound(query *q, const float *table, ptrdiff_t S, ptrdiff_t K, float *padded, uint8_t *low, range *ranges)
{
    const int most = MOST_SUM / S < 255 ? (int)(MOST_SUM / S) : 255;
    hcq_prepare(q, table, S, K, padded, ranges);
    double widest = 0; /* not by fmax: GCC 12 for aarch64 fails at its vectors */
    for (ptrdiff_t s = 0; s < S; s++) {
        const double length = (double)ranges[s].most - ranges[s].least;
        widest = length > widest ? length : widest;
    }
    q->step = widest / most;
    double least = looseness(padded, ranges, S, K, q->step, most);
    for (int tries = 0; q->bounded && tries < MOST_TRIES; tries++) {
        const double loose = looseness(padded, ranges, S, K, q->step / FINER, most);
        if (!(loose < least)) break;
        least = loose;
        q->step /= FINER;
    }
    uint16_t whole[ENTRIES];
    for (ptrdiff_t s = 0; s < S; s++, low += ENTRIES) {
        hcq_round(q, s, ranges[s], most, whole);
        for (ptrdiff_t c = 0; c < ENTRIES; c++) low[c] = (uint8_t)whole[c];
    }
}

/* Consider the videos `from` to `to` of a block whose bound promises something. */
static void choose(query *q, const kernel *by, const place *in, int64_t block, int from, int to, const uint16_t *sums)
{
    for (int v = from; v < to; v++) {
        const int in_group = v % by->group, half = by->group / 2;
        const int at = by->group == 1 ? v : v - in_group + in_group / 2 + (in_group % 2) * half;
        if (sums[at] >= q->threshold) hcq_consider(q, in, block, v);
    }
}

static int promising(const uint16_t *sums, int from, int to, long least)
{
    if (least > MOST_SUM) return 0;
    unsigned any = 0;
    const uint16_t limit = (uint16_t)least;
    for (int v = from; v < to; v++) any |= sums[v] >= limit;
    return any != 0;
}

/* Let some queries see the slots of one visit. A block that it begins or ends within is taken by itself: of a list of a
 * thousand videos the rest of two blocks would be a quarter. */
static void scan_slots(const kernel *by, const place *in, const visit *seen, query *queries, const uint8_t *tables,
                       const int32_t *askers, uint16_t *sums)
{
    const ptrdiff_t S = in->S;
    const int64_t blocks = (seen->stop_slot + WIDTH - 1) / WIDTH;
    const int64_t together = seen->stop_asker - seen->first_asker > 1 ? SUPERBLOCK : 1;
    int64_t stop;
    for (int64_t start = seen->first_slot / WIDTH; start < blocks; start = stop) {
        const int from = seen->first_slot > start * WIDTH ? (int)(seen->first_slot - start * WIDTH) : 0;
        stop = from ? start + 1 : start + together < blocks ? start + together : blocks;
        if (stop - start > 1 && stop * WIDTH > seen->stop_slot) stop--;
        const int to = stop * WIDTH > seen->stop_slot ? (int)(seen->stop_slot - start * WIDTH) : WIDTH;
        const int first = from / by->group * by->group, last = (to + by->group - 1) / by->group * by->group;
        for (int64_t n = seen->first_asker; n < seen->stop_asker; n++) {
            query *q = queries + (askers ? askers[n] : n);
            const uint8_t *low = tables + (q - queries) * S * ENTRIES;
            const int unread = n == seen->first_asker ? FROM_MEMORY : 0;
            for (ptrdiff_t s = 0; s < S; s += TILE) {
                const ptrdiff_t count = S - s < TILE ? S - s : TILE;
                by->add(in->codes + (start * S + s) * WIDTH, S * WIDTH, stop - start, first, last, low + s * ENTRIES,
                        count, sums, (s == 0 ? FIRST : 0) | (s + count == S ? LAST : 0) | unread);
            }
            for (int64_t b = start; b < stop; b++) {
                const uint16_t *block_sums = sums + (b - start) * WIDTH;
                if (promising(block_sums, first, last, q->threshold)) choose(q, by, in, b, from, to, block_sums);
            }
        }
    }
}

/* Ask for the first codes of a visit to come: nothing of what lies before them has asked for them. */
static void expect(const place *in, const visit *next)
{
#if defined(__GNUC__) || defined(__clang__)
    const uint8_t *codes = in->codes + next->first_slot / WIDTH * in->S * WIDTH;
    for (ptrdiff_t at = 0; at < AHEAD; at += 64) __builtin_prefetch(codes + at, 0, 2);
#else
    (void)in, (void)next;
#endif
}

/* Every visit, by those who asked for it one after another. */
static int scan_single(const kernel *by, const place *in, const visit *visits, ptrdiff_t V, const int32_t *askers,
                       const float *tables, ptrdiff_t Q, ptrdiff_t K, const answers *found)
{
    const size_t cells = (size_t)in->S * ENTRIES;
    void *raw_low = NULL, *raw_sums = NULL, *raw_places = NULL;
    uint8_t *low = hcq_aligned(cells * (size_t)Q, &raw_low);
    uint16_t *sums = hcq_aligned(SUPERBLOCK * WIDTH * sizeof *sums, &raw_sums);
    float *padded = malloc(cells * (size_t)Q * sizeof *padded);
    query *queries = malloc((size_t)Q * sizeof *queries);
    range *ranges = malloc((size_t)in->S * sizeof *ranges);
    const int enough = low && sums && padded && queries && ranges && hcq_begin(queries, Q, found, &raw_places);
    if (enough) {
        for (ptrdiff_t n = 0; n < Q; n++) {
            const ptrdiff_t at = n * (ptrdiff_t)cells;
            bound(queries + n, tables + n * in->S * K, in->S, K, padded + at, low + at, ranges);
        }
        const visit everything = {0, in->slots, 0, Q};
        if (!visits) visits = &everything, V = 1;
        for (ptrdiff_t v = 0; v < V; v++) {
            if (v + 1 < V) expect(in, visits + v + 1);
            scan_slots(by, in, visits + v, queries, low, askers, sums);
        }
        for (ptrdiff_t n = 0; n < Q; n++) found->counts[n] = queries[n].found;
    }
    free(raw_low), free(raw_sums), free(raw_places), free(padded), free(queries), free(ranges);
    return enough;
}

/* The answers to the queries from `done` on. */
static answers rest(const answers *all, ptrdiff_t done)
{
    const ptrdiff_t at = done * all->k;
    return (answers){all->scores + at, all->rows + at, all->videos ? all->videos + at : NULL, all->counts + done, all->k};
}

int hcq_scan(const kernel *by, const place *in, const visit *visits, ptrdiff_t V, const int32_t *askers,
             const float *tables, ptrdiff_t Q, ptrdiff_t K, const answers *found)
{
    ptrdiff_t done = 0;
    answers left = *found;
    while (by->add_together && !visits && Q - done >= FEWEST_TOGETHER) {
        const ptrdiff_t more = Q - done < TOGETHER ? Q - done : TOGETHER;
        if (!hcq_scan_together(by, in, tables + done * in->S * K, more, K, &left)) return 0;
        left = rest(found, done += more);
    }
    return done == Q || scan_single(by, in, visits, V, askers, tables + done * in->S * K, Q - done, K, &left);
}
