/* SPDX-License-Identifier: MIT */
/* Order, loss periods and jitter. */
#include "echoctl/datagram/order.h"

#include <math.h>

/* How many arrivals ago the first one came that was later than this one. */
static uint64_t extent_of(const struct order *order, uint64_t sequence)
{
	uint64_t first = order->arrivals;

	for (uint64_t i = 0; i < order->n_records && i < ORDER_RECORDS; i++) {
		uint64_t at = (order->n_records - 1 - i) % ORDER_RECORDS;

		if (order->records[at].sequence < sequence)
			break;
		first = order->records[at].arrival;
	}
	return order->arrivals - first;
}

bool order_arrived(struct order *order, uint64_t sequence)
{
	uint64_t last = (order->n_records + ORDER_RECORDS - 1) % ORDER_RECORDS;
	bool reordered = order->n_records > 0 && sequence < order->records[last].sequence;
	uint64_t extent;

	if (reordered) {
		extent = extent_of(order, sequence);
		order->reordered++;
		if (extent > order->extent_max)
			order->extent_max = extent;
	} else {
		order->records[order->n_records % ORDER_RECORDS].sequence = sequence;
		order->records[order->n_records % ORDER_RECORDS].arrival = order->arrivals;
		order->n_records++;
	}
	order->arrivals++;
	return reordered;
}

void order_settled(struct order *order, bool lost)
{
	order->lost_in_a_row = lost ? order->lost_in_a_row + 1 : 0;
	if (order->lost_in_a_row > order->lost_in_a_row_max)
		order->lost_in_a_row_max = order->lost_in_a_row;
}

void order_timed(struct order *order, uint64_t time_ns)
{
	if (order->last_time_ns > 0)
		order->jitter_ns += (fabs((double)time_ns - (double)order->last_time_ns) -
				     order->jitter_ns) / 16;
	order->last_time_ns = time_ns;
}
