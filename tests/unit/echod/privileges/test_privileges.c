/* SPDX-License-Identifier: MIT */
/* The arithmetic of limits, the cgroup's path, and (as root) giving root up in a child. */
#include <errno.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "echod/log/log.h"
#include "echod/privileges/limits.h"
#include "echod/privileges/privileges.h"
#include "unit/capture.h"

static const struct privileges_limits endless = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
						 UINT64_MAX};

static void test_shortages(void **state)
{
	char lines[PRIVILEGES_WARNINGS_MAX][PRIVILEGES_WARNING_MAX];
	struct privileges_limits limits = endless;
	struct privileges_needs needs = privileges_compute_needs(1024);

	(void)state;
	assert_int_equal(needs.processes, 1032);
	assert_true(needs.descriptors < 1024);	/* the usual limit, whatever connections is */
	assert_int_equal(privileges_compute_needs(100000).descriptors, needs.descriptors);
	assert_int_equal(privileges_find_shortages(&limits, 100000, lines), 0);

	limits.user_processes = 1032;
	limits.cgroup_processes = 1031;
	assert_int_equal(privileges_find_shortages(&limits, 1024, lines), 1);
	assert_string_equal(lines[0],
			    "connections = 1024 needs 1032 processes in the control group, "
			    "pids.max is 1031: TasksMax=1032");
	limits = (struct privileges_limits){};
	assert_int_equal(privileges_find_shortages(&limits, 1, lines), PRIVILEGES_WARNINGS_MAX);
	assert_string_equal(lines[0],
			    "echod needs 320 descriptors, RLIMIT_NOFILE is 0: LimitNOFILE=320");
	assert_string_equal(lines[1],
			    "connections = 1 needs 9 processes of the user, "
			    "RLIMIT_NPROC is 0: LimitNPROC=9");
	limits = endless;
	limits.system_processes = 32768;
	assert_int_equal(privileges_find_shortages(&limits, 20000, lines), 0);
	assert_int_equal(privileges_find_shortages(&limits, 40000, lines), 1);
	assert_string_equal(lines[0], "connections = 40000 needs 40208 process ids on the system, "
				      "kernel.pid_max is 32768: sysctl kernel.pid_max=40208");
}

static void assert_cgroup(const char *text, const char *expected, int expected_unified)
{
	char *copy = strdup(text);
	int is_unified = -1;
	char *path = privileges_find_cgroup(copy, &is_unified);

	if (expected == NULL) {
		assert_null(path);
	} else {
		assert_string_equal(path, expected);
		assert_int_equal(is_unified, expected_unified);
	}
	free(copy);
}

static void test_cgroup(void **state)
{
	(void)state;
	assert_cgroup("0::/system.slice/echod.service\n", "/system.slice/echod.service", 1);
	assert_cgroup("9:name=systemd:/\n8:pids:/a/b\n0::/\n", "/a/b", 0);
	assert_cgroup("8:cpu,pids:/x\n0::/y", "/x", 0);
	assert_cgroup("8:cpu,rapids,pidsx:/x\n0::/with:colon", "/with:colon", 1);
	assert_cgroup("8:cpu:/x\n", NULL, 0);
	assert_cgroup("", NULL, 0);
	assert_cgroup("nonsense\n:\n\n", NULL, 0);
}

/* Runs check in a child and returns its exit status. */
static int in_child(int (*check)(const struct configuration *configuration),
		    const struct configuration *configuration)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		_exit(check(configuration));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int check_dropped(const struct configuration *configuration)
{
	const struct passwd *user = getpwnam("nobody");

	if (privileges_drop(configuration) != 0)
		return 1;
	if (getuid() != user->pw_uid || geteuid() != user->pw_uid || getgid() != user->pw_gid)
		return 2;
	if (setuid(0) == 0 || setgid(0) == 0)
		return 3;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 4;
	return prctl(PR_CAPBSET_READ, 0, 0, 0, 0) != 0 ? 5 : 0;
}

static int drop_status(const struct configuration *configuration)
{
	return -privileges_drop(configuration);
}

static int set_up(void **state)
{
	static struct capture capture;

	*state = &capture;
	capture_start(&capture, LOG_TARGET_SYSLOG);
	return 0;
}

static int tear_down(void **state)
{
	capture_end(*state);
	return 0;
}

static void test_drop(void **state)
{
	char nobody[] = "nobody";
	struct configuration configuration = {.user = nobody, .user_is_set = true};

	if (geteuid() != 0) {
		/* cmocka's own skip is a failure to the TAP driver */
		print_message("not root: giving root up is tested as root only\n");
		return;
	}
	assert_int_equal(in_child(check_dropped, &configuration), 0);
	assert_null(capture_raw(*state));
}

static void test_drop_users(void **state)
{
	char missing[] = "no-such-user-of-echod", root[] = "root";
	struct configuration configuration = {.user = missing};

	if (geteuid() != 0) {
		print_message("not root: giving root up is tested as root only\n");
		return;
	}
	assert_int_equal(in_child(check_dropped, &configuration), 0);
	assert_string_equal(capture_line(*state, NULL),
			    "user no-such-user-of-echod does not exist, becoming nobody");
	configuration.user_is_set = true;
	assert_int_equal(in_child(drop_status, &configuration), ENOENT);
	assert_string_equal(capture_line(*state, NULL),
			    "user: no-such-user-of-echod: no such user");
	configuration.user = root;
	assert_int_equal(in_child(drop_status, &configuration), EPERM);
	assert_string_equal(capture_line(*state, NULL),
			    "user: root is root: nothing would be given up");
}

/* As any user: nothing to become, but no way to gain either. */
static int check_unprivileged(const struct configuration *configuration)
{
	if (geteuid() == 0 && setresuid(65534, 65534, 65534) < 0)
		return 1;
	if (privileges_drop(configuration) != 0)
		return 2;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : 3;
}

static void test_unprivileged(void **state)
{
	char missing[] = "no-such-user-of-echod";
	struct configuration configuration = {.user = missing, .user_is_set = true};

	assert_int_equal(in_child(check_unprivileged, &configuration), 0);
	assert_null(capture_raw(*state));
}

static int check_limits(const struct configuration *configuration)
{
	struct rlimit limit = {.rlim_cur = 8, .rlim_max = 64};

	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		return 1;
	privileges_check_limits(configuration);
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur != 64)
		return 2;
	return 0;
}

static void test_check(void **state)
{
	struct configuration configuration = {.limits = {.connections = 1}};
	const char *line;

	assert_int_equal(in_child(check_limits, &configuration), 0);
	line = capture_line(*state, NULL);
	assert_non_null(line);
	assert_non_null(strstr(line, "echod needs 320 descriptors, RLIMIT_NOFILE is 64: "
				     "LimitNOFILE=320"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_shortages),
		cmocka_unit_test(test_cgroup),
		cmocka_unit_test_setup_teardown(test_drop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_drop_users, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unprivileged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_check, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
