#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The rules of the tree: rooms, sizes, licence lines, unfit words, what is shipped."""
import fnmatch
import os
import re
import subprocess
import sys

TOP = os.environ.get("ABS_SRCDIR") or os.path.abspath(
    os.path.join(os.path.dirname(__file__), "../.."))
IN_CHECKOUT = os.path.exists(os.path.join(TOP, ".git"))
MAX_FILE_LINES = 800
MAX_FUNCTION_LINES = 60
MAX_COLUMNS = 100

# The rooms of src/, lowest first: no room calls one that stands below it in this table. Behind
# each, what it may include besides itself. A name without a slash is a room of the same hall, or
# else a hall; * is every room of the hall.
ROOMS = """
base
wire                 base
worker               base wire
datagram             base wire
listener             base wire worker datagram

echod/configuration  base wire
echod/log            base configuration
echod/report         base wire configuration log
echod/privileges     wire configuration log
echod/sockets        base wire configuration log privileges
echod/systemd        base configuration log
echod/command_line   base configuration sockets systemd
echod/generation     base wire configuration log report sockets
echod/state          base command_line configuration generation report sockets
echod/metrics        base wire log state
echod/control        base wire log metrics report sockets state
echod/handover       base control log state
echod/supervisor     base command_line configuration control handover log metrics privileges
                     state systemd
echod                *

echoctl/output       base
echoctl/command_line base output
echoctl/probe        base output
echoctl/dial         base command_line probe
echoctl/datagram     base dial probe
echoctl/session      base command_line datagram dial output probe
echoctl/ping         base command_line datagram dial output probe
echoctl/load         base command_line datagram dial output probe
echoctl/idle         base command_line dial output probe
echoctl/plot         base command_line output probe
echoctl/check        base command_line datagram dial probe
echoctl/daemon       base command_line output probe
echoctl              *
"""
HALLS = {"echod": {"base", "wire"}, "echoctl": {"base"}}      # of *: what is no room of the hall
MAX_SOURCES = 15        # in a room
# Where each library's header may stand.
LIBRARIES = {"confuse.h": {"echod"}, "systemd/": {"echod"}, "seccomp.h": {"echod"},
             "cap-ng.h": {"echod"}, "jansson.h": {"echod", "echoctl"}}
# What autoreconf makes, which a tarball has and git has not.
GENERATED = r"(configure|aclocal\.m4|config\.h\.in|Makefile\.in|build-aux/[\w.-]+|m4/l[\w~]+\.m4)$"
# Where the time of day may be read: to be shown. It may be set at any time, so no timer uses it.
WALL_CLOCK = r"CLOCK_REALTIME|CLOCK_TAI|\bgettimeofday\(|\btime\((NULL|&)|pthread_cond_timedwait\("
SHOWS_TIME = {"src/echod/log/log.c", "src/echod/supervisor/status.c",
              "src/echoctl/output/series.c", "src/echoctl/ping/tally.c"}
FORBIDDEN = [
    (r"/work/", "a path of one machine"),
    (r"(?i)\bissue[ #]*\d", "an issue by number"),
    (r"\b(TODO|FIXME|XXX|HACK)\b", "an unfinished thought"),
]


def tracked(*patterns):
    """Files of the tree: from git, else (in a tarball) from the folder itself."""
    result = None
    if IN_CHECKOUT:
        result = subprocess.run(["git", "-C", TOP, "ls-files", "-z", "--", *patterns],
                                capture_output=True, check=False)
    if result and result.returncode == 0:
        names = [name for name in result.stdout.decode().split("\0") if name]
        return [name for name in names if os.path.isfile(os.path.join(TOP, name))]
    found = []
    for folder, folders, names in os.walk(TOP):
        folders[:] = [name for name in folders if name not in (".git", "build", "_build")]
        found += [os.path.relpath(os.path.join(folder, name), TOP) for name in names]
    return sorted(name for name in found if name != "config.h" and
                  any(fnmatch.fnmatch(name, pattern) for pattern in patterns or ("*",)))


