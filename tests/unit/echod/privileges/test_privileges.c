/* SPDX-License-Identifier: MIT */
/* The warnings about limits, and (as root) giving root up in a child. */
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
#include "echod/privileges/privileges.h"
#include "unit/capture.h"

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
	struct rlimit files = {.rlim_cur = 8, .rlim_max = 64};
	struct rlimit processes = {.rlim_cur = 1, .rlim_max = 1024};

	if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_NPROC, &processes) < 0)
		return 1;
	privileges_check_limits(configuration);
	if (getrlimit(RLIMIT_NOFILE, &files) < 0 || files.rlim_cur != 64)
		return 2;
	return getrlimit(RLIMIT_NPROC, &processes) < 0 ? 3 : (int)(processes.rlim_cur >> 3);
}

/* Raised to what is needed or as far as it goes; each that is too small is said with its figure. */
static void test_limits(void **state)
{
	struct configuration configuration = {.limits = {.connections = 1000}};

	assert_int_equal(in_child(check_limits, &configuration), 1008 >> 3);
	assert_string_equal(capture_line(*state, NULL), "echod needs 320 descriptors, "
			    "RLIMIT_NOFILE is 64: LimitNOFILE=320");
	assert_null(capture_raw(*state));
	configuration.limits.connections = 40000;
	assert_int_equal(in_child(check_limits, &configuration), 1024 >> 3);
	assert_non_null(capture_line(*state, NULL));
	assert_string_equal(capture_line(*state, NULL), "connections = 40000 needs 40008 "
			    "processes of the user, RLIMIT_NPROC is 1024: LimitNPROC=40008");
	assert_null(capture_raw(*state));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_drop, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_drop_users, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unprivileged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limits, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
