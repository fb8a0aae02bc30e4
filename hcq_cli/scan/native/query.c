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

int hcq_begin(query *queries, ptrdiff_t Q, const answers *found, void **to_free)
{
    size_t cells = 4;
    while (found->videos && cells < 2 * (size_t)found->k) cells *= 2;
    const size_t each = cells + (size_t)found->k;
    uint32_t *memory = found->videos ? calloc((size_t)Q * each, sizeof *memory) : NULL;
    *to_free = memory;
    for (ptrdiff_t n = 0; n < Q; n++, memory += found->videos ? each : 0) {
        query *q = queries + n;
        q->scores = found->scores + n * found->k, q->rows = found->rows + n * found->k;
        q->videos = found->videos ? found->videos + n * found->k : NULL;
        q->places = memory, q->cells = memory ? memory + cells : NULL, q->mask = (uint32_t)cells - 1;
        q->found = 0, q->k = found->k;
    }
    return *to_free || !found->videos;
}

static uint32_t home(const query *q, uint32_t video) { return (video * 2654435769u >> 7) & q->mask; }

/* The cell that has the place of a video, or the free one where it would be. */
static uint32_t cell_of(const query *q, uint32_t video)
{
    uint32_t cell = home(q, video);
    while (q->places[cell] && q->videos[q->places[cell] - 1] != video) cell = (cell + 1) & q->mask;
    return cell;
}

/* Free a cell; what lies behind it moves up, so that nothing is looked for beyond a free one. */
static void free_cell(query *q, uint32_t cell)
{
    for (uint32_t next = (cell + 1) & q->mask; q->places[next]; next = (next + 1) & q->mask) {
        const uint32_t place = q->places[next] - 1;
        if (((next - home(q, q->videos[place])) & q->mask) < ((next - cell) & q->mask)) continue;
        q->places[cell] = place + 1, q->cells[place] = cell;
        cell = next;
    }
    q->places[cell] = 0;
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
    if (!q->videos) return;
    const uint32_t video = q->videos[a], cell = q->cells[a];
    q->videos[a] = q->videos[b], q->cells[a] = q->cells[b];
    q->videos[b] = video, q->cells[b] = cell;
    q->places[q->cells[a]] = (uint32_t)a + 1, q->places[cell] = (uint32_t)b + 1;
}

/* Let what has become better sink into the heap. */
static void sink(query *q, ptrdiff_t at)
{
    for (;;) {
        ptrdiff_t worst = at, left = 2 * at + 1, right = left + 1;
        if (left < q->found && worse(q, left, worst)) worst = left;
        if (right < q->found && worse(q, right, worst)) worst = right;
        if (worst == at) return;
        swap(q, at, worst);
        at = worst;
    }
}

/* Put a row in place `at` of the heap, whatever was there. */
static void put(query *q, ptrdiff_t at, double score, int64_t row, uint32_t video)
{
    q->scores[at] = score, q->rows[at] = row;
    if (!q->videos) return;
    q->videos[at] = video, q->cells[at] = cell_of(q, video);
    q->places[q->cells[at]] = (uint32_t)at + 1;
}

static int is_full(const query *q) { return q->found == q->k; }

static void keep(query *q, double score, int64_t row, uint32_t video)
{
    const uint32_t place = q->videos ? q->places[cell_of(q, video)] : 0;
    if (place) {
        const ptrdiff_t at = (ptrdiff_t)place - 1;
        if (!(score > q->scores[at] || (score == q->scores[at] && row < q->rows[at]))) return;
        q->scores[at] = score, q->rows[at] = row;
        sink(q, at);
    } else if (is_full(q)) {
        if (q->videos) free_cell(q, q->cells[0]);
        put(q, 0, score, row, video);
        sink(q, 0);
    } else {
        ptrdiff_t at = q->found++;
        put(q, at, score, row, video);
        for (; at > 0 && worse(q, at, (at - 1) / 2); at = (at - 1) / 2) swap(q, at, (at - 1) / 2);
    }
}

/* The least sum whose bound reaches the worst score kept: equal ones may come first by row. */
static long threshold(const query *q)
{
    const double least = (q->scores[0] - q->offset - q->error) / q->step;
    if (!(least > 0)) return 0;
    return least > MOST_SUM ? MOST_SUM + 1 : (long)floor(least - 1e-6);
}

void hcq_consider(query *q, const place *in, int64_t block, int v)
{
    const uint8_t *codes = in->codes + block * in->S * WIDTH + v;
    const int64_t slot = block * WIDTH + v, row = in->order ? in->order[slot] : slot;
    if (in->dead && (row >= in->rows || in->dead[row])) return;
    double score = 0;
    for (ptrdiff_t s = 0; s < in->S; s++) score += q->table[s * ENTRIES + codes[s * WIDTH]];
    if (is_full(q) && !(score > q->scores[0] || (score == q->scores[0] && row < q->rows[0]))) return;
    keep(q, score, row, in->videos ? in->videos[slot] : 0);
    if (is_full(q) && q->bounded) q->threshold = threshold(q);
}

void *hcq_aligned(size_t bytes, void **to_free)
{
    char *memory = malloc(bytes + ALIGNMENT);
    *to_free = memory;
    return memory ? memory + (ALIGNMENT - (uintptr_t)memory % ALIGNMENT) : NULL;
}