def read(name):
    with open(os.path.join(TOP, name), encoding="utf-8", errors="replace") as file:
        return file.read()


def rooms():
    """ROOMS as a dictionary: room -> the set of rooms that it may include."""
    result = {}
    for line in re.sub(r"\n +", " ", ROOMS).split("\n"):
        name, *others = line.split() or [None]
        if not name:
            continue
        hall = name.split("/")[0]
        if others == ["*"]:
            others = [room for room in result if room.startswith(hall + "/")] + list(HALLS[hall])
        others = {f"{hall}/{other}" if f"{hall}/{other}" in result else other for other in others}
        assert others <= set(result), f"{name}: {others - set(result)} must stand above it"
        result[name] = others
    return result


def includes(name):
    """The files of src/ that this one includes, with the line number."""
    for number, line in enumerate(read(name).splitlines(), 1):
        match = re.match(r'\s*#\s*include\s+"([\w/]+\.h)"', line)
        if match and match[1] != "config.h":
            yield number, "src/" + match[1]


def room_of(name):
    return os.path.dirname(name)[len("src/"):]


def circles(arrows):
    """Lists of nodes that lead back to their first one; arrows: node -> nodes."""
    done = set()

    def walk(node, path):
        if node in path:
            yield path[path.index(node):]
        elif node not in done:
            for other in sorted(arrows.get(node, ())):
                yield from walk(other, path + [node])
            done.add(node)

    for node in sorted(arrows):
        yield from walk(node, [])


def check_rooms():
    """Every include stays in its room or goes down to one that ROOMS names, and to each of those."""
    allowed, used = rooms(), set()
    for name in tracked("src/*.c", "src/*.h"):
        room = room_of(name)
        if room not in allowed:
            yield f"{name}: no room of the table"
            continue
        for number, other in includes(name):
            if room_of(other) != room and room_of(other) not in allowed[room]:
                yield f"{name}:{number}: {room} includes {room_of(other) or other}"
            used.add((room, room_of(other)))
        for number, line in enumerate(read(name).splitlines(), 1):
            for header, halls in LIBRARIES.items():
                pattern = r"\s*#\s*include\s+<" + re.escape(header)
                if re.match(pattern, line) and room.split("/")[0] not in halls:
                    yield f"{name}:{number}: {room} includes <{header}>"
    for room, others in allowed.items():
        for other in sorted(others) if room not in HALLS else ():
            if (room, other) not in used:
                yield f"ROOMS: {room} does not include {other}, take it out"


def check_header_circles():
    """No header includes itself by way of others."""
    arrows = {name: {other for _, other in includes(name)} for name in tracked("src/*.h")}
    for circle in circles(arrows):
        yield " -> ".join(circle + circle[:1])


def symbols():
    """What nm finds in the objects of the build: source -> defined names, source -> undefined."""
    builddir = os.environ.get("ABS_BUILDDIR") or os.path.join(TOP, "build")
    defined, wanted, source_of = {}, {}, {}
    for name in tracked("src/*.c"):
        folder, stem = os.path.split(os.path.join(builddir, name[:-len(".c")]))
        objects = [os.path.join(folder, made) for made in
                   (os.listdir(folder) if os.path.isdir(folder) else ())
                   if made == stem + ".o" or made.endswith(f"-{stem}.o")]
        if objects:     # one of an earlier build may have another name
            source_of[max(objects, key=os.path.getmtime)] = name
    if not source_of:
        return defined, wanted
    listing = subprocess.run(["nm", "-A", "-P", "-g", *source_of], capture_output=True, text=True,
                             check=True)
    for line in listing.stdout.splitlines():
        path, symbol, kind = line.split()[:3]
        (wanted if kind == "U" else defined).setdefault(source_of[path.rstrip(":")],
                                                        set()).add(symbol)
    return defined, wanted


