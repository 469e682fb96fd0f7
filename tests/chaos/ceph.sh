#!/usr/bin/env bash
# A real S3 server for the chaos tests: Ceph's RADOS Gateway on one node, in memory, on loopback.
#
#   ceph.sh install      Debian's packages (as root)
#   ceph.sh start DIR    start one that writes below DIR only; prints the endpoint
#   ceph.sh stop DIR     end what start began, and remove DIR
#
# Ports are free ones, so servers in different DIRs do not meet. The keys are chaos / chaos-secret.
set -euo pipefail

PACKAGES=(ceph-common ceph-mon ceph-osd radosgw)
START_TIMEOUT_S=60

fail() {
  echo "ceph.sh: $1" >&2
  exit 1
}

install_packages() {
  [[ $(id -u) == 0 ]] || fail "expected root to install ${PACKAGES[*]}, got $(id -un); use sudo"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${PACKAGES[@]}" >/dev/null
}

require_packages() {
  local program
  for program in ceph ceph-mon ceph-osd radosgw; do
    command -v "$program" >/dev/null || fail "Ceph's $program is missing; run tests/chaos/ceph.sh install"
  done
}

free_ports() { # COUNT: that many different ports, on one line
  python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in sockets))
PYTHON
}

write_config() { # DIR MONITOR_PORT GATEWAY_PORT
  cat >"$1/ceph.conf" <<CONFIG
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = [v2:127.0.0.1:$2]
public network = 127.0.0.0/8
ms bind ipv6 = false
keyring = $1/keyring
run dir = $1
admin socket = $1/\$name.socket
pid file = $1/\$name.pid
log file = $1/\$name.log
# One disk in memory that holds the only copy.
osd objectstore = memstore
memstore device bytes = 4G
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
# Few placement groups a pool: a pool is made in a moment then.
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
[mon.a]
mon data = $1/monitor
[osd.0]
osd data = $1/disk
[client.rgw.chaos]
rgw frontends = beast endpoint=127.0.0.1:$3
rgw dns name = 127.0.0.1
CONFIG
}

make_keys() { # KEYRING: one key for each daemon
  ceph-authtool --create-keyring "$1" --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool "$1" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
  ceph-authtool "$1" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
  ceph-authtool "$1" --gen-key -n client.rgw.chaos --cap mon 'allow rw' --cap osd 'allow rwx'
}

start_daemons() { # DIR MONITOR_PORT; CEPH_CONF leads every command to its settings
  local fsid disk
  fsid=$(sed -n 's/^fsid = //p' "$CEPH_CONF") disk=$(cat /proc/sys/kernel/random/uuid)
  mkdir "$1/monitor" "$1/disk"
  make_keys "$1/keyring"
  monmaptool --create --fsid "$fsid" --addv a "[v2:127.0.0.1:$2]" "$1/monmap"
  ceph-mon --mkfs -i a --monmap "$1/monmap" --keyring "$1/keyring"
  ceph-mon -i a
  timeout "$START_TIMEOUT_S" ceph osd new "$disk" 0
  ceph-osd -i 0 --mkfs --osd-uuid "$disk"
  ceph-osd -i 0
  timeout "$START_TIMEOUT_S" radosgw-admin user create --uid=chaos --display-name=chaos \
    --access-key=chaos --secret-key=chaos-secret
  radosgw -n client.rgw.chaos
}

start() { # DIR
  local dir monitor_port gateway_port deadline
  require_packages
  dir=$(realpath -m "$1")
  mkdir -p "$dir"
  [[ ! -e $dir/ceph.conf ]] || fail "expected an empty folder, but $dir holds a server; stop it first"
  read -r monitor_port gateway_port < <(free_ports 2)
  write_config "$dir" "$monitor_port" "$gateway_port"
  export CEPH_CONF=$dir/ceph.conf
  start_daemons "$dir" "$monitor_port" &>"$dir/start.log" || fail "a daemon did not start; see $dir/start.log"
  deadline=$((SECONDS + START_TIMEOUT_S))
  until curl --fail --silent --max-time 2 --output /dev/null "http://127.0.0.1:$gateway_port/"; do
    ((SECONDS < deadline)) || fail "no answer on port $gateway_port in $START_TIMEOUT_S s; see $dir"
    sleep 0.2
  done
  echo "http://127.0.0.1:$gateway_port"
}

stop() { # DIR
  local dir pid_file
  dir=$(realpath -m "$1")
  [[ -e $dir/ceph.conf ]] || fail "expected a folder that start made, got $dir"
  for pid_file in "$dir"/*.pid; do
    [[ ! -s $pid_file ]] || kill -KILL "$(<"$pid_file")" || true # it is in memory: nothing to save
  done
  rm -rf "$dir"
}

case ${1:-} in
  install) install_packages ;;
  start) start "${2:?DIR}" ;;
  stop) stop "${2:?DIR}" ;;
  *) fail "expected install, start DIR or stop DIR, got '$*'" ;;
esac
