dnl SPDX-License-Identifier: MIT
dnl The checks of configure.ac, one macro each.

dnl ECHOD_REQUIRE(VARIABLE, MODULE, DEBIAN-PACKAGE): a pkg-config module, or an error that helps.
AC_DEFUN([ECHOD_REQUIRE],
	[PKG_CHECK_MODULES([$1], [$2], [],
		[AC_MSG_ERROR([$2 is missing: apt-get install $3])])])

dnl ECHOD_ADD_FLAG(VARIABLE, FLAG): appends the flag where the compiler takes it.
AC_DEFUN([ECHOD_ADD_FLAG],
	[AS_VAR_PUSHDEF([cache], [echod_cv_flag_$2])
	AC_CACHE_CHECK([whether $CC accepts $2], [cache],
		[echod_saved_cflags=$CFLAGS
		CFLAGS="$CFLAGS -Werror $2"
		AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
			[AS_VAR_SET([cache], [yes])], [AS_VAR_SET([cache], [no])])
		CFLAGS=$echod_saved_cflags])
	AS_VAR_IF([cache], [yes], [$1="$$1 $2"])
	AS_VAR_POPDEF([cache])])

dnl ECHOD_REQUIRE_FLAG(VARIABLE, FLAG): the same; a compiler that does not take it is an error.
AC_DEFUN([ECHOD_REQUIRE_FLAG],
	[echod_before=$$1
	ECHOD_ADD_FLAG([$1], [$2])
	AS_IF([test "x$$1" = "x$echod_before"],
		[AC_MSG_ERROR([$CC does not take $2 (see config.log), or --disable-static-listener])])])

AC_DEFUN([ECHOD_WARNINGS],
	[WARN_CFLAGS= TEST_CFLAGS=
	m4_foreach_w([flag], [-Wall -Wextra -Wformat=2 -Wshadow -Wstrict-prototypes
		-Wmissing-prototypes -Wold-style-definition -Wpointer-arith -Wcast-qual
		-Wwrite-strings -Wundef -Wvla -Wimplicit-fallthrough -Wnull-dereference
		-Wduplicated-cond -Wlogical-op -Wdate-time -Wno-psabi],
		[ECHOD_ADD_FLAG([WARN_CFLAGS], flag)])
	AS_IF([test "x$enable_werror" != xno], [WARN_CFLAGS="$WARN_CFLAGS -Werror"])
	ECHOD_ADD_FLAG([TEST_CFLAGS], [-fno-lto])
	AC_SUBST([TEST_CFLAGS])
	AC_SUBST([WARN_CFLAGS])])

AC_DEFUN([ECHOD_INSTRUMENTATION],
	[INSTRUMENT_CFLAGS= INSTRUMENT_LDFLAGS= COVERAGE_LDFLAGS=
	AS_CASE([$enable_sanitizers],
		[no], [],
		[yes], [enable_sanitizers=address,undefined])
	AS_IF([test "x$enable_sanitizers" != xno],
		[INSTRUMENT_CFLAGS="-fsanitize=$enable_sanitizers -fno-sanitize-recover=all -fno-omit-frame-pointer"
		INSTRUMENT_LDFLAGS="-fsanitize=$enable_sanitizers"
		echod_saved_cflags=$CFLAGS
		CFLAGS="$CFLAGS $INSTRUMENT_CFLAGS"
		AC_MSG_CHECKING([whether $CC links with $INSTRUMENT_LDFLAGS])
		AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
			[AC_MSG_RESULT([yes])],
			[AC_MSG_RESULT([no])
			AC_MSG_ERROR([$CC cannot build with --enable-sanitizers=$enable_sanitizers])])
		CFLAGS=$echod_saved_cflags
		enable_static_listener=no])
	AS_IF([test "x$enable_coverage" != xno],
		[INSTRUMENT_CFLAGS="$INSTRUMENT_CFLAGS --coverage -fprofile-update=atomic"
		INSTRUMENT_LDFLAGS="$INSTRUMENT_LDFLAGS --coverage"
		COVERAGE_LDFLAGS=-Wl,--wrap=_exit
		AC_DEFINE([COVERAGE], [1], [Define when compiled for coverage.])
		enable_static_listener=no])
	AM_CONDITIONAL([COVERAGE], [test "x$enable_coverage" != xno])
	AS_IF([test "x$enable_sanitizers$enable_coverage" != xnono],
		[AC_DEFINE([INSTRUMENTED], [1],
			[Define when compiled with sanitizers or for coverage.])])
	AM_CONDITIONAL([INSTRUMENTED],
		[test "x$enable_sanitizers$enable_coverage" != xnono])
	AC_SUBST([COVERAGE_LDFLAGS])
	AC_SUBST([INSTRUMENT_CFLAGS])
	AC_SUBST([INSTRUMENT_LDFLAGS])])

