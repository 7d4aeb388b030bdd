#!/bin/sh
# Writes each line that it reads in capitals. The numbers of its two descriptors are its arguments,
# or are in its environment; /dev/fd/ makes of a number what every shell can open.
in=${1:-$IPCPIPES_PIPE_LINES}
out=${2:-$IPCPIPES_PIPE_CAPITALS}
tr '[:lower:]' '[:upper:]' <"/dev/fd/$in" >"/dev/fd/$out"
