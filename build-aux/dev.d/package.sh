# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Packages and releases.

# When the tree was last changed: what tarball and packages carry instead of the time of day.
tree_epoch()
{
	git log -1 --format=%ct 2>/dev/null || stat -c %Y NEWS
}

# make_tarball DIRECTORY: "make dist" there, nothing compiled; prints the tarball's path. The same
# tree gives the same bytes.
make_tarball()
{
	local directory=$1 top=$PWD version
	version=$(build-aux/version)
	grep -qsxF "PACKAGE_VERSION='$version'" configure || ./bootstrap >/dev/null
	mkdir -p "$directory"
	(cd "$directory" && "$top/configure" -q >/dev/null) || return
	TAR_OPTIONS="--sort=name --mtime=@$(tree_epoch) --owner=0 --group=0 --numeric-owner" \
		make -C "$directory" -s --no-print-directory dist >&2 || return
	say "$directory/echod-$version.tar.xz"
}

# limit_standards FILE: claims no newer version of Debian's policy than is known to this release.
limit_standards()
{
	local known claimed
	known=$(sed -nE 's/^ *"version" : "([0-9]+\.[0-9]+\.[0-9]+).*/\1/p' \
		/usr/share/lintian/data/debian-policy/releases.json | sort -V | tail -n 1)
	claimed=$(sed -n 's/^Standards-Version: //p' "$1")
	known=$(printf '%s\n' "$known" "$claimed" | sort -V | head -n 1)
	sed -i "s/^Standards-Version: .*/Standards-Version: $known/" "$1"
}

# unpack_source DIRECTORY: the Debian source tree there, its original tarball (which has no
# debian/) beside it; prints the tree's path. A version that the changelog lacks gets an entry.
unpack_source()
{
	local directory=$1 tarball version tree
	tarball=$(make_tarball "$BUILD/variant/dist") || return
	version=${tarball##*/echod-}
	version=${version%.tar.xz}
	tree=$directory/echod-$version
	rm -rf "$directory"
	mkdir -p "$directory"
	cp "$tarball" "$directory/echod_$version.orig.tar.xz"
	tar -xf "$tarball" -C "$directory"
	git ls-files -z debian | xargs -0 cp --parents -t "$tree" || return
	if [ "$(dpkg-parsechangelog -l "$tree/debian/changelog" -S Version)" != "$version-1" ]; then
		{
			printf 'echod (%s-1) UNRELEASED; urgency=medium\n\n' "$version"
			printf '  * A snapshot.\n\n -- %s  %s\n\n' \
				"$(sed -n 's/^Maintainer: //p' debian/control)" \
				"$(date -u -R -d "@$(tree_epoch)")"
			cat debian/changelog
		} >"$tree/debian/changelog"
	fi
	limit_standards "$tree/debian/control"
	say "$tree"
}

# What dpkg-buildpackage is run by.
BUILD_UNDER=()

# build_packages TREE [ARGUMENTS...]: dpkg-buildpackage there; its log is TREE.build.
build_packages()
{
	local tree=$1 log=$1.build status=0
	shift
	(cd "$tree" && "${BUILD_UNDER[@]}" dpkg-buildpackage -us -uc "$@") >"$log" 2>&1 || status=$?
	[ "$status" -eq 0 ] || tail -n 60 "$log"
	return "$status"
}

# The compiler's flags in the log, and what they made of the programs. A static program has no
# dynamic symbols to look at: that it is position independent and bound early is seen in it.
check_hardening()
{
	local tree=$1 listener programs skipped=(--nocfprotection)
	blhc --all --debian "$tree.build" || return
	[[ $(hardening-check --help) != *--nobranchprotection* ]] ||
		skipped+=(--nobranchprotection)
	mapfile -t programs < <(find "$tree"/debian/{echod,echoctl} -type f \
		\( -path '*/sbin/echod' -o -name echod-generator -o -path '*/bin/echoctl' \))
	[ "${#programs[@]}" -eq 3 ] || return
	hardening-check "${skipped[@]}" "${programs[@]}" || return
	listener=$tree/debian/echod/usr/libexec/echod/echod-listener
	readelf -hld "$listener" >"$tree.listener" || return
	if ! grep -q 'Type: *DYN' "$tree.listener" || ! grep -q 'FLAGS_1.* NOW' "$tree.listener" ||
		! grep -q GNU_RELRO "$tree.listener" || grep -q INTERP "$tree.listener"; then
		say "$listener: not static, position independent and bound early"
		return 1
	fi
}

# The same source once more: another folder, another year, another zone, umask and language.
check_reproducible()
{
	local tree=$1 again=$BUILD/deb/again package
	rm -rf "$again"
	mkdir -p "$again"
	dpkg-source --no-check -x "$BUILD"/deb/*.dsc "$again/another-folder" >/dev/null || return
	(
		umask 077
		BUILD_UNDER=(faketime '+400 days')
		export TZ=Pacific/Kiritimati LC_ALL=C HOME=/nonexistent
		build_packages "$again/another-folder" -b -j1
	) || return
	for package in "$BUILD"/deb/*.deb; do
		cmp "$package" "$again/${package##*/}" || return
	done
	rm -rf "$again"
}

