/* SPDX-License-Identifier: MIT */
/* The sandbox that every worker inherits. */
#include "listener/sandbox.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/landlock.h>
#include <linux/oom.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/fd.h"
#include "base/sys.h"

/* What systemd/echod.service lowers that of the supervisor by: workers are then like anybody. */
#define OOM_SCORE_STEP 300

/* The counters of a coverage build go to files at the end. */
#ifdef COVERAGE
#define IS_COVERED true
#else
#define IS_COVERED false
#endif

/*
 * The supervisor has given up what it could. capset(2) is called only when something is left:
 * the system call filter of the unit does not allow it.
 */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct held[2], none[2] = {0};
	unsigned long capability = 0;

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	while (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0)
		capability++;
	if (syscall(SYS_capget, &header, held) == 0 && memcmp(held, none, sizeof(none)) == 0)
		return 0;
	return syscall(SYS_capset, &header, none) < 0 ? -errno : 0;
}

/* Every right over files that this kernel's version of Landlock knows is handled and none given. */
static int deny_files(void)
{
	static const uint64_t rights_of_version[] = { 0, (1u << 13) - 1, (1u << 14) - 1,
						      (1u << 15) - 1, (1u << 15) - 1,
						      (1u << 16) - 1 };
	const size_t known = sizeof(rights_of_version) / sizeof(rights_of_version[0]) - 1;
	struct landlock_ruleset_attr rules = { .handled_access_fs = 0 };
	FD_CLEANUP int fd = -1;
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
			       LANDLOCK_CREATE_RULESET_VERSION);

	if (version <= 0)
		return 0;
	rules.handled_access_fs =
		rights_of_version[(size_t)version < known ? (size_t)version : known];
	fd = (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules.handled_access_fs), 0);
	if (fd < 0)
		return -errno;
	return syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? -errno : 0;
}

/* *ret_missing is set if there is none although there should be one. */
static int install_filter(const struct settings *settings, int *ret_missing)
{
	const struct sock_fprog program = {
		.len = (unsigned short)settings->filter_count,
		.filter = (struct sock_filter *)(uintptr_t)settings_filter(settings),
	};
	int r;

	if ((settings->flags & SETTINGS_FILTER) == 0)
		return 0;
	r = sys_seccomp(SECCOMP_SET_MODE_FILTER, 0, &program);
	if (r == 0 || (settings->flags & SETTINGS_FILTER_REQUIRED))
		return r;
	*ret_missing = -r;
	return 0;
}

/*
 * When memory is short the kernel ends the process with the highest score. That has to be a worker,
 * whose end gives back one connection, and not the supervisor, with whom all would end. Raising the
 * score is allowed to anybody; where it cannot be written nothing is lost but that.
 */
static void raise_oom_score(void)
{
	FD_CLEANUP int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
	char text[16] = "";
	long score;
	int length;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return;
	score = strtol(text, NULL, 10) + OOM_SCORE_STEP;
	length = snprintf(text, sizeof(text), "%ld",
			  score < OOM_SCORE_ADJ_MAX ? score : OOM_SCORE_ADJ_MAX);
	(void)!pwrite(fd, text, (size_t)length, 0);
}

int sandbox_enter(const struct settings *settings, int *ret_missing, const char **ret_what)
{
	int r;

	raise_oom_score();
	*ret_what = "no_new_privs";
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	*ret_what = "capabilities";
	r = drop_capabilities();
	if (r < 0)
		return r;
	*ret_what = "resource limits";
	r = sys_set_limit(RLIMIT_CORE, 0);
	if (r == 0 && !IS_COVERED)
		r = sys_set_limit(RLIMIT_FSIZE, 0);
	if (r == 0)
		r = sys_set_limit(RLIMIT_NOFILE, settings_descriptors(settings));
	if (r < 0)
		return r;
	*ret_what = "Landlock";
	r = IS_COVERED ? 0 : deny_files();
	if (r < 0)
		return r;
	*ret_what = "seccomp filter";
	return install_filter(settings, ret_missing);
}
