/* The search for up to 16 queries whose look-ups are done together (together.h). */
#include "query.h"
#include "together.h"

#include <stdlib.h>
#include <string.h>

#define TILE 16      /* sub-quantizers whose tables (128 KiB) stay in the second-level cache */
#define SUPERBLOCK 8 /* blocks whose sums (64 KiB) stay there too */

/* Round a query's table [S, K] to 16 bits; its entries lie at `words` [S, 256, 16], 16 apart.
 *
 * One step for all, nothing clipped: the greatest sum is the last an accumulator can hold. */
static void bound(query *q, const float *table, ptrdiff_t S, ptrdiff_t K, float *padded, uint16_t *words,
                  range *ranges)
{
    q->step = hcq_prepare(q, table, S, K, padded, ranges) / (MOST_SUM - 1);
    uint16_t whole[ENTRIES];
    for (ptrdiff_t s = 0; s < S; s++) {
        hcq_round(q, s, ranges[s], MOST_SUM, whole);
        for (ptrdiff_t c = 0; c < ENTRIES; c++, words += TOGETHER) *words = whole[c];
    }
}

/* The least sums that matter, one a query; where none does, `possible` is 0. */
typedef struct {
    uint16_t least[TOGETHER], possible[TOGETHER];
} limits;

static void limit(limits *all, ptrdiff_t n, const query *q)
{
    all->possible[n] = q->threshold <= MOST_SUM;
    all->least[n] = (uint16_t)(q->threshold <= MOST_SUM ? q->threshold : MOST_SUM);
}

static int promising(const uint16_t *sums, const limits *all)
{
    uint16_t any = 0;
    for (int n = 0; n < TOGETHER; n++) any |= (uint16_t)((sums[n] >= all->least[n]) & all->possible[n]);
    return any;
}

static void scan_all(const kernel *by, const place *in, query *queries, ptrdiff_t Q, const uint16_t *words,
                     uint16_t *sums)
{
    const ptrdiff_t S = in->S;
    const int64_t blocks = (in->slots + WIDTH - 1) / WIDTH;
    limits all;
    memset(&all, 0, sizeof all);
    for (ptrdiff_t n = 0; n < Q; n++) limit(&all, n, queries + n);
    for (int64_t start = 0; start < blocks; start += SUPERBLOCK) {
        const int64_t stop = start + SUPERBLOCK < blocks ? start + SUPERBLOCK : blocks;
        for (ptrdiff_t s = 0; s < S; s += TILE)
            by->add_together(in->codes + (start * S + s) * WIDTH, S * WIDTH, stop - start,
                             words + s * ENTRIES * TOGETHER, S - s < TILE ? S - s : TILE, sums, s == 0 ? FIRST : 0);
        const int64_t first = start * WIDTH, last = stop * WIDTH < in->slots ? stop * WIDTH : in->slots;
        for (int64_t slot = first; slot < last; slot++) {
            const uint16_t *of_video = sums + (slot - first) * TOGETHER;
            if (!promising(of_video, &all)) continue;
            for (ptrdiff_t n = 0; n < Q; n++) {
                if (of_video[n] < queries[n].threshold) continue;
                hcq_consider(queries + n, in, slot / WIDTH, (int)(slot % WIDTH));
                limit(&all, n, queries + n);
            }
        }
    }
}

int hcq_scan_together(const kernel *by, const place *in, const float *tables, ptrdiff_t Q, ptrdiff_t K,
                      const answers *found)
{
    const size_t cells = (size_t)in->S * ENTRIES;
    void *raw_words = NULL, *raw_sums = NULL, *raw_places = NULL;
    query queries[TOGETHER];
    uint16_t *words = hcq_aligned(cells * TOGETHER * sizeof *words, &raw_words);
    uint16_t *sums = hcq_aligned(SUPERBLOCK * WIDTH * TOGETHER * sizeof *sums, &raw_sums);
    float *padded = malloc(cells * (size_t)Q * sizeof *padded);
    range *ranges = malloc((size_t)in->S * sizeof *ranges);
    const int enough = words && sums && padded && ranges && hcq_begin(queries, Q, found, &raw_places);
    if (enough) {
        memset(words, 0, cells * TOGETHER * sizeof *words);
        for (ptrdiff_t n = 0; n < Q; n++)
            bound(queries + n, tables + n * in->S * K, in->S, K, padded + n * (ptrdiff_t)cells, words + n, ranges);
        scan_all(by, in, queries, Q, words, sums);
        for (ptrdiff_t n = 0; n < Q; n++) found->counts[n] = queries[n].found;
    }
    free(raw_words), free(raw_sums), free(raw_places), free(padded), free(ranges);
    return enough;
}
