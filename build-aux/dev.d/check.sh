# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Running the tests and adding up their results.

# count_results KIND... : how many test results of these kinds stand in the .trs files below $1.
count_results()
{
	local directory=$1
	shift
	find "$directory" -name '*.trs' -not -path "$directory/variant/*" -exec cat {} + |
		grep -cE "^:test-result: ($1)( |\$)" || true
}

# Shows the logs of the test programs that did not pass.
show_failures()
{
	local trs
	find "$1" -name '*.trs' -not -path "$1/variant/*" | sort | while read -r trs; do
		grep -qE '^:test-result: (FAIL|ERROR|XPASS)' "$trs" || continue
		printf '\n==== %s\n' "${trs%.trs}.log"
		tail -n 150 "${trs%.trs}.log"
	done
}

# The one last line that scripts read. Fails when a test did.
print_summary()
{
	say "$1 passed, $2 failed, $3 skipped"
	[ "$2" -eq 0 ] || return 1
	[ "$3" -eq 0 ] || [ "${ECHOD_MUST_RUN:-0}" != 1 ] || return 1
}

# check_tree DIRECTORY [MAKE ARGUMENTS...]: make check there, then the summary.
check_tree()
{
	local directory=$1 failed status=0
	shift
	find "$directory" -name '*.trs' -not -path "$directory/variant/*" -delete
	make -C "$directory" -s --no-print-directory -j"$(nproc)" check "$@" || status=$?
	failed=$(count_results "$directory" 'FAIL|XPASS|ERROR')
	if [ "$status" -ne 0 ]; then
		show_failures "$directory"
		# a failure that left no result (a test that does not compile) counts too
		[ "$failed" -gt 0 ] || failed=1
	fi
	print_summary "$(count_results "$directory" 'PASS|XFAIL')" "$failed" \
		"$(count_results "$directory" SKIP)"
}

# Names, file by file, the lines that no test reached.
report_coverage()
{
	gcovr --root . --object-directory "$1" --filter src/ --gcov-ignore-parse-errors
}

# check_memcheck TREE [TEST...]: unit tests, and the daemon in some run tests, under valgrind.
check_memcheck()
{
	local directory=$1
	shift
	build_tree "$directory" --disable-static-listener "CFLAGS=-g -O1"
	make -C "$directory" -s --no-print-directory -j"$(nproc)" memcheck-programs
	ABS_BUILDDIR=$PWD/$directory ABS_SRCDIR=$PWD summarize_tap tests/memcheck/run "$@"
}

command_check()
{
	local directory=$BUILD configure=() coverage=no dist=no tests=() make_arguments=()
	install_packages build test
	unpack_packages
	while [ $# -gt 0 ]; do
		case $1 in
		--coverage)
			install_packages coverage
			coverage=yes directory=$BUILD/variant/coverage configure=(--enable-coverage)
			;;
		--sanitize)
			directory=$BUILD/variant/sanitize configure=(--enable-sanitizers)
			;;
		--dist) dist=yes ;;
		--valgrind)
			shift
			check_memcheck "$BUILD/variant/valgrind" "$@"
			return
			;;
		--clang)
			install_packages lint
			directory=$CLANG_TREE configure=("${CLANG_CONFIGURE[@]}")
			;;
		-*) die "check: unknown option: $1" ;;
		*) tests+=("$1") ;;
		esac
		shift
	done
	[ ${#tests[@]} -eq 0 ] || make_arguments=("TESTS=${tests[*]}")
	build_tree "$directory" "${configure[@]}"
	if [ "$dist" = yes ]; then
		lint_step "make distcheck" make -C "$directory" -s -j"$(nproc)" distcheck
		[ "$LINT_FAILED" -eq 0 ] || show_failures "$directory"
		print_summary "$LINT_PASSED" "$LINT_FAILED" 0
		return
	fi
	if [ "$coverage" = no ]; then
		check_tree "$directory" "${make_arguments[@]}"
		return
	fi
	# the daemon under test may run as another user and writes its counters at exit
	umask 0
	find "$directory" -name '*.gcda' -delete
	find "$directory" -type d -exec chmod a+rwx {} +
	local status=0 summary
	summary=$(mktemp)
	check_tree "$directory" "${make_arguments[@]}" | tee "$summary" || status=$?
	report_coverage "$directory"
	tail -n 1 "$summary"
	rm -f "$summary"
	return "$status"
}

# summarize_tap COMMAND...: shows a TAP program's output, then the summary.
summarize_tap()
{
	local output status=0 failed
	output=$(mktemp)
	"$@" | tee "$output" || status=$?
	failed=$(grep -c '^not ok' "$output" || true)
	[ "$status" -eq 0 ] || [ "$failed" -gt 0 ] || failed=1
	set -- "$(grep '^ok' "$output" | grep -vc '# SKIP' || true)" "$failed" \
		"$(grep -c '^ok.*# SKIP' "$output" || true)"
	rm -f "$output"
	print_summary "$@"
}

command_system()
{
	local directory=$BUILD/variant/system stage
	install_packages build test system
	[ "$(id -u)" -eq 0 ] || die "system: needs root (systemd-nspawn boots a tree)"
	build_tree "$directory" --prefix=/usr --sysconfdir=/etc --localstatedir=/var
	stage=$PWD/$directory/stage
	rm -rf "$stage"
	make -C "$directory" -s --no-print-directory install DESTDIR="$stage" >/dev/null
	ECHOD_STAGE=$stage ABS_BUILDDIR=$PWD/$directory PYTHONDONTWRITEBYTECODE=1 \
		summarize_tap tests/system/test_service.py "$@"
}

# run_part PATH WHAT ARGUMENTS...: a part of the tree that may not be there.
run_part()
{
	local path=$1 what=$2
	shift 2
	[ -x "$path" ] || die "$what: this tree has none ($path)"
	"$path" "$@"
}

command_bench()
{
	install_packages build bench
	build_tree "$BUILD"
	run_part tests/bench/run bench --build "$BUILD" "$@"
}

command_fuzz()
{
	install_packages build fuzz
	run_part tests/fuzz/run fuzz "$@"
}
