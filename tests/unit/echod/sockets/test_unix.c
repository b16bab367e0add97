/* SPDX-License-Identifier: MIT */
/* Files of Unix sockets, while somebody who may write their folder puts other things there. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "echod/privileges/privileges.h"
#include "echod/sockets/unix.h"

#define SERVICE 65534	/* nobody */
#define GROUP 12	/* any that is not the service user's */

/* A folder of root's and one of the service user's, which root's program is to work in. */
static char top[64], safe[80], run[80], path[108], target[96];

/* What the service user does as soon as the file is there; NULL: nothing. */
static void (*attack)(void);

static void run_attack(void)
{
	int status = 0;

	if (!attack)
		return;
	if (fork() == 0) {
		attack();
		_exit(0);
	}
	wait(&status);
	assert_int_equal(status, 0);
}

int __real_bind(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t length)
{
	int r = __real_bind(fd, address, length);

	run_attack();
	return r;
}

int __real_mkdir(const char *folder, mode_t mode);
int __wrap_mkdir(const char *folder, mode_t mode);
int __wrap_mkdir(const char *folder, mode_t mode)
{
	int r = __real_mkdir(folder, mode);

	run_attack();
	return r;
}

static void become_service(void)
{
	if (setgid(SERVICE) < 0 || setuid(SERVICE) < 0)
		_exit(1);
}

static void put_symbolic_link(void)
{
	become_service();
	if (unlink(path) < 0 || symlink(target, path) < 0)
		_exit(2);
}

/* As on a machine without fs.protected_hardlinks. */
static void put_hard_link(void)
{
	setfsuid(0);
	if (unlink(path) < 0 || link(target, path) < 0)
		_exit(3);
}

/* The folder that the socket is in, itself in one of the service user's. */
static void put_folder(void)
{
	char moved[100], folder[96];

	become_service();
	snprintf(folder, sizeof(folder), "%s/sub", run);
	snprintf(moved, sizeof(moved), "%s.old", folder);
	if (rename(folder, moved) < 0 || symlink(safe, folder) < 0)
		_exit(4);
}

static void put_link_for_folder(void)
{
	char folder[96];

	become_service();
	snprintf(folder, sizeof(folder), "%s/sub", run);
	if (rmdir(folder) < 0 || symlink(safe, folder) < 0)
		_exit(5);
}

static int set_up(void **state)
{
	struct configuration configuration = {.user = (char[]){"nobody"}};
	int fd;

	(void)state;
	attack = NULL;
	if (geteuid() != 0)
		return 0;
	assert_int_equal(privileges_identify(&configuration), 0);
	strcpy(top, "/tmp/echod-test-XXXXXX");
	assert_non_null(mkdtemp(top));
	assert_return_code(chmod(top, 0755), 0);
	snprintf(safe, sizeof(safe), "%s/safe", top);
	snprintf(run, sizeof(run), "%s/run", top);
	snprintf(path, sizeof(path), "%s/echo", run);
	snprintf(target, sizeof(target), "%s/echo", safe);
	assert_return_code(mkdir(safe, 0755), 0);
	assert_return_code(mkdir(run, 0755), 0);
	assert_return_code(chown(run, SERVICE, SERVICE), 0);
	fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_return_code(fd, 0);
	close(fd);
	return 0;
}

static int tear_down(void **state)
{
	char command[96];

	(void)state;
	if (geteuid() != 0)
		return 0;
	snprintf(command, sizeof(command), "rm -r %s", top);
	return system(command);
}

static void assert_file(const char *name, mode_t mode, uid_t uid, gid_t gid)
{
	struct stat status;

	assert_return_code(lstat(name, &status), errno);
	assert_int_equal(status.st_mode & 07777, mode);
	assert_int_equal(status.st_uid, uid);
	assert_int_equal(status.st_gid, gid);
}

/* Whatever comes of the socket, what is root's stays as it is. */
static void listen_under_attack(void (*what)(void), gid_t group)
{
	struct unix_file file;
	const char *call;
	int fd;

	if (geteuid() != 0)
		skip();
	attack = what;
	fd = unix_listen(path, 0666, group, &call);
	file = unix_find(path);
	unix_remove(path, file);
	if (fd >= 0)
		close(fd);
	assert_file(target, 0600, 0, 0);
	assert_file(safe, 0755, 0, 0);
}

