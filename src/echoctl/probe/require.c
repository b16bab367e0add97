/* SPDX-License-Identifier: MIT */
/* Bounds of latency and loss. */
#include "echoctl/probe/require.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

#define LOSS (-1.0)

/* A number of at most max with that behind it, and nothing else. */
static bool parse_number(const char *text, const char *unit, double max, double *ret_value)
{
	char *end;

	/* strtod() alone would take "inf", "0x10" and blanks. */
	if (strspn(text, "0123456789.") == 0)
		return false;
	*ret_value = strtod(text, &end);
	return strcmp(end, unit) == 0 && *ret_value <= max;
}

const char *require_take(void *data, const char *text)
{
	struct require *require = data;
	struct require_bound *bound = &require->bounds[require->n];
	const char *below = strchr(text, '<');
	uint64_t us;

	if (require->n == REQUIRE_MAX)
		return "too many requirements";
	if (!below || strlen(text) >= sizeof(bound->text))
		return "not a requirement (as p99<20ms, max<1s, loss<0.1%)";
	strcpy(bound->text, text);
	bound->text[below - text] = '\0';
	if (strcmp(bound->text, "loss") == 0)
		bound->percent = LOSS;
	else if (strcmp(bound->text, "max") == 0)
		bound->percent = 100;
	else if (bound->text[0] != 'p' || !parse_number(bound->text + 1, "", 100, &bound->percent))
		return "neither a percentile (as p50, p99.9), nor max, nor loss";
	bound->text[below - text] = '<';
	if (bound->percent < 0) {
		if (!parse_number(below + 1, "%", 100, &bound->limit))
			return "not a share (as 0.1%)";
		require->has_loss = true;
	} else {
		if (duration_parse(below + 1, &us) < 0)
			return "not a duration (as 20ms)";
		bound->limit = (double)us * 1e3;
	}
	require->n++;
	return NULL;
}

static bool judge_one(const struct require_bound *bound, const struct histogram *latency,
		      double loss_percent, struct report *report)
{
	bool is_loss = bound->percent < 0;
	bool measured = is_loss || latency->count > 0;
	uint64_t ns = is_loss ? 0 : histogram_percentile(latency, bound->percent);
	bool holds = measured && (is_loss ? loss_percent : (double)ns) < bound->limit;
	json_t *event = json_pack("{s:s, s:s, s:b}", "event", "requirement", "require", bound->text,
				  "holds", holds);
	char text[UNITS_TEXT_MAX] = "nothing";

	if (is_loss) {
		snprintf(text, sizeof(text), "%.4g%%", loss_percent);
		json_object_set_new(event, "measured_percent", json_real(loss_percent));
	} else if (measured) {
		units_time(ns, text);
		json_object_set_new(event, "measured_ns", json_integer((json_int_t)ns));
	}
	report_json(report, event);
	report_text(report, "%s%srequired %s: %s, measured %s\n",
		    report->target ? report->target : "", report->target ? ": " : "", bound->text,
		    holds ? "holds" : "does not hold", text);
	return holds;
}

bool require_judge(const struct require *require, const struct histogram *latency, uint64_t failed,
		   uint64_t total, struct report *report)
{
	double loss_percent = total > 0 ? 100 * (double)failed / (double)total : 100;
	bool holds = true;

	for (size_t i = 0; i < require->n; i++)
		holds &= judge_one(&require->bounds[i], latency, loss_percent, report);
	return holds;
}
