# SPDX-License-Identifier: MIT
"""What the benchmark prints and draws: the table, the targets, bar charts as SVG."""
import html
import statistics

COLUMNS = (
    ("rate_1", "conn/s, 1", "{:,.0f}"),
    ("rate_8", "8", "{:,.0f}"),
    ("rate_64", "64", "{:,.0f}"),
    ("first_echo_p50_us_1", "first echo p50 us, 1", "{:,.0f}"),
    ("first_echo_p99_us_1", "p99", "{:,.0f}"),
    ("first_echo_p50_us_64", "p50, 64", "{:,.0f}"),
    ("first_echo_p99_us_64", "p99", "{:,.0f}"),
    ("cpu_us_per_connection_8", "CPU us/conn, 8", "{:,.0f}"),
    ("memory_kb", "idle KB", "{:,.0f}"),
    ("live_ratio", "rate kept", "{:.2f}"),
    ("stream_mb_s", "MB/s", "{:,.0f}"),
    ("stream_cpu_s_per_gb", "CPU s/GB", "{:.2f}"),
    ("ping_p50_us", "ping p50 us", "{:,.0f}"),
)

DATAGRAM_COLUMNS = (
    ("datagrams_64", "64 B/s", "{:,.0f}"),
    ("datagrams_1400", "1,400 B/s", "{:,.0f}"),
    ("datagram_cpu_us_64", "CPU us, 64 B", "{:.2f}"),
    ("datagram_cpu_us_1400", "1,400 B", "{:.2f}"),
    ("datagrams_gso_64", "GSO sender: 64 B/s", "{:,.0f}"),
    ("datagrams_gso_1400", "1,400 B/s", "{:,.0f}"),
    ("datagram_cpu_us_gso_64", "CPU us, 64 B", "{:.2f}"),
    ("datagram_cpu_us_gso_1400", "1,400 B", "{:.2f}"),
    ("datagrams_lost_64", "lost %, 64 B", "{:.1f}"),
    ("datagrams_lost_burst", "of a burst", "{:.1f}"),
    ("datagrams_merged_64", "merged %, 64 B", "{:.0f}"),
)
BARE = "UDP bare loop"

# text, server, measure, against (None: the figure itself), True for "at least", bound
TARGETS = (
    ("connections/s at 64 clients / xinetd", "echod", "rate_64", "xinetd", True, 3.3),
    ("connections/s at 64 clients / fork with libraries", "echod", "rate_64",
     "fork, libraries mapped", True, 1.9),
    ("connections/s at 64 clients / epoll", "echod", "rate_64", "epoll, one process", True, 0.50),
    ("first echo / xinetd", "echod", "first_echo_p50_us_1", "xinetd", False, 0.35),
    ("first echo / epoll", "echod", "first_echo_p50_us_1", "epoll, one process", False, 2.0),
    ("long connection, MB/s / tcpserver cat", "echod", "stream_mb_s", "tcpserver cat", True, 1.3),
    ("long connection, CPU s/GB / tcpserver cat", "echod", "stream_cpu_s_per_gb",
     "tcpserver cat", False, 0.5),
    ("KB of an idle connection", "echod", "memory_kb", None, False, 65),
    ("rate with many live / with none", "echod", "live_ratio", None, True, 0.6),
    ("UDP, datagrams/s of 64 bytes / bare loop", "UDP echod", "datagrams_64", BARE, True, 0.9),
    ("UDP, datagrams/s of 1,400 bytes / bare loop", "UDP echod", "datagrams_1400", BARE, True,
     0.9),
    ("UDP, CPU for 64 bytes / bare loop", "UDP echod", "datagram_cpu_us_64", BARE, False, 1.15),
    ("UDP, CPU for 1,400 bytes / bare loop", "UDP echod", "datagram_cpu_us_1400", BARE, False,
     1.15),
    ("UDP, datagrams/s of 64 bytes / socat", "UDP echod", "datagrams_64", "UDP socat", True, 3),
    ("UDP, GSO sender, datagrams/s of 1,400 bytes / bare loop", "UDP echod",
     "datagrams_gso_1400", BARE, True, 3),
)

CHARTS = (
    ("rate_64", "connections a second, 64 clients", "{:,.0f}", True),
    ("first_echo_p50_us_1", "first echo, median, 1 client (µs)", "{:,.0f}", False),
    ("cpu_us_per_connection_8", "server CPU for a connection (µs)", "{:,.0f}", False),
    ("memory_kb", "memory of an idle connection, both ends (KB)", "{:,.0f}", False),
    ("live_ratio", "rate of new connections kept with many live", "{:.2f}", True),
    ("stream_mb_s", "one long connection (MB/s)", "{:,.0f}", True),
    ("stream_cpu_s_per_gb", "one long connection, server CPU (s/GB)", "{:.2f}", False),
    ("datagrams_64", "datagrams a second, 64 bytes", "{:,.0f}", True),
    ("datagrams_gso_1400", "datagrams a second, 1,400 bytes, GSO sender", "{:,.0f}", True),
    ("datagram_cpu_us_64", "server CPU for a datagram, 64 bytes (µs)", "{:.2f}", False),
)


