/* A query of a scan: its table, how its bounds are counted, the k best videos so far. */
#ifndef HCQ_SCAN_QUERY_H
#define HCQ_SCAN_QUERY_H

#include "scan.h"

typedef struct {
    const float *table;  /* [S, 256], padded with each sub-quantizer's last entry */
    double offset, step; /* a score is at most offset + sum·step, give or take `error` */
    double error;
    int bounded;         /* 0: the table cannot be bounded, every video is scored */
    long threshold;      /* least sum that may still matter */
    double *scores;      /* heap of the k best, the worst first */
    int64_t *rows;
    uint32_t *videos;    /* of each, where only the best row of a video is kept; else NULL */
    uint32_t *cells;     /* where `places` has each */
    uint32_t *places;    /* hash table of `mask` + 1 cells: by its video, the place in the heap of each, from 1 */
    uint32_t mask;
    ptrdiff_t found, k;
} query;

/* The entries of a sub-quantizer lie between. */
typedef struct {
    float least, most;
} range;

/* Begin with the heaps of Q queries in `found`; gives 0 without memory. What to free is `to_free`. */
int hcq_begin(query *queries, ptrdiff_t Q, const answers *found, void **to_free);

/* Pad a query's table [S, K] to `padded` [S, 256]; gives its ranges [S] and their total. */
double hcq_prepare(query *q, const float *table, ptrdiff_t S, ptrdiff_t K, float *padded, range *ranges);

/* Round the 256 entries of sub-quantizer `s` to `whole` steps of at most `most`, once the query has its step.
 *
 * They are counted from the top: what lies more than `most` steps below the greatest counts as if it did not, since a
 * video among the best hardly has such an entry. Above that they are rounded down, and the most that rounding took
 * from any goes to the query's offset: the whole range where that is less than a step, and never more than a step. */
void hcq_round(query *q, ptrdiff_t s, range of, int most, uint16_t *whole);

/* Score video `v` of a block canonically and keep it if it is among the best; the threshold follows. */
void hcq_consider(query *q, const place *in, int64_t block, int v);

/* Memory for vectors; what to free is `to_free`. */
void *hcq_aligned(size_t bytes, void **to_free);

#endif
