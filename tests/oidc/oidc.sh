#!/usr/bin/env bash
# Signing in and signing at a real, certified OpenID provider (npm package oidc-provider, pinned in
# package-lock.json), against `serve`: code flow with PKCE, roles from a claim, forged and expired tokens.
#
# Needs Node.js 20 or newer, npm and Python 3; exits 3 with one line where they or the package cannot be had.
# TRIALBRIDGE_TEST_BINARY names the binary.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
. "$here/../clients/common.sh"
command -v python3 >/dev/null || skip "the OpenID test needs python3, which is not installed"
command -v node >/dev/null && command -v npm >/dev/null || skip "the OpenID provider needs node and npm, which are not installed"
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || skip "oidc-provider 9 needs Node.js 20, this is $major"
binary
mkdir "$WORK/node"
cp "$here/package.json" "$here/package-lock.json" "$here/provider.mjs" "$WORK/node/"
(cd "$WORK/node" && nice npm ci --no-audit --no-fund --ignore-scripts) >"$WORK/install" 2>&1 ||
    skip "oidc-provider cannot be installed: $(grep -m1 -i error "$WORK/install" | cut -c1-300)"

read -r http ops provider control < <(free_ports 4)
umask 077
secret=$(python3 -c 'import secrets; print(secrets.token_hex(24))')
printf '%s' "$secret" >"$WORK/client-secret"
printf 'an initial one of nobody' >"$WORK/initial"
cat >"$WORK/trialbridge.toml" <<TOML
data_dir = "$WORK/data"
[allocation]
key_file = "$WORK/allocation.key"
[serve]
listen = "127.0.0.1:$http"
ops_listen = "127.0.0.1:$ops"
[access.oidc]
issuer = "http://127.0.0.1:$provider"
client_id = "trialbridge"
client_secret_file = "$WORK/client-secret"
redirect_url = "http://127.0.0.1:$http/login/oidc/callback"
[access.oidc.roles]
trial-investigator = "investigator"
trial-coordinator = "coordinator"
TOML
export TRIALBRIDGE_CONFIG="$WORK/trialbridge.toml"
echo '{"resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1970-01-01"}' >"$WORK/p1.json"
"$BINARY" import "$WORK/p1.json" >"$WORK/log" 2>&1 || fail "the patient cannot be imported"
"$BINARY" --password-file "$WORK/initial" user add root --role administrator --printed-name root >"$WORK/log" 2>&1 ||
    fail "the first account cannot be made"

(cd "$WORK/node" && exec node provider.mjs "$provider" "$control" "http://127.0.0.1:$http/login/oidc/callback" "$secret") \
    >"$WORK/provider" 2>&1 </dev/null &
provider_pid=$!
trap 'kill "$provider_pid" 2>/dev/null || true; finish' EXIT
"$BINARY" serve >"$WORK/log" 2>&1 </dev/null &
echo $! >"$WORK/pid"
n=0
until curl --silent --fail --noproxy '*' --max-time 5 --output /dev/null "http://127.0.0.1:$ops/readyz" &&
    grep -q ready "$WORK/provider"; do
    kill -0 "$(cat "$WORK/pid")" 2>/dev/null || fail "serve ended at its start"
    n=$((n + 1))
    [ $n -lt 240 ] || fail "serve or the provider did not answer within a minute"
    sleep 0.25
done
python3 "$here/drive.py" "http://127.0.0.1:$http" "http://127.0.0.1:$provider" "http://127.0.0.1:$control" ||
    fail "see above"
! grep -q "$secret" "$WORK/log" || fail "the client's secret is in the log"
