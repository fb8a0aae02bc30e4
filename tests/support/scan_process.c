/* One scan as a program of its own, for a processor that is emulated (tests/support/emulated.py): sizes and arrays come on
 * stdin, counts, scores and rows go to stdout. argv[1] is the kernel. */
#include "scan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { S, Q, K, MOST, SLOTS, VISITS, ASKERS, DEAD, ORDERED, OWNED, SIZES };

static void *take(size_t bytes)
{
    void *memory = malloc(bytes + 1);
    if (!memory || fread(memory, 1, bytes, stdin) != bytes) exit(3);
    return memory;
}

int main(int count, char **words)
{
    kernel known[MOST_KERNELS];
    const kernel *by = NULL;
    for (int n = hcq_kernels(known); n--;)
        if (count > 1 && !strcmp(known[n].name, words[1])) by = known + n;
    if (!by) return 2;
    const int64_t *size = take(SIZES * sizeof *size);
    const size_t blocks = (size_t)(size[SLOTS] + WIDTH - 1) / WIDTH;
    place in = {take(blocks * (size_t)size[S] * WIDTH), size[S], size[SLOTS], NULL, NULL, 0, NULL};
    const float *tables = take((size_t)(size[Q] * size[S] * size[K]) * sizeof *tables);
    const visit *visits = size[VISITS] < 0 ? NULL : take((size_t)size[VISITS] * sizeof *visits);
    const int32_t *askers = visits ? take((size_t)size[ASKERS] * sizeof *askers) : NULL;
    if (size[DEAD] >= 0) in.rows = size[DEAD], in.dead = take((size_t)size[DEAD]);
    if (size[ORDERED]) in.order = take((size_t)size[SLOTS] * sizeof *in.order);
    if (size[OWNED]) in.videos = take((size_t)size[SLOTS] * sizeof *in.videos);
    const size_t most = (size_t)(size[Q] * size[MOST]);
    double *scores = calloc(most + 1, sizeof *scores);
    int64_t *rows = calloc(most + 1, sizeof *rows), *counts = calloc((size_t)size[Q] + 1, sizeof *counts);
    uint32_t *videos = calloc(most + 1, sizeof *videos);
    if (!scores || !rows || !counts || !videos) return 3;
    const answers found = {scores, rows, in.videos ? videos : NULL, counts, size[MOST]};
    if (!hcq_scan(by, &in, visits, visits ? size[VISITS] : 0, askers, tables, size[Q], size[K], &found)) return 3;
    fwrite(counts, sizeof *counts, (size_t)size[Q], stdout);
    fwrite(scores, sizeof *scores, most, stdout);
    fwrite(rows, sizeof *rows, most, stdout);
    fwrite(videos, sizeof *videos, most, stdout);
    return 0;
}
