/* The scan kernels: exact top k over uint8 codes in kernel order (blocks.py), without the GIL.
 *
 * Each query's float table is rounded to few bits, every sub-quantizer from an offset of its own, all with one common
 * step. The sum of the entries, in unsigned 16 bits, gives an upper bound of a video's score. A video whose bound
 * cannot beat the k-th best score found so far is passed over; any other is scored again from the same codes by the
 * canonical sum: float64, in the order of the sub-quantizers. Of equal scores the lowest row is kept, in whatever order
 * rows come. Where it is told which rows are of one video, only the best of them is kept.
 *
 * A scan goes over ranges of slots (places in kernel order). Where codes lie by list (search/ivf.py), each range is
 * visited by the queries that asked for it alone, and `order` says which row each slot holds.
 *
 * Sixteen queries can be looked up together (together.c): their entries for a codeword lie side by side, and one
 * addition of vectors serves them all. That is faster wherever a look-up in a register takes many steps, as it does
 * without AVX-512 VBMI, and has sixteen bits for an entry: bounds so close that hardly a video is scored twice.
 *
 * sums.c      how the bounds are added up: the one thing that differs by processor
 * query.c     a query: its table, the canonical score, the k best so far
 * search.c    bounds in bytes, and the way through the codes
 * together.c  bounds in 16 bits, and the way of many queries together
 * module.c    the Python module
 */
#ifndef HCQ_SCAN_H
#define HCQ_SCAN_H

#include <stddef.h>
#include <stdint.h>

#define WIDTH 256       /* videos in a block */
#define ENTRIES 256     /* of a padded table */
#define MOST_SUM 65535  /* of an accumulator */
#define MOST_KERNELS 3
#define TOGETHER 16     /* queries looked up together */
#define AHEAD 8192      /* bytes of codes asked for ahead of their use: a scan is as fast as memory gives them */

/* How to add: start from zero; leave true sums; the codes are not in a cache yet. */
#define FIRST 1
#define LAST 2
#define FROM_MEMORY 4

/* Add the entries of `count` sub-quantizers to the sums of the 256 videos of some blocks that lie `stride` bytes apart,
 * or of one block's videos `from` to `to`, whole groups. codes [blocks, count, 256], tables [count, 256],
 * sums [blocks, 256]. */
typedef void (*accumulate)(const uint8_t *codes, ptrdiff_t stride, ptrdiff_t blocks, int from, int to,
                           const uint8_t *tables, ptrdiff_t count, uint16_t *sums, int how);

/* The same for 16 queries at once. codes [blocks, count, 256], tables [count, 256, 16], sums [blocks, 256, 16]. */
typedef void (*accumulate_together)(const uint8_t *codes, ptrdiff_t stride, ptrdiff_t blocks, const uint16_t *tables,
                                    ptrdiff_t count, uint16_t *sums, int how);

typedef struct {
    const char *name;
    accumulate add;
    accumulate_together add_together; /* NULL: one query after another is as fast */
    int group; /* videos whose even and odd ones are kept apart in the sums; 1: sums are in order */
} kernel;

/* Where codes lie, and what is known of each. */
typedef struct {
    const uint8_t *codes;  /* [B, S, 256] */
    ptrdiff_t S;
    int64_t slots;
    const uint32_t *order; /* [slots], the row of each slot; NULL: its own number */
    const uint8_t *dead;   /* [rows], rows never to be found; NULL: none */
    int64_t rows;          /* of `dead` */
    const uint32_t *videos; /* [slots], the number of the video that each is of; NULL: of one each */
} place;

/* Heaps [Q, k] of the best, filled in no particular order, and how far, [Q]. */
typedef struct {
    double *scores;
    int64_t *rows;
    uint32_t *videos; /* as in `place`; NULL with it */
    int64_t *counts;
    ptrdiff_t k;
} answers;

/* A range of slots that some queries want to see. */
typedef struct {
    int64_t first_slot, stop_slot, first_asker, stop_asker;
} visit;

/* Put the kernels that this processor can run into `known`, the fastest first; gives how many there are. */
int hcq_kernels(kernel known[MOST_KERNELS]);

/* Search for Q queries, tables [Q, S, K], in V visits of some of them, `askers`; all see all where `visits` is NULL.
 * Gives 0 without memory. */
int hcq_scan(const kernel *by, const place *in, const visit *visits, ptrdiff_t V, const int32_t *askers,
             const float *tables, ptrdiff_t Q, ptrdiff_t K, const answers *found);

#endif
