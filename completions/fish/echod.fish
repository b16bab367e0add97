# SPDX-License-Identifier: MIT
# fish completion of echod(8).

complete -c echod -f
complete -c echod -s c -l config -r -F -d 'Settings'
complete -c echod -s l -l listen -x -d 'Listen here instead of where the settings say'
complete -c echod -s L -l log-level -x -a 'emerg alert crit err warning notice info debug' \
    -d 'Log lines of this level and above'
complete -c echod -s t -l test -d 'Test the settings and exit'
complete -c echod -s T -l print-config -d 'Print the effective settings and exit'
complete -c echod -s i -l inetd -d 'Serve the one connection on standard input'
complete -c echod -s h -l help -d 'Display help'
complete -c echod -s V -l version -d 'Display version'
