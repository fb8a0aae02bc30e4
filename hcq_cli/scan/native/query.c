/* A query of a scan (query.h). */
#include "query.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 64
#define LANES 16

/* The least and the greatest of a table's entries, in lanes that a compiler makes vectors of. Where one is no number or
 * infinite, none: comparisons alone would pass over it. */
static range extremes(const float *entries)
{
    float low[LANES], high[LANES], odd[LANES] = {0};
    for (int lane = 0; lane < LANES; lane++) low[lane] = high[lane] = entries[0];
    for (ptrdiff_t c = 0; c < ENTRIES; c += LANES)
        for (int lane = 0; lane < LANES; lane++) {
            const float entry = entries[c + lane];
            low[lane] = entry < low[lane] ? entry : low[lane];
            high[lane] = entry > high[lane] ? entry : high[lane];
            odd[lane] += entry * 0;
        }
    range of = {low[0], high[0]};
    for (int lane = 1; lane < LANES; lane++) {
        of.least = low[lane] < of.least ? low[lane] : of.least;
        of.most = high[lane] > of.most ? high[lane] : of.most;
        odd[0] += odd[lane];
    }
    return odd[0] == 0 ? of : (range){NAN, NAN};
}

double hcq_prepare(query *q, const float *table, ptrdiff_t S, ptrdiff_t K, float *padded, range *ranges)
{
    double total = 0, magnitude = 0;
    for (ptrdiff_t s = 0; s < S; s++) {
        float *entries = padded + s * ENTRIES;
        memcpy(entries, table + s * K, (size_t)K * sizeof *entries);
        for (ptrdiff_t c = K; c < ENTRIES; c++) entries[c] = entries[K - 1];
        ranges[s] = extremes(entries);
        total += (double)ranges[s].most - ranges[s].least;
        magnitude += fmax(fabs((double)ranges[s].least), fabs((double)ranges[s].most));
    }
    /* Rounding of sums, differences and quotients in float64, generously. */
    q->error = 8 * (double)(S + 8) * 1.2e-16 * magnitude;
    q->bounded = isfinite(magnitude) && total > 0 && isfinite(MOST_SUM / total) && S < MOST_SUM / 2;
    q->table = padded;
    q->offset = 0;
    q->threshold = 0;
    q->found = 0;
    return total;
}

/* In short loops, each of which a compiler makes vectors of. */
void hcq_round(query *q, ptrdiff_t s, range of, int most, uint16_t *whole)
{
    const float *entries = q->table + s * ENTRIES;
    const double lowest = of.most - most * q->step, base = of.least > lowest ? of.least : lowest;
    const double steps_a_unit = q->bounded ? 1 / q->step : 0, limit = most;
    double above[ENTRIES], steps[ENTRIES];
    int rounded[ENTRIES];
    for (int c = 0; c < ENTRIES; c++) above[c] = (entries[c] - base) * steps_a_unit;
    for (int c = 0; c < ENTRIES; c++) steps[c] = above[c] < limit ? above[c] : limit;
    for (int c = 0; c < ENTRIES; c++) rounded[c] = (int)(steps[c] > 0 ? steps[c] : 0);
    for (int c = 0; c < ENTRIES; c++) whole[c] = (uint16_t)rounded[c];
    for (int c = 0; c < ENTRIES; c++) above[c] -= rounded[c];
    for (int half = ENTRIES / 2; half; half /= 2)
        for (int c = 0; c < half; c++) above[c] = above[c] > above[c + half] ? above[c] : above[c + half];
    const double lost = above[0] > 0 ? above[0] : 0;
    q->offset += base + lost * q->step;
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

/* The least sum whose bound reaches the worst score kept: equal ones may come first by row. */
static long threshold(const query *q)
{
    const double least = (q->scores[0] - q->offset - q->error) / q->step;
    if (!(least > 0)) return 0;
    return least > MOST_SUM ? MOST_SUM + 1 : (long)floor(least - 1e-6);
}

void hcq_consider(query *q, const place *in, int64_t block, int v, ptrdiff_t k)
{
    const uint8_t *codes = in->codes + block * in->S * WIDTH + v;
    const int64_t slot = block * WIDTH + v, row = in->order ? in->order[slot] : slot;
    if (in->dead && (row >= in->rows || in->dead[row])) return;
    double score = 0;
    for (ptrdiff_t s = 0; s < in->S; s++) score += q->table[s * ENTRIES + codes[s * WIDTH]];
    if (q->found == k && !(score > q->scores[0] || (score == q->scores[0] && row < q->rows[0]))) return;
    keep(q, k, score, row);
    if (q->found == k && q->bounded) q->threshold = threshold(q);
}

void *hcq_aligned(size_t bytes, void **to_free)
{
    char *memory = malloc(bytes + ALIGNMENT);
    *to_free = memory;
    return memory ? memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT) : NULL;
}
