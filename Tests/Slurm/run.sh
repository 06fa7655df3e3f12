#!/usr/bin/env bash
# Runs the scripts of formats/many-machines.md on a real Slurm: controller, daemon and munge on this
# machine, in a temporary folder, as root. One task of four is killed on the way and queued again.
set -euo pipefail
[ "$(id -u)" = 0 ] || exec sudo -E "$0" "$@"
cd "$(dirname "$0")/../.."
root=$PWD
ingot=${INGOT:-$root/.build/release/ingot}
checkpoint=${1:-$root/Fixtures/models/llama3}

missing=""
for package in slurm-wlm munge; do dpkg -s "$package" >/dev/null 2>&1 || missing="$missing $package"; done
if [ -n "$missing" ]; then
  apt-get update -q
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $missing
fi

work=$(mktemp -d)
pids=()
finish() {
  status=$?
  if [ $status != 0 ]; then tail -n 30 "$work"/log/*.log "$work"/jobs/*.log 2>/dev/null || true; fi
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
  rm -rf "$work"
  exit $status
}
trap finish EXIT
mkdir "$work"/{log,state,spool,bin,jobs,munge}
chmod 755 "$work"
chmod 700 "$work/munge"

# Free ports, so that a Slurm that the machine has is left alone.
read -r control daemon < <(python3 - <<'PORTS'
import socket
sockets = [socket.socket() for _ in range(2)]
for s in sockets: s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))
PORTS
)
host=$(hostname -s)
cat >"$work/slurm.conf" <<CONF
ClusterName=ingot-test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket,cred_expire=10
CredType=cred/munge
SlurmctldPort=$control
SlurmdPort=$daemon
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/log/slurmctld.log
SlurmdLogFile=$work/log/slurmd.log
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SchedulerParameters=sched_interval=1,sched_min_interval=0
ReturnToService=2
MailProg=/bin/true
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=10 State=UP
CONF
export SLURM_CONF=$work/slurm.conf

dd if=/dev/urandom of="$work/munge/key" bs=1024 count=1 status=none
chmod 400 "$work/munge/key"
munged --foreground --force --key-file="$work/munge/key" --socket="$work/munge/socket" \
  --pid-file="$work/munge/pid" --log-file="$work/log/munged.log" --seed-file="$work/munge/seed" \
  >"$work/log/munged.out.log" 2>&1 &
pids+=($!)
for _ in $(seq 50); do [ -S "$work/munge/socket" ] && break; sleep 0.1; done
slurmctld -D >"$work/log/slurmctld.out.log" 2>&1 &
pids+=($!)
slurmd -D -N "$host" >"$work/log/slurmd.out.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
  if sinfo -h -o %T 2>/dev/null | grep -q idle; then break; fi
  sleep 0.2
done
sinfo

# The page's scripts, and a program of their name that is killed once in the second part's midst.
cd "$work/jobs"
for name in convert-parts.sbatch submit.sh; do
  awk -v name="$name" '
    $0 == "<!-- file: " name " -->" { wanted = 1; next }
    wanted && /^```/ { if (inside) exit; inside = 1; next }
    inside { print }' "$root/formats/many-machines.md" >"$name"
  [ -s "$name" ]
done
cat >"$work/bin/ingot" <<PROGRAM
#!/bin/sh
if [ "\${SLURM_ARRAY_TASK_ID:-}" = 2 ] && [ "\$1" = convert ] && mkdir "$work/killed" 2>/dev/null; then
  "$ingot" "\$@" &
  while ! ls "$work"/jobs/.out.gguf.ingot.part-2-of-4.journal >/dev/null 2>&1; do sleep 0.01; done
  kill -9 \$!
  wait \$!
  exit
fi
exec "$ingot" "\$@"
PROGRAM
chmod 755 "$work/bin/ingot"
export PATH=$work/bin:$PATH

last=$(bash ./submit.sh "$checkpoint" "$work/jobs/out.gguf")
for _ in $(seq 900); do
  state=$(scontrol show job "$last" -o 2>/dev/null | sed -n 's/.*JobState=\([A-Z]*\).*/\1/p')
  case $state in PENDING | RUNNING | COMPLETING | CONFIGURING) sleep 0.2 ;; *) break ;; esac
done
cat ./*.log
[ "$state" = COMPLETED ]
[ -d "$work/killed" ]
grep -q 'Restarts=1' <(scontrol show job -o)
"$ingot" convert "$checkpoint" -o "$work/single.gguf" --type Q4_K_M --progress none
cmp "$work/single.gguf" out.gguf
left=$(find . -name '.*ingot*')
[ -z "$left" ] || { echo "left: $left" >&2; exit 1; }
echo "slurm: four parts, one of them killed and queued again, equal one machine's archive"
