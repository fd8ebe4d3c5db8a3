# arm.sh PUT|DELETE PATH VERSION: asks ARM and waits until the resource says that it is done, or is gone.
# The token goes through standard input: an argument vector is for everybody to see.
set -eu
ask() {
    printf 'header = "Authorization: Bearer %s"\n' "${FAKE_TOKEN:-$AZURE_ACCESS_TOKEN}" |
        curl --silent --show-error --config - --output "$answer" --write-out '%{http_code}' --request "$1" \
            --header 'Content-Type: application/json' ${2:+--data "$2"} "$DEMOCTL_AZURE_ENDPOINT$path?api-version=$version"
}
method=$1 path=$2 version=$3 answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
status=$(ask "$method" "${BODY:-}")
case $status in
    2?? | 404) ;;
    *) cat "$answer" >&2; exit 1 ;;
esac
# As the provider does, it does not wait for ever: a look takes a minute of the fake's time.
looks=0
while :; do
    looks=$((looks + 1))
    [ "$looks" -le 90 ] || { echo "still waiting for $path after 90 looks" >&2; exit 1; }
    status=$(ask GET "")
    if [ "$method" = DELETE ]; then
        [ "$status" = 404 ] && exit 0
    else
        grep -q '"provisioningState":"Succeeded"' "$answer" && [ "$status" = 200 ] && exit 0
    fi
    if grep -q '"provisioningState":"\(Failed\|Canceled\)"' "$answer"; then
        cat "$answer" >&2
        exit 1
    fi
done