def calls():
    """Source -> sources that define what it calls or refers to."""
    defined, wanted = symbols()
    home = {symbol: name for name, own in defined.items() for symbol in own if symbol != "main"}
    return {name: {home[symbol] for symbol in own if symbol in home} - {name}
            for name, own in wanted.items()}


def check_calls_down():
    """No file calls one of a room above its own."""
    order = list(rooms())
    for name, others in sorted(calls().items()):
        for other in sorted(others):
            if order.index(room_of(other)) > order.index(room_of(name)):
                yield f"{name}: calls {other}"


def check_call_circles():
    """No file calls itself by way of others: a file stands on those that it calls."""
    for circle in circles(calls()):
        yield " -> ".join(circle + circle[:1])


def check_sizes_of_rooms():
    """No room has more sources than one can take in at a glance."""
    count = {}
    for name in tracked("src/*.c"):
        count[room_of(name)] = count.get(room_of(name), 0) + 1
    for room, sources in sorted(count.items()):
        if sources > MAX_SOURCES:
            yield f"src/{room}: {sources} sources"


def check_own_header_first():
    """A source with a header of its own includes that one first (config.h aside)."""
    names = tracked("src/*.c", "src/*.h")
    for name in names:
        if not name.endswith(".c") or name[:-1] + "h" not in names:
            continue
        includes = re.findall(r'^\s*#\s*include\s+(["<].*?[">])', read(name), re.MULTILINE)
        includes = [text for text in includes if text not in ('"config.h"', "<config.h>")]
        own = '"' + name[len("src/"):-1] + 'h"'
        if includes and includes[0] != own:
            yield f"{name}: includes {includes[0]} before {own}"


def check_files():
    """No file above the limit, no line too wide."""
    for name in tracked("src/*.c", "src/*.h", "tests/*.c", "tests/*.h", "tests/*.py",
                        "build-aux/dev.d/*.sh", "dev"):
        lines = read(name).splitlines()
        limit = MAX_FILE_LINES
        if len(lines) > limit:
            yield f"{name}: {len(lines)} lines"
        for number, line in enumerate(lines, 1):
            # what a user reads stays in one piece, so that it can be searched for
            is_text = re.match(r'\s*"', line) or "http" in line
            if len(line.expandtabs(8)) > MAX_COLUMNS and not is_text:
                yield f"{name}:{number}: {len(line.expandtabs(8))} columns"


def check_functions():
    """No function above the limit."""
    for name in tracked("src/*.c", "tests/*.c"):
        start = None
        for number, line in enumerate(read(name).splitlines(), 1):
            if line.startswith("{"):
                start = number
            elif line.startswith("}") and start is not None:
                if number - start - 1 > MAX_FUNCTION_LINES:
                    yield f"{name}:{start}: a function of {number - start - 1} lines"
                start = None


def check_licence():
    """The SPDX line stands on top of each source, after a script's first line."""
    for name in tracked("*.c", "*.h", "*.py", "*.sh", "*.am", "*.ac", "*.m4", "dev", "bootstrap",
                        "*.in", ".ci/run"):
        if name.startswith("debian/") or name in ("config.h.in", "Makefile.in", "aclocal.m4") \
                or (name.startswith(("m4/", "build-aux/")) and name not in
                    ("m4/echod.m4", "build-aux/version")):
            continue
        head = read(name).splitlines()[:3]
        if not any("SPDX-License-Identifier: MIT" in line for line in head):
            yield f"{name}: no SPDX line"


def check_words():
    """Nothing that speaks of a machine or of how the work was organised."""
    if not IN_CHECKOUT:
        return      # a distribution carries files of the autotools
    for name in tracked():
        if name == "tests/meta/test_layout.py" or name.startswith("tests/fuzz/corpus"):
            continue
        for number, line in enumerate(read(name).splitlines(), 1):
            for pattern, what in FORBIDDEN:
                if re.search(pattern, line):
                    yield f"{name}:{number}: {what}: {line.strip()[:80]}"


