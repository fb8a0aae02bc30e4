/* The search for up to 16 queries whose look-ups are done together. */
#ifndef HCQ_SCAN_TOGETHER_H
#define HCQ_SCAN_TOGETHER_H

#include "scan.h"

/* Search for Q ≤ 16 queries in all slots; see hcq_scan. `by` has add_together. */
int hcq_scan_together(const kernel *by, const place *in, const float *tables, ptrdiff_t Q, ptrdiff_t K,
                      const answers *found);

#endif
