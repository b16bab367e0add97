# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Everything that judges the tree without running it.

LINT_PASSED=0
LINT_FAILED=0
LINT_NOISE='^  (CC|CCLD|GEN) |Processing file|warnings? generated'

# lint_step NAME COMMAND...: one check; what it printed is shown when it failed.
lint_step()
{
	local name=$1 output
	shift
	if output=$("$@" 2>&1); then
		say "ok      $name"
		LINT_PASSED=$((LINT_PASSED + 1))
	else
		say "FAILED  $name"
		printf '%s\n' "$output" | grep -vE "$LINT_NOISE" | tail -n 60
		LINT_FAILED=$((LINT_FAILED + 1))
	fi
}

source_files()
{
	git ls-files "$@"
}

# lint_compiler TREE CONFIGURE-ARGUMENT...: all programs and tests, warnings are errors
lint_compiler()
{
	build_tree "$1" "${@:2}" && make -C "$1" -s -j"$(nproc)" check TESTS=
}

# Flags that others build with; gcc 12 knows gnu23 by its earlier name.
lint_flags()
{
	lint_compiler "$BUILD/variant/unoptimized" --enable-werror CC=gcc \
		CFLAGS="-g -O0 -ftrivial-auto-var-init=zero" &&
		lint_compiler "$BUILD/variant/optimized" --enable-werror CC=gcc \
			CFLAGS="-g -O3 -flto=auto -std=gnu2x -D_FORTIFY_SOURCE=3"
}

# The listener needs nothing of glibc: with musl it is smaller, see HACKING.md.
lint_musl()
{
	local tree=$BUILD/variant/musl top=$PWD headers=/usr/include multiarch
	multiarch=$(gcc -print-multiarch) && mkdir -p "$tree" || return
	[ -f "$tree/config.status" ] || (cd "$tree" && "$top/configure" -q --enable-werror \
		CC=musl-gcc CPPFLAGS="-idirafter $headers -idirafter $headers/$multiarch") || return
	make -C "$tree" -s echod-listener && readelf -lW "$tree/echod-listener" >"$tree/headers" &&
		! grep INTERP "$tree/headers"
}

lint_clang()
{
	local status=0
	lint_compiler "$CLANG_TREE" "${CLANG_CONFIGURE[@]}" || status=$?
	{ printf '[' && cat "$CLANG_TREE"/commands/*.json | sed '$ s/,$//' && printf ']'; } \
		>"$CLANG_TREE/compile_commands.json"
	return "$status"
}

# What it takes for uninitialised are buffers that an argument beside them fills, for lost what a
# structure of libConfuse keeps, and it does not know that sys_exit() never returns; compilers and
# clang-tidy know better.
lint_cppcheck()
{
	source_files 'src/*.c' | xargs -r cppcheck -q --std=c11 --inline-suppr --error-exitcode=1 \
		--enable=warning,portability,performance --suppress=missingIncludeSystem \
		--suppress=constStatement:src/listener/lean.c --suppress=arrayIndexThenCheck \
		--suppress=memleak:src/echod/configuration/load.c \
		--suppress=nullPointerRedundantCheck:src/datagram/datagram.c \
		--suppress=normalCheckLevelMaxBranches --suppress=uninitvar \
		--force -DSYSCONFDIR='""' -DLISTENERDIR='""' \
		-DJSON_INTEGER_FORMAT='"lld"' \
		--include="$BUILD/config.h" -I src -j"$(nproc)"
}

# coverage.c is for gcc alone
lint_tidy()
{
	source_files 'src/*.c' ':!src/base/coverage.c' | xargs -r -P"$(nproc)" -n 4 \
		clang-tidy --quiet -p "$CLANG_TREE"
}

lint_shell()
{
	{
		source_files 'build-aux/dev.d/*.sh'
		source_files | xargs -r grep -lE -m1 '^#!.*(bash|/sh)' --
	} | sort -u | xargs -r shellcheck -x
}

lint_python()
{
	source_files '*.py' | xargs -r /usr/bin/python3 -W error -c \
		'import sys; [compile(open(name).read(), name, "exec") for name in sys.argv[1:]]'
}

lint_manual()
{
	find "$BUILD/man" man -name '*.[158]' -print0 | xargs -0 -r mandoc -Tlint -Wwarning
}

# The units name the programs where they will be installed: look at them in such a tree.
lint_units()
{
	local root output
	root=$(mktemp -d)
	make -C "$BUILD" -s install DESTDIR="$root" >/dev/null
	find "$root" -name 'echod*.s*' -path '*systemd*' -exec cp -t "$root" {} +
	sed -i -E "s|^(Exec[A-Za-z]*=[-+!:@]*)(/usr\|/opt)|\\1$root\\2|" "$root"/echod.service
	output=$(systemd-analyze verify --man=no "$root"/echod.service "$root"/echod.socket 2>&1 |
		grep -F echod || true)
	rm -rf "$root"
	[ -z "$output" ] || { say "$output" && return 1; }
}

# debian/ is written for the oldest release that is supported: what a newer one would rather have is
# no fault.
LINTIAN_OF_NEWER=(older-debian-watch-file-standard package-uses-old-debhelper-compat-version
	redundant-priority-optional-field redundant-rules-requires-root-no-field
	upstream-metadata-file-is-missing)

lint_packages()
{
	local tag suppressed=
	for tag in "${LINTIAN_OF_NEWER[@]}"; do
		[ ! -e "/usr/share/lintian/tags/${tag::1}/$tag.tag" ] || suppressed+=,$tag
	done
	lintian --fail-on error,warning,info,pedantic --display-info --pedantic \
		--suppress-tags "${suppressed#,}" "$BUILD"/deb/*.changes
}

command_lint()
{
	install_packages build lint
	build_tree "$BUILD"
	lint_step "gcc -Werror" lint_compiler "$BUILD/variant/gcc" --enable-werror CC=gcc
	lint_step "gcc -Werror, other flags" lint_flags
	lint_step "musl -Werror, echod-listener" lint_musl
	lint_step "clang -Werror" lint_clang
	lint_step "cppcheck" lint_cppcheck
	lint_step "clang-tidy" lint_tidy
	lint_step "shellcheck" lint_shell
	lint_step "python" lint_python
	lint_step "mandoc -Tlint" lint_manual
	lint_step "systemd-analyze verify" lint_units
	if compgen -G "$BUILD/deb/*.changes" >/dev/null; then
		install_packages deb
		lint_step "lintian" lint_packages
	fi
	print_summary "$LINT_PASSED" "$LINT_FAILED" 0
}
