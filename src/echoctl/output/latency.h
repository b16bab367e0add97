/* SPDX-License-Identifier: MIT */
/* A latency distribution as JSON, the same in every command. */
#ifndef ECHOCTL_OUTPUT_LATENCY_H
#define ECHOCTL_OUTPUT_LATENCY_H

#include "echoctl/output/histogram.h"
#include "echoctl/output/report.h"

/*
 * {"count":..,"min_ns":..,"mean_ns":..,"max_ns":..,"mdev_ns":..,"p50_ns":..,"p90_ns":..,
 * "p99_ns":..,"p999_ns":..}; an empty one has its count alone. The caller owns it.
 */
struct record *latency_record(const struct histogram *histogram);

#endif
