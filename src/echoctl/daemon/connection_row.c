/* SPDX-License-Identifier: MIT */
/* Rows of the table of connections. */
#include "echoctl/daemon/connection_row.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/address.h"
#include "base/clock.h"
#include "echoctl/daemon/client.h"
#include "echoctl/daemon/status_screen.h"
#include "echoctl/output/progress.h"

void row_read(struct connection_row *row, json_t *reply)
{
	json_int_t worker = 0, age_ns = 0, idle_ns = 0, in = 0, out = 0, in_rate = 0, out_rate = 0;

	json_unpack(reply, "{s?I, s?I, s?I, s?I, s?I, s?I, s?I}", "worker", &worker, "age_ns",
		    &age_ns, "idle_ns", &idle_ns, "bytes_in", &in, "bytes_out", &out,
		    "bytes_in_per_s", &in_rate, "bytes_out_per_s", &out_rate);
	*row = (struct connection_row){
		.worker = worker, .age_ns = age_ns, .idle_ns = idle_ns, .bytes_in = in,
		.bytes_out = out, .rate = in_rate + out_rate,
		.half_closed = json_is_true(json_object_get(reply, "half_closed")),
	};
	snprintf(row->id, sizeof(row->id), "%s", control_text(reply, "id"));
	snprintf(row->peer, sizeof(row->peer), "%s", control_text(reply, "peer"));
	snprintf(row->local, sizeof(row->local), "%s", control_text(reply, "local"));
}

/* False for a peer that has no address: a Unix one. */
static bool is_in_source(const char *peer, const struct cidr *source)
{
	struct address_spec spec;
	struct cidr address;

	if (address_parse(peer, 0, &spec, NULL) < 0 || spec.is_unix)
		return false;
	*strchrnul(spec.host, '%') = '\0';
	return cidr_parse(spec.host, &address, NULL) == 0 &&
	       cidr_contains(source->prefix, source->bits, address.prefix);
}

bool row_passes(const struct connection_row *row, const struct row_filter *filter)
{
	return (uint64_t)row->idle_ns / 1000 >= filter->idle_over_us &&
	       (uint64_t)row->age_ns / 1000 >= filter->age_over_us &&
	       (!filter->has_source || is_in_source(row->peer, &filter->source));
}

/* 3.9 before 3.10 before 12.1. */
static int by_id(const void *a, const void *b)
{
	return strverscmp(((const struct connection_row *)a)->id,
			  ((const struct connection_row *)b)->id);
}

static int by_peer(const void *a, const void *b)
{
	int order = strverscmp(((const struct connection_row *)a)->peer,
			       ((const struct connection_row *)b)->peer);

	return order ? order : by_id(a, b);
}

static int by_local(const void *a, const void *b)
{
	int order = strverscmp(((const struct connection_row *)a)->local,
			       ((const struct connection_row *)b)->local);

	return order ? order : by_id(a, b);
}

#define BIGGEST_FIRST(column)						\
static int by_##column(const void *a, const void *b)			\
{									\
	int64_t x = ((const struct connection_row *)a)->column;		\
	int64_t y = ((const struct connection_row *)b)->column;		\
									\
	return x == y ? by_id(a, b) : x < y ? 1 : -1;			\
}

BIGGEST_FIRST(worker)
BIGGEST_FIRST(age_ns)
BIGGEST_FIRST(idle_ns)
BIGGEST_FIRST(bytes_in)
BIGGEST_FIRST(bytes_out)
BIGGEST_FIRST(rate)

row_compare row_compare_by(const char *column)
{
	static const struct {
		const char *name;
		row_compare compare;
	} columns[] = {
		{ "id", by_id }, { "peer", by_peer }, { "local", by_local },
		{ "age", by_age_ns }, { "idle", by_idle_ns }, { "in", by_bytes_in },
		{ "out", by_bytes_out }, { "rate", by_rate }, { "worker", by_worker },
	};

	for (size_t i = 0; i < sizeof(columns) / sizeof(*columns); i++)
		if (!strcmp(columns[i].name, column))
			return columns[i].compare;
	return NULL;
}

static void widen(int *width, const char *text)
{
	int length = (int)strlen(text);

	if (length > *width)
		*width = length;
}

void row_measure(const struct connection_row *row, struct row_widths *widths)
{
	widen(&widths->id, row->id);
	widen(&widths->peer, row->peer);
	widen(&widths->local, row->local);
}

void row_print_head(struct report *report, const struct row_widths *widths)
{
	report_text(report, "%-*s %-*s %-*s %12s %12s %10s %10s %12s %8s\n", widths->id, "ID",
		    widths->peer, "PEER", widths->local, "LOCAL", "AGE", "IDLE", "IN", "OUT",
		    "RATE", "WORKER");
}

void row_print(struct report *report, const struct connection_row *row,
	       const struct row_widths *widths)
{
	char age[STATUS_AGE_MAX], idle[STATUS_AGE_MAX];
	char in[PROGRESS_BYTES_MAX], out[PROGRESS_BYTES_MAX];
	char rate[PROGRESS_BYTES_MAX], rate_text[PROGRESS_BYTES_MAX + 3];

	snprintf(rate_text, sizeof(rate_text), "%s/s",
		 progress_format_bytes((double)row->rate, rate));
	report_text(report, "%-*s %-*s %-*s %12s %12s %10s %10s %12s %8" PRId64 "%s\n",
		    widths->id, row->id, widths->peer, row->peer, widths->local, row->local,
		    status_age((uint64_t)row->age_ns, age),
		    status_age((uint64_t)row->idle_ns, idle),
		    progress_format_bytes((double)row->bytes_in, in),
		    progress_format_bytes((double)row->bytes_out, out), rate_text, row->worker,
		    row->half_closed ? " half-closed" : "");
}