def check_clocks():
    """The time of day is read to be shown, by no timer."""
    for name in set(tracked("src/*.c", "src/*.h")) - SHOWS_TIME:
        for number, line in enumerate(read(name).splitlines(), 1):
            if re.search(WALL_CLOCK, line):
                yield f"{name}:{number}: {line.strip()}"


def check_documented():
    """Each path and each name() in HACKING.md and DESIGN.md exists."""
    names, code = tracked(), "".join(read(name) for name in tracked("src/*.c", "src/*.h"))
    places = {name[:end] for name in names for end in range(len(name) + 1)
              if name[end:end + 1] in ("", "/")}
    for page in ("HACKING.md", "DESIGN.md"):
        text = read(page)
        for path in set(re.findall(r"(?<![\w./-])(?:[\w-]+/)*[\w-]+\.(?:[chm]|py|md|pml|json)\b|"
                                   r"(?:src|tests|doc|etc|man|build-aux)/[\w./-]*\w", text)):
            if not any(place.endswith("/" + path) or place == path for place in places):
                yield f"{page}: {path}"
        for name in set(re.findall(r"(\w+)\(\)", text)):
            if not re.search(rf"\b{name}\b", code):
                yield f"{page}: {name}()"


def check_shipped():
    """make dist ships the tree (but debian/, which is no part of it) and what autoreconf makes."""
    if not IN_CHECKOUT:
        return
    builddir = os.environ.get("ABS_BUILDDIR") or os.path.join(TOP, "build")
    listing = subprocess.run(["make", "-s", "--no-print-directory", "-C", builddir,
                              "print-distributed"],
                             capture_output=True, text=True, check=False)
    if listing.returncode != 0:
        yield f"make print-distributed: {listing.stderr.strip()[-300:]}"
        return
    # With "../configure" some names begin at the build directory.
    shipped = {os.path.relpath(os.path.join(base, name), TOP)
               for name in listing.stdout.split() for base in (TOP, builddir)}
    for name in tracked():
        folders = {name[:end] for end, letter in enumerate(name) if letter == "/"}
        if not name.startswith("debian/") and not shipped & {name, *folders}:
            yield f"{name}: not in the distribution"
    for name in sorted(shipped - set(tracked())):
        path = os.path.join(TOP, name)
        if os.path.isfile(path) and not re.match(GENERATED, name):
            yield f"{name}: in the distribution, not in git"


def check_ignored():
    """What a build makes in the tree is no news to git."""
    builddir = os.environ.get("ABS_BUILDDIR") or os.path.join(TOP, "build")
    if not IN_CHECKOUT or not os.path.isdir(builddir):
        return
    own, made = set(tracked()), set()
    kept = {os.path.dirname(name) or "." for name in own}
    for folder, folders, names in os.walk(builddir):
        here = os.path.relpath(folder, builddir)
        if here in kept or os.path.basename(here) in (".deps", ".libs"):
            made |= {os.path.normpath(os.path.join(here, name)) for name in names}
        folders[:] = [name for name in folders if name != ".git"]
    ignored = subprocess.run(["git", "-C", TOP, "check-ignore", "--no-index", "-z", "--stdin"],
                             input="\0".join(made), capture_output=True, text=True, check=False)
    for name in sorted(made - own - set(ignored.stdout.split("\0"))):
        yield f"{name}: made by a build, and not in .gitignore"


def main():
    checks = [(name, function) for name, function in sorted(globals().items())
              if name.startswith("check_")]
    print(f"1..{len(checks)}")
    failed = 0
    for number, (_, function) in enumerate(checks, 1):
        complaints = list(function())
        for complaint in complaints[:50]:
            print("# " + complaint)
        failed += bool(complaints)
        print(f"{'not ok' if complaints else 'ok'} {number} - {function.__doc__}", flush=True)
    sys.exit(1 if failed else 0)


main()
