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

# Prints the packages of these groups that are not installed, one a line.
missing_packages()
{
	local group package
	for group in "$@"; do
		[ -n "${PACKAGES[$group]:-}" ] || die "no such group of packages: $group"
		for package in ${PACKAGES[$group]}; do
			case $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) in
			installed) ;;
			*) say "$package" ;;
			esac
		done
	done | sort -u
}

# Installs what these groups need and the machine lacks.
install_packages()
{
	local missing sudo=() answer
	if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
		say "dev: no apt-get here, not looking for packages ($*)" >&2
		return
	fi
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	# shellcheck disable=SC2086 # one word a package
	set -- $missing
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null || die "missing packages; as root: apt-get install $*"
		sudo=(sudo)
		if [ "$ASSUME_YES" = no ]; then
			[ -t 0 ] || die "missing packages (--yes installs them): $*"
			read -r -p "Install these packages with sudo apt-get: $*? [y/N] " answer
			[[ $answer == [yY]* ]] || die "not installed: $*"
		fi
	fi
	say "installing: $*"
	local apt_get=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive
		apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300)
	"${apt_get[@]}" update
	"${apt_get[@]}" install "$@" >/dev/null
}

# Unpacks the packages of UNPACKED in build/unpacked and puts their programs on PATH. One that
# cannot be had makes the test that needs it skip.
unpack_packages()
{
	local package directory
	for package in "${UNPACKED[@]}"; do
		directory=$PWD/$BUILD/unpacked/$package
		PATH=$PATH:$directory/usr/bin
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
