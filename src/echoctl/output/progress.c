/* SPDX-License-Identifier: MIT */
/* One line on a terminal that shows how far a long exchange has come. */
#include "echoctl/output/progress.h"

#include <stdio.h>

#include "base/clock.h"

const char *progress_format_bytes(double bytes, char text[PROGRESS_BYTES_MAX])
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	size_t unit = 0;

	while (bytes >= 1024 && unit + 1 < sizeof(units) / sizeof(*units)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, PROGRESS_BYTES_MAX, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
	return text;
}

const char *progress_format(const struct progress_counts *now, uint64_t total_bytes,
			    char text[PROGRESS_TEXT_MAX])
{
	char received[PROGRESS_BYTES_MAX];
	char in_flight[PROGRESS_BYTES_MAX];
	char rate[PROGRESS_BYTES_MAX];
	double seconds = (double)now->elapsed_ns / CLOCK_NS_PER_S;
	double rate_bytes = seconds > 0 ? (double)now->bytes_received / seconds : 0;
	uint64_t outstanding = now->bytes_sent > now->bytes_received ?
				       now->bytes_sent - now->bytes_received : 0;
	int n;

	n = snprintf(text, PROGRESS_TEXT_MAX, "%s back, %s/s, %s in flight",
		     progress_format_bytes((double)now->bytes_received, received),
		     progress_format_bytes(rate_bytes, rate),
		     progress_format_bytes((double)outstanding, in_flight));
	if (total_bytes > now->bytes_received && rate_bytes > 0)
		snprintf(text + n, PROGRESS_TEXT_MAX - (size_t)n, ", %.0f%%, %.0f s left",
			 100.0 * (double)now->bytes_received / (double)total_bytes,
			 (double)(total_bytes - now->bytes_received) / rate_bytes);
	return text;
}

void progress_show(void *context, const struct progress_counts *now)
{
	struct progress *progress = context;
	char text[PROGRESS_TEXT_MAX];

	/* Carriage return, text, erase to the end of the line (ECMA-48 EL). */
	fprintf(stderr, "\r%s\033[K", progress_format(now, progress->total_bytes, text));
	progress->shown = true;
}

void progress_clear(struct progress *progress)
{
	if (progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}
