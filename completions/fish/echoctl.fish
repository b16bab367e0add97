# SPDX-License-Identifier: MIT
# fish completion of echoctl(1). Commands and options are those that --help shows.

# The command on the line so far; fails when there is none.
function __echoctl_command
    set -l known (__echoctl_commands | string replace -r '\t.*' '')
    for word in (commandline -opc)[2..-1]
        if contains -- $word $known
            echo $word
            return 0
        end
    end
    return 1
end

function __echoctl_commands
    set -l program (commandline -opc)[1]
    $program --help 2>/dev/null </dev/null |
        string replace -rf '^  ([a-z][a-z-]*)  +(.*)$' '$1\t$2'
end

# Each option of the line's command, with its text. Of a value only its name is known.
function __echoctl_options
    set -l program (commandline -opc)[1]
    $program (__echoctl_command) --help 2>/dev/null </dev/null |
        string replace -rf '^ {2,6}(?:(-[[:alnum:]]), )?(--[a-z0-9-]+)( [A-Z]+)?(?: +(.*))?$' \
            '$1\t$4\n$2\t$4' | string split '\\n' | string match -r '^-.*'
end

# Whether the word before the one at the cursor is an option that takes such a value.
function __echoctl_wants
    set -l words (commandline -opc)
    set -l program $words[1]
    string match -qr '^-' -- $words[-1]
    and $program (__echoctl_command) --help 2>/dev/null </dev/null |
        string match -qr -- "^ {2,6}(-., )?(.*, )?$words[-1](, --[a-z-]+)? ($argv[1])( |\$)"
end

# The live connections with their peers; nothing when no daemon answers.
function __echoctl_ids
    set -l program (commandline -opc)[1]
    $program --connect-timeout 1s list 2>/dev/null </dev/null |
        string replace -rf '^(\d+\.\d+) +(\S+) .*$' '$1\t$2'
end

# Whether the line's command is one of those in this expression.
function __echoctl_is
    __echoctl_command | string match -qr -- "^($argv[1])\$"
end

complete -c echoctl -f
complete -c echoctl -n '__echoctl_wants "FILE|PATH"' -F
complete -c echoctl -n 'not __echoctl_command; and not __echoctl_wants "[A-Z]+"' \
    -a '(__echoctl_commands)'
complete -c echoctl -n 'string match -q -- "-*" (commandline -ct)' -a '(__echoctl_options)'
complete -c echoctl -n '__echoctl_wants HOST' -a '(__fish_print_hostnames)'
complete -c echoctl -n '__echoctl_wants WHEN' -a 'auto always never'
complete -c echoctl -n '__echoctl_wants "COLUMNS?"' \
    -a 'id peer via local age idle in out rate worker state'
complete -c echoctl -n '__echoctl_wants LIST
    and string match -qr -- "^(-p|--patterns)\$" (commandline -opc)[-1]' \
    -a 'random zeros ones crlf telnet http sip'
complete -c echoctl -n '__echoctl_is help' -a '(__echoctl_commands)'
complete -c echoctl -n '__echoctl_is plot; and not __echoctl_wants "[A-Z]+"' -F
complete -c echoctl -n '__echoctl_is kill; and not __echoctl_wants "[A-Z]+"' \
    -a '(__echoctl_ids)'
complete -c echoctl -n '__echoctl_is log-level' \
    -a 'emerg alert crit err warning notice info debug'
complete -c echoctl -n 'not __echoctl_wants "[A-Z]+"
    and not __echoctl_is "help|plot|status|list|kill|reload|drain|log-level|metrics"' \
    -a '(__fish_print_hostnames)'