static void test_symbolic_link(void **state)
{
	(void)state;
	listen_under_attack(put_symbolic_link, (gid_t)-1);
}

static void test_symbolic_link_for_a_group(void **state)
{
	(void)state;
	listen_under_attack(put_symbolic_link, GROUP);
}

static void test_hard_link(void **state)
{
	(void)state;
	listen_under_attack(put_hard_link, GROUP);
}

/* There is a socket of root's in the other folder. */
static void test_folder(void **state)
{
	char inner[96];
	const char *call;
	int fd;

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_return_code(unlink(target), 0);
	fd = unix_listen(target, 0600, (gid_t)-1, &call);
	assert_return_code(fd, 0);
	assert_return_code(lchown(target, 0, 0), 0);
	snprintf(inner, sizeof(inner), "%s/sub", run);
	assert_return_code(mkdir(inner, 0755), 0);
	assert_return_code(chown(inner, SERVICE, SERVICE), 0);
	snprintf(path, sizeof(path), "%s/echo", inner);
	listen_under_attack(put_folder, GROUP);
	close(fd);
}

static void test_made_folder(void **state)
{
	char inner[96];

	(void)state;
	if (geteuid() != 0)
		skip();
	attack = put_link_for_folder;
	snprintf(inner, sizeof(inner), "%s/sub/echo", run);
	unix_make_folder(inner);
	assert_file(safe, 0755, 0, 0);
}

static void assert_listening(const char *name, gid_t group)
{
	const char *call;
	int fd;

	if (geteuid() != 0)
		skip();
	umask(022);
	fd = unix_listen(name, 0666, group, &call);
	assert_return_code(fd, 0);
	assert_file(name, 0666, SERVICE, group == (gid_t)-1 ? SERVICE : group);
	assert_int_equal(umask(022), 022);
	assert_int_equal(setfsuid((uid_t)-1), 0);
	unix_remove(name, unix_find(name));
	assert_int_equal(access(name, F_OK), -1);
	close(fd);
}

/* The service user may write the one folder, not the other one. */
static void test_owner(void **state)
{
	(void)state;
	assert_listening(path, (gid_t)-1);
	assert_listening(path, GROUP);
	assert_return_code(unlink(target), 0);
	assert_listening(target, (gid_t)-1);
	assert_listening(target, GROUP);
}

static void test_make_folder(void **state)
{
	char folder[96], inner[104];

	(void)state;
	if (geteuid() != 0)
		skip();
	for (int i = 0; i < 2; i++) {
		snprintf(folder, sizeof(folder), "%s/made", i == 0 ? run : safe);
		snprintf(inner, sizeof(inner), "%s/echo", folder);
		assert_int_equal(unix_make_folder(inner), 0);
		assert_file(folder, 0755, SERVICE, SERVICE);
		assert_int_equal(unix_make_folder(inner), 0);
	}
}

/* What another one has put there is not ours to remove. */
static void test_replaced(void **state)
{
	struct unix_file file;
	const char *call;
	int fd, other;

	(void)state;
	if (geteuid() != 0)
		skip();
	fd = unix_listen(path, 0666, (gid_t)-1, &call);
	assert_return_code(fd, 0);
	file = unix_find(path);
	assert_return_code(unlink(path), 0);
	other = unix_listen(path, 0666, (gid_t)-1, &call);
	assert_return_code(other, 0);
	assert_false(unix_is_same(file, unix_find(path)));
	unix_remove(path, file);
	assert_return_code(access(path, F_OK), errno);
	unix_remove(path, unix_find(path));
	assert_int_equal(access(path, F_OK), -1);
	close(fd);
	close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_symbolic_link, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_symbolic_link_for_a_group, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hard_link, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_folder, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_made_folder, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_owner, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_make_folder, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_replaced, set_up, tear_down),
	};

	return cmocka_run_group_tests_name("unix", tests, NULL, NULL);
}