QUIET = 0.10    # of the processors' time taken by others: more, and a round says little


def median(samples):
    """Median of (value, foreign share): of the quiet rounds where there are three."""
    quiet = [value for value, foreign in samples if foreign <= QUIET]
    return statistics.median(quiet if len(quiet) >= 3 else [value for value, _ in samples])


def medians(rounds):
    """{server: {measure: median over its rounds, or sum of failures}} of (server, values)."""
    collected = {}
    for server, values in rounds:
        for name, value in values.items():
            if value is not None:
                collected.setdefault(server, {}).setdefault(name, []).append(
                    (value, values.get("foreign_cpu", 0)))
    return {server: {name: sum(value for value, _ in samples) if name.startswith("failed_")
                     else median(samples) for name, samples in measures.items()}
            for server, measures in collected.items()}


def disturbances(rounds):
    """A sentence when others used the machine meanwhile."""
    shares = [values["foreign_cpu"] for _, values in rounds if "foreign_cpu" in values]
    loud = sum(share > QUIET for share in shares)
    return [f"{loud} of {len(shares)} measurements were disturbed: other programs took up to "
            f"{max(shares):.0%} of the processors' time"] if loud else []


def cell(values, name, pattern, reference):
    """One value as text, what part of the reference's it is in brackets."""
    if name not in values:
        return "-"
    ratio = f" ({values[name] / reference[name]:.2f})" if reference.get(name) else ""
    return pattern.format(values[name]) + ratio


def failures(values):
    """Connections that failed and datagrams that came back wrong in all rounds."""
    return sum(value for name, value in values.items() if name.startswith("failed_"))


def table(results, unavailable, columns=COLUMNS, compared_with=None):
    """The measured table as Markdown, servers that could not be had at its end."""
    reference = results.get(compared_with, {})
    lines = ["| server | " + " | ".join(title for _, title, _ in columns) + " | failed |",
             "|---" * (len(columns) + 2) + "|"]
    for server, values in results.items():
        cells = [cell(values, name, pattern, reference) for name, _, pattern in columns]
        lines.append(f"| {server} | " + " | ".join(cells) + f" | {failures(values):,.0f} |")
    lines += [f"| {server} | not measured: {why} |" for server, why in unavailable.items()]
    return "\n".join(lines)


def judge(results):
    """[(text, measured or None, "at least 3.3", reached)] for each target."""
    judged = []
    for text, server, name, against, least, bound in TARGETS:
        measured = results.get(server, {}).get(name)
        if measured is not None and against is not None:
            reference = results.get(against, {}).get(name)
            measured = measured / reference if reference else None
        reached = measured is not None and (measured >= bound if least else measured <= bound)
        judged.append((text, measured, f"{'at least' if least else 'at most'} {bound:g}", reached))
    return judged


def target_table(judged):
    """The targets as Markdown."""
    lines = ["| target | bound | measured | reached |", "|---|---|---|---|"]
    for text, measured, bound, reached in judged:
        figure = "-" if measured is None else f"{measured:.2f}"
        verdict = "not measured" if measured is None else "yes" if reached else "**no**"
        lines.append(f"| {text} | {bound} | {figure} | {verdict} |")
    return "\n".join(lines)


BAR, GAP, LABEL, WIDTH, HEAD = 16, 5, 190, 640, 44
COLOUR = {"echod": "#0b6e4f", "epoll, one process": "#7d8597",
          "fork, libraries mapped": "#7d8597", "UDP echod": "#0b6e4f", BARE: "#7d8597"}


def panel(title, entries, pattern, more_is_better, top):
    """One bar chart as a list of SVG elements, and its height."""
    longest = max(value for _, value in entries) or 1
    hint = "more is better" if more_is_better else "less is better"
    parts = [f'<text x="10" y="{top + 22}" font-size="14" font-weight="bold">'
             f'{html.escape(title)}<tspan dx="8" fill="#666" font-weight="normal" font-size="11">'
             f'{hint}</tspan></text>']
    y = top + HEAD - 10
    for name, value in entries:
        length = max(1.0, (WIDTH - LABEL - 90) * max(value, 0) / longest)
        parts += [
            f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{html.escape(name)}</text>',
            f'<rect x="{LABEL}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" '
            f'fill="{COLOUR.get(name, "#b8bec9")}"/>',
            f'<text x="{LABEL + length + 6:.1f}" y="{y + 12}">{pattern.format(value)}</text>']
        y += BAR + GAP
    return parts, y - top + 8


def chart(results, wanted=CHARTS):
    """All charts that have values, one below the other, as one SVG document."""
    parts, top = [], 6
    for name, title, pattern, more_is_better in wanted:
        entries = [(server, values[name]) for server, values in results.items() if name in values]
        if entries:
            entries.sort(key=lambda entry: entry[1], reverse=more_is_better)
            elements, height = panel(title, entries, pattern, more_is_better, top)
            parts += elements
            top += height
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
            f'viewBox="0 0 {WIDTH} {top}" font-family="sans-serif" font-size="12">\n'
            f'<rect width="{WIDTH}" height="{top}" fill="#fff"/>\n' + "\n".join(parts)
            + "\n</svg>\n")
