/* SPDX-License-Identifier: MIT */
/* Which silences to try. */
#include "echoctl/idle/grid.h"

#include <assert.h>

#define FINEST_NS 10000000u	/* closer bounds say nothing: a wake-up may take as long */

size_t idle_bisect(const struct idle_settings *settings, uint64_t survives_ns, uint64_t dies_ns,
		   uint64_t silences_ns[IDLE_PROBES_MAX])
{
	size_t n = 0;

	for (uint64_t i = 1; i <= settings->parallel && n < IDLE_PROBES_MAX; i++)
		silences_ns[n++] = survives_ns +
			(dies_ns - survives_ns) * i / (settings->parallel + 1);
	return n;
}

size_t idle_grid(const struct idle_settings *settings, uint64_t silences_ns[IDLE_PROBES_MAX])
{
	uint64_t max_ns = settings->max_us * 1000;
	size_t n = 0;

	assert(settings->min_us > 0 && settings->parallel > 0);
	for (uint64_t base_ns = settings->min_us * 1000; base_ns < max_ns; base_ns *= 2) {
		for (uint64_t i = 0; i < settings->parallel; i++) {
			uint64_t silence_ns = base_ns + base_ns * i / settings->parallel;

			/* The last place is for the longest. */
			if (silence_ns < max_ns && n < IDLE_PROBES_MAX - 1)
				silences_ns[n++] = silence_ns;
		}
	}
	silences_ns[n++] = max_ns;
	return n;
}

bool idle_narrow(const struct idle_settings *settings, uint64_t survives_ns, uint64_t dies_ns)
{
	uint64_t width_ns = dies_ns - survives_ns;

	return width_ns <= FINEST_NS || width_ns <= dies_ns / 100 * settings->precision_percent;
}
