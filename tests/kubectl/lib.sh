# shellcheck shell=bash
# How a check is written: what it proves, the exit code, what the output must be, the command.

PASSED=0
FAILED=0

passed() { PASSED=$((PASSED + 1)); }

failed() { # name, why
    FAILED=$((FAILED + 1))
    echo "FAIL $1: $2"
}

# judge NAME WANTED_CODE CODE WANTED OUTPUT. WANTED is an extended regular expression; `=text` means exactly that text.
judge() {
    local name=$1 wanted_code=$2 code=$3 wanted=$4 output=$5
    if [ "$code" != "$wanted_code" ]; then
        failed "$name" "exit code $code, not $wanted_code: ${output:0:600}"
    elif [ "${wanted:0:1}" = "=" ]; then
        if [ "$output" = "${wanted:1}" ]; then passed; else failed "$name" "not '${wanted:1}': ${output:0:600}"; fi
    elif [[ $output =~ $wanted ]]; then
        passed
    else
        failed "$name" "does not match '$wanted': ${output:0:600}"
    fi
}

# expect NAME CODE WANTED COMMAND...: judges stdout and stderr together.
expect() {
    local name=$1 code=$2 wanted=$3 output got
    shift 3
    output=$(timeout 20 "$@" 2>&1)
    got=$?
    judge "$name" "$code" "$got" "$wanted" "$output"
}

# eventually NAME WANTED COMMAND...: the same with exit code 0, once it holds, within 15 s.
eventually() {
    local name=$1 wanted=$2 output='' deadline=$((SECONDS + 15))
    shift 2
    while [ $SECONDS -lt $deadline ]; do
        output=$(timeout 10 "$@" 2>&1)
        if [ "${wanted:0:1}" = "=" ]; then
            [ "$output" != "${wanted:1}" ] || break
        else
            [[ ! $output =~ $wanted ]] || break
        fi
    done
    judge "$name" 0 0 "$wanted" "$output"
}

# until_file WANTED FILE: waits until the file has a line that matches, at most 15 s.
until_file() {
    local deadline=$((SECONDS + 15))
    until grep -Eqs "$1" "$2"; do
        [ $SECONDS -lt $deadline ] || return 1
        read -rt 0.05 <> <(:) || true
    done
}

# stop PID: ends a kubectl that runs in the background.
stop() {
    kill "$1" 2>/dev/null
    wait "$1" 2>/dev/null
}
