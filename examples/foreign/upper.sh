#!/bin/sh
# Writes each line that it reads in capitals. The numbers of its two descriptors are its arguments
# or in its environment. Every shell can open a descriptor by its number in /dev/fd/.
in=${1:-$IPCPIPES_PIPE_LINES}
out=${2:-$IPCPIPES_PIPE_CAPITALS}
tr '[:lower:]' '[:upper:]' <"/dev/fd/$in" >"/dev/fd/$out"