command_deb()
{
	local reproducible=no system=no tree arguments=()
	export DEB_BUILD_OPTIONS=${DEB_BUILD_OPTIONS-nocheck}
	while [ $# -gt 0 ]; do
		case $1 in
		--reproducible) reproducible=yes ;;
		--system) system=yes ;;
		--check) DEB_BUILD_OPTIONS= ;;
		*) arguments+=("$1") ;;
		esac
		shift
	done
	[ -d .git ] || die "deb: needs a checkout, the tarball has no debian/"
	install_packages build deb
	tree=$(unpack_source "$BUILD/deb")
	lint_step "dpkg-buildpackage" build_packages "$tree" "${arguments[@]}"
	[ "$LINT_FAILED" -eq 0 ] || die "deb: see $tree.build"
	ls -1 "$BUILD"/deb/*.deb
	lint_step "hardening" check_hardening "$tree"
	lint_step "lintian" lint_packages
	[ "$reproducible" = no ] || lint_step "reproducible" check_reproducible "$tree"
	if [ "$system" = yes ]; then
		install_packages test system
		[ "$(id -u)" -eq 0 ] || die "deb --system: needs root (it boots a tree)"
		lint_step "installed in a booted system" env ABS_BUILDDIR="$PWD/$BUILD" \
			ECHOD_PACKAGES="$PWD/$BUILD/deb" PYTHONDONTWRITEBYTECODE=1 \
			tests/system/test_packages.py
	fi
	print_summary "$LINT_PASSED" "$LINT_FAILED" 0
}

# What must hold before a version is tagged. It stands in NEWS and, for Debian, in debian/changelog;
# everything else has it from the tag (build-aux/version).
command_release()
{
	local version
	[ -d .git ] || die "release: needs a checkout"
	install_packages build test deb
	[ -z "$(git status --porcelain)" ] || die "release: there are uncommitted changes"
	version=$(sed -nE '1s/^echod ([0-9][^ ]*) \([0-9]{4}-[0-9]{2}-[0-9]{2}\)$/\1/p' NEWS)
	[ -n "$version" ] || die "release: NEWS has to begin with: echod VERSION (YYYY-MM-DD)"
	[ "$(dpkg-parsechangelog -S Version)" = "$version-1" ] ||
		die "release: debian/changelog has no entry for $version-1"
	[ "$(dpkg-parsechangelog -S Distribution)" != UNRELEASED ] ||
		die "release: debian/changelog says UNRELEASED"
	if git rev-parse -q --verify "refs/tags/v$version^{}" >/dev/null; then
		[ "$(git rev-parse HEAD)" = "$(git rev-parse "v$version^{}")" ] ||
			die "release: v$version is another commit"
	fi
	command_check --dist
	command_deb --reproducible
	say "release $version: ready; git tag -s v$version"
}
