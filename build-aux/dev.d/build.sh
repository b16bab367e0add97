# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Packages, bootstrap, configure, make.

# The build by clang notes down how it compiled each file, for clang-tidy.
CLANG_TREE=$BUILD/variant/clang
CLANG_CONFIGURE=(--enable-werror CC=clang)
CLANG_CONFIGURE+=("CFLAGS=-g -O2 -Wno-unused-command-line-argument \
-gen-cdb-fragment-path $PWD/$CLANG_TREE/commands")

command_deps()
{
	local groups=("$@")
	if [ $# -eq 0 ] || [ "$1" = all ]; then
		groups=("${!PACKAGES[@]}")
	fi
	install_packages "${groups[@]}"
	say "dependencies: complete (${groups[*]})"
}

# The first of these that apt has, not only knows as a name; else the last.
choose_package()
{
	while [ $# -gt 1 ] && [ -z "$(apt-cache show "$1" 2>/dev/null)" ]; do
		shift
	done
	say "$1"
}

# Prints the packages of these groups that are not installed, one a line.
missing_packages()
{
	local group package native
	native=$(dpkg --print-architecture)
	for group in "$@"; do
		for package in ${PACKAGES[$group]}; do
			# shellcheck disable=SC2086 # one word a package
			package=$(choose_package ${package//|/ })
			# a tree for cross-builds has some of another architecture
			dpkg-query -W -f='${Architecture} ${db:Status-Status}\n' "$package" \
				2>/dev/null | grep -qxE "(all|$native) installed" || say "$package"
		done
	done | sort -u
}

# Installs what these groups need and the machine lacks.
install_packages()
{
	local missing=() sudo=() answer group
	for group in "$@"; do
		[ -n "${PACKAGES[$group]:-}" ] || die "no such group of packages: $group"
	done
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
		say "dev: no apt-get here, not looking for packages ($*)" >&2
		return
	fi
	mapfile -t missing < <(missing_packages "$@")
	[ "${#missing[@]}" -gt 0 ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null ||
			die "missing packages; as root: apt-get install ${missing[*]}"
		sudo=(sudo)
		if [ "$ASSUME_YES" = no ]; then
			[ -t 0 ] || die "missing packages (--yes installs them): ${missing[*]}"
			read -r -p "Install with sudo apt-get: ${missing[*]}? [y/N] " answer
			[[ $answer == [yY]* ]] || die "not installed: ${missing[*]}"
		fi
	fi
	local apt_get=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive
		apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300)
	"${apt_get[@]}" update
	# only now a fresh machine knows which packages there are
	mapfile -t missing < <(missing_packages "$@")
	say "installing: ${missing[*]}"
	"${apt_get[@]}" install "${missing[@]}" >/dev/null
}

# Unpacks the packages of UNPACKED in build/unpacked and puts their programs on PATH. One that
# cannot be had makes the test that needs it skip.
unpack_packages()
{
	local package directory
	for package in "${UNPACKED[@]}"; do
		# shellcheck disable=SC2086 # one word a package
		package=$(choose_package ${package//|/ })
		directory=$PWD/$BUILD/unpacked/$package
		PATH=$PATH:$directory/usr/bin:$directory/usr/sbin
		[ ! -d "$directory/usr" ] || continue
		mkdir -p "$directory"
		(cd "$directory" && apt-get -qq download "$package" && dpkg-deb -x ./*.deb .) ||
			say "dev: package $package cannot be fetched" >&2
	done
}

# build_tree DIRECTORY [CONFIGURE ARGUMENTS...]: configured once for these arguments, then made.
build_tree()
{
	local directory=$1 top=$PWD wanted
	shift
	wanted="$*"
	[ -x configure ] || ./bootstrap >/dev/null
	mkdir -p "$directory"
	if [ ! -f "$directory/config.status" ] ||
		[ "$wanted" != "$(cat "$directory/.configured-as" 2>/dev/null)" ]; then
		(cd "$directory" && "$top/configure" -q "$@")
		printf '%s' "$wanted" >"$directory/.configured-as"
	fi
	make -C "$directory" -s --no-print-directory -j"$(nproc)" all
}

command_build()
{
	install_packages build
	build_tree "$BUILD" "$@"
	say "built in $BUILD/"
}
