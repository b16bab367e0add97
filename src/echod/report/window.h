/* SPDX-License-Identifier: MIT */
/* At most so many lines in a window of time; the rest is counted. Pure, no clock of its own. */
#ifndef ECHOD_REPORT_WINDOW_H
#define ECHOD_REPORT_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

/* Starts as {}. The window opens with the first line that it admits. */
struct report_window {
	uint64_t start_ns;
	uint64_t admitted;	/* 0: not open */
	uint64_t left_out;
};

/* True when the line may be written; false when it is one above most and has been counted. */
static inline bool report_window_admit(struct report_window *window, uint64_t now_ns, uint64_t most)
{
	if (window->admitted == 0)
		window->start_ns = now_ns;
	if (window->admitted < most) {
		window->admitted++;
		return true;
	}
	window->left_out++;
	return false;
}

/* When the window is over: closes it and returns what it left out, to be said. Else 0. */
static inline uint64_t report_window_close(struct report_window *window, uint64_t now_ns,
					   uint64_t length_ns)
{
	uint64_t left_out = window->left_out;

	if (window->admitted == 0 || now_ns - window->start_ns < length_ns)
		return 0;
	*window = (struct report_window){};
	return left_out;
}

#endif
