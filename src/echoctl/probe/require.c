/* SPDX-License-Identifier: MIT */
/* Bounds of what was measured. */
#include "echoctl/probe/require.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/number.h"

static const struct {
	const char *name;	/* a percentile is p and a number, too */
	const char *unit;	/* of its limit; NULL: a duration */
	const char *key;	/* of the JSON that has what was measured */
} whats[] = {
	[REQUIRE_PERCENTILE] = { "max", NULL, "measured_ns" },
	[REQUIRE_MEAN] = { "mean", NULL, "measured_ns" },
	[REQUIRE_LOSS] = { "loss", "%", "measured_percent" },
	[REQUIRE_ERRORS] = { "errors", "", "measured" },
	[REQUIRE_RATE] = { "rate", "", "measured_per_s" },
	[REQUIRE_RETRANSMITS] = { "retransmits", "", "measured" },
};

/* A number of at most max with that behind it, and nothing else. */
static bool parse_number(const char *text, const char *unit, double max, double *ret_value)
{
	size_t length = strspn(text, "0123456789.");
	char *end;

	/* strtod() alone would take "inf", "0x10" and blanks. */
	if (length == 0 || strcmp(text + length, unit) != 0)
		return false;
	*ret_value = strtod(text, &end);
	return end == text + length && *ret_value <= max;
}

/* Reads what is bounded. Returns NULL, or what is wrong with it. */
static const char *take_what(const struct require *require, const char *name,
			     struct require_bound *bound)
{
	bound->percent = 100;
	for (size_t i = 0; i < sizeof(whats) / sizeof(*whats); i++) {
		bound->what = i;
		if (strcmp(name, whats[i].name) != 0)
			continue;
		if (i >= REQUIRE_RATE && !require->of_load)
			return "rate and retransmits are measured by load only";
		return NULL;
	}
	bound->what = REQUIRE_PERCENTILE;
	if (name[0] == 'p' && parse_number(name + 1, "", 100, &bound->percent))
		return NULL;
	return "neither a percentile (as p50, p99.9), nor max, mean, loss, errors, rate, "
		"retransmits";
}

/* Reads its limit. Returns NULL, or what is wrong with it. */
static const char *take_limit(const char *text, struct require_bound *bound)
{
	const char *unit = whats[bound->what].unit;
	uint64_t us;

	if (!unit) {
		bound->limit = duration_parse(text, &us) < 0 ? NAN : (double)us * 1e3;
		return isnan(bound->limit) ? "not a duration (as 20ms)" : NULL;
	}
	if (parse_number(text, unit, *unit ? 100 : 1e15, &bound->limit))
		return NULL;
	return *unit ? "not a share (as 0.1%)" : "not a number";
}

const char *require_take(void *data, const char *text)
{
	struct require *require = data;
	struct require_bound *bound = &require->bounds[require->n];
	char name[REQUIRE_TEXT_MAX];
	size_t length = strcspn(text, "<>");
	const char *why;

	if (require->n == REQUIRE_MAX)
		return "too many requirements";
	if (text[length] == '\0' || strlen(text) >= sizeof(bound->text))
		return "not a requirement (as p99<20ms, max<1s, loss<0.1%)";
	strcpy(bound->text, text);
	snprintf(name, sizeof(name), "%.*s", (int)length, text);
	why = take_what(require, name, bound);
	if (why)
		return why;
	if ((text[length] == '>') != (bound->what == REQUIRE_RATE))
		return "a rate must be above its limit (rate>1000), all else below";
	why = take_limit(text + length + 1, bound);
	if (why)
		return why;
	require->has_loss |= bound->what == REQUIRE_LOSS || bound->what == REQUIRE_ERRORS;
	require->n++;
	return NULL;
}

/* What was measured; NAN: nothing. */
static double value_of(const struct require_bound *bound, const struct require_measured *measured)
{
	const struct histogram *latency = measured->latency;

	switch (bound->what) {
	case REQUIRE_LOSS:
		return measured->total > 0 ?
			100 * (double)measured->failed / (double)measured->total : 100;
	case REQUIRE_ERRORS:
		return (double)measured->failed;
	case REQUIRE_RATE:
		return measured->per_second;
	case REQUIRE_RETRANSMITS:
		return measured->retransmits < 0 ? NAN : (double)measured->retransmits;
	case REQUIRE_MEAN:
		return latency->count > 0 ? round(latency->mean_ns) : NAN;
	default:
		return latency->count > 0 ?
			(double)histogram_percentile(latency, bound->percent) : NAN;
	}
}

static bool judge_one(const struct require_bound *bound, double value, struct report *report)
{
	const char *unit = whats[bound->what].unit;
	bool is_whole = bound->what != REQUIRE_LOSS && bound->what != REQUIRE_RATE;
	bool holds = bound->what == REQUIRE_RATE ? value > bound->limit : value < bound->limit;
	json_t *event = json_pack("{s:s, s:s, s:b}", "event", "requirement", "require", bound->text,
				  "holds", holds);
	char text[UNITS_TEXT_MAX] = "nothing";

	if (!isnan(value)) {
		json_object_set_new(event, whats[bound->what].key, is_whole ?
				    json_integer((json_int_t)value) : json_real(value));
		if (!unit)
			units_time((uint64_t)value, text);
		else if (*unit)
			snprintf(text, sizeof(text), "%.4g%s", value, unit);
		else
			snprintf(text, sizeof(text), "%.*f", bound->what == REQUIRE_RATE, value);
	}
	report_json(report, event);
	report_outcome(report, !holds, "%s%srequired %s: %s, measured %s\n",
		       report->target ? report->target : "", report->target ? ": " : "",
		       bound->text, holds ? "holds" : "does not hold", text);
	return holds;
}

bool require_judge(const struct require *require, const struct require_measured *measured,
		   struct report *report)
{
	bool holds = true;

	for (size_t i = 0; i < require->n; i++)
		holds &= judge_one(&require->bounds[i],
				   value_of(&require->bounds[i], measured), report);
	return holds;
}