dnl Static and position independent where the toolchain has it, static else. A wrapper that does not
dnl know the former, as musl-gcc, links a program with an interpreter.
AC_DEFUN([ECHOD_LISTENER_LINKAGE],
	[LISTENER_LDFLAGS=
	listener_linkage=dynamic
	AS_IF([test "x$enable_static_listener" != xno],
		[m4_foreach_w([linkage], [static-pie static],
			[AS_IF([test "$listener_linkage" = dynamic],
				[AC_MSG_CHECKING([whether $CC links with -linkage])
				echod_saved_ldflags=$LDFLAGS
				LDFLAGS="$LDFLAGS -linkage"
				AC_LINK_IFELSE([AC_LANG_PROGRAM([@%:@include <unistd.h>], [_exit(0);])],
					[AS_IF([$OBJDUMP -p conftest$EXEEXT | $GREP INTERP >/dev/null],
						[], [listener_linkage=linkage])])
				AS_IF([test "$listener_linkage" = linkage],
					[LISTENER_LDFLAGS="-XCClinker -linkage"
					AC_MSG_RESULT([yes])],
					[AC_MSG_RESULT([no])])
				LDFLAGS=$echod_saved_ldflags])
		])
		AS_IF([test "$listener_linkage" = dynamic],
			[AC_MSG_ERROR([no static libc: apt-get install libc6-dev, or --disable-static-listener])])
		AC_DEFINE([STATIC_LISTENER], [1], [Define when echod-listener is linked statically.])])
	dnl constants in the mapping of the text: a fork copies one less
	AS_IF([test "$listener_linkage" != dynamic],
		[AC_CACHE_CHECK([whether the linker takes -z noseparate-code],
			[echod_cv_noseparate_code],
			[echod_saved_ldflags=$LDFLAGS
			LDFLAGS="$LDFLAGS -$listener_linkage -Wl,-z,noseparate-code"
			AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
				[echod_cv_noseparate_code=yes], [echod_cv_noseparate_code=no])
			LDFLAGS=$echod_saved_ldflags])
		AS_IF([test $echod_cv_noseparate_code = yes],
			[LISTENER_LDFLAGS="$LISTENER_LDFLAGS -Wl,-z,noseparate-code"])])
	dnl a lean worker has neither libc nor TLS, so that no compiler may put calls of memset() into
	dnl it, as some do without optimization or to initialize all variables; without vector
	dnl registers its initializers are not read from a page of constants
	WORKER_CFLAGS=
	is_lean=no
	AC_CACHE_CHECK([whether $CC compiles for x86-64], [echod_cv_x86_64],
		[AC_COMPILE_IFELSE([AC_LANG_PROGRAM([
#if !defined __x86_64__ || !defined __LP64__
#error another
#endif
], [])], [echod_cv_x86_64=yes], [echod_cv_x86_64=no])])
	AS_CASE([$listener_linkage:$echod_cv_x86_64],
		[static*:yes],
			[is_lean=yes
			m4_foreach_w([flag], [-O2 -ffreestanding -fno-lto -fno-stack-protector
				-mgeneral-regs-only],
				[ECHOD_REQUIRE_FLAG([WORKER_CFLAGS], flag)
				])
			m4_foreach_w([flag], [-ftrivial-auto-var-init=uninitialized
				-fno-tree-loop-distribute-patterns],
				[ECHOD_ADD_FLAG([WORKER_CFLAGS], flag)])])
	AM_CONDITIONAL([LEAN], [test $is_lean = yes])
	AM_CONDITIONAL([STATIC_LISTENER], [test "$listener_linkage" != dynamic])
	AC_SUBST([WORKER_CFLAGS])
	AC_SUBST([LISTENER_LDFLAGS])])

dnl Only the prefix /usr owns systemd's directory; systemd looks below /usr/local by itself.
AC_DEFUN([ECHOD_SYSTEMD_DIRECTORY],
	[AS_CASE([$with_systemdsystemunitdir,$prefix],
		[yes,/usr], [PKG_CHECK_VAR([systemdsystemunitdir], [systemd], [systemdsystemunitdir], [],
			[systemdsystemunitdir='/usr/lib/systemd/system'])],
		[yes,*], [systemdsystemunitdir='${prefix}/lib/systemd/system'],
		[no,*], [systemdsystemunitdir=],
		[systemdsystemunitdir=$with_systemdsystemunitdir])
	systemdsystemgeneratordir=`AS_ECHO(["$systemdsystemunitdir"]) | $SED 's|/system$||'`/system-generators
	AM_CONDITIONAL([SYSTEMD_UNITS], [test -n "$systemdsystemunitdir"])
	AC_SUBST([systemdsystemunitdir])
	AC_SUBST([systemdsystemgeneratordir])])
