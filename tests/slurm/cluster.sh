#!/usr/bin/env bash
# A SLURM cluster of two virtual nodes on this machine, for tests: munged, slurmctld, and slurmd once per node.
# Needs root and the packages slurm-wlm and munge. All state lies in one folder; nothing under /etc is read or written.
#
#   cluster.sh start STATE              returns when both nodes are idle
#   cluster.sh stop STATE               ends its daemons and whatever jobs left running
#   cluster.sh env STATE                shell lines that make SLURM's commands talk to this cluster
#   cluster.sh kill-node NODE STATE     like a power cut that is noticed at once: slurmd, its job steps and their
#                                       processes, by SIGKILL
#   cluster.sh start-node NODE STATE
set -euo pipefail
export LC_ALL=C
command=${1:?command}; shift
case $command in kill-node|start-node) node=${1:?node}; shift;; esac
state=${1:?folder}; mkdir -p "$state"; state=$(cd "$state" && pwd -P)

NODES="n1 n2"
# What the nodes pretend to have: enough for a whole test study with the requests of profiles/slurm.
CPUS=128 MEMORY_MB=4000000 GPUS=24
# Seconds of silence after which a node, a message, a job's start count as lost. A busy machine is silent for long.
SILENCE=600

# A surrounding job's variables would reach the daemons.
for name in $(compgen -e | grep -E '^(SLURM|SBATCH|SRUN|SQUEUE)_' || true); do unset "$name"; done
export SLURM_CONF=$state/etc/slurm.conf
PATH=/usr/sbin:/usr/bin:/sbin:/bin     # the real commands, not the wrappers of `write_wrappers`

fail() { echo "cluster.sh: $*" >&2; exit 1; }

is() { [[ $(readlink "/proc/$1/exe") == */"$2"* ]]; }  # PID NAME; nothing is there for a zombie

running() { is "$(cat "$1" 2>/dev/null)" "$2"; }  # PID_FILE NAME

wait_until() {  # SECONDS COMMAND...
  local deadline=$((SECONDS + $1)); shift
  until "$@" >/dev/null 2>&1; do ((SECONDS < deadline)) || return 1; sleep 0.2; done
}

end() {  # PID_FILE NAME
  local pid; pid=$(cat "$1" 2>/dev/null) && is "$pid" "$2" || return 0
  kill "$pid"
  wait_until 10 gone "$pid" "$2" || kill -9 "$pid" || true
  rm -f "$1"
}

gone() { ! is "$@"; }

free_ports() {
  python3 -c 'import socket; held = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*[one.getsockname()[1] for one in held])'
}

# SLURM takes the GPUs that CUDA_VISIBLE_DEVICES names from device files: with plain files the variable stays empty.
gpu_files() {
  local number
  for ((number = 0; number < GPUS; number++)); do
    [[ -c $state/dev/gpu$number ]] || mknod -m 666 "$state/dev/gpu$number" c 1 3 2>/dev/null || {
      echo "/dev/tty[0-$((GPUS - 1))]"; return; }
  done
  echo "$state/dev/gpu[0-$((GPUS - 1))]"
}

write_configuration() {
  mkdir -p "$state"/{bin,dev,etc,log,munge,run,spool/controller}
  chmod 755 "$state" "$state"/munge
  [[ -s $state/etc/ports ]] || free_ports > "$state/etc/ports"
  local host ports number=0 name; host=$(hostname -s); read -r -a ports < "$state/etc/ports"
  {
    cat <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$state/munge/socket
CredType=cred/munge
StateSaveLocation=$state/spool/controller
SlurmdSpoolDir=$state/spool/%n
SlurmctldPidFile=$state/run/slurmctld.pid
SlurmdPidFile=$state/run/%n.pid
SlurmctldLogFile=$state/log/slurmctld.log
SlurmdLogFile=$state/log/%n.log
# No cgroups: they need not be there, and would lie outside this folder.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# The nodes may claim more than the machine has.
SlurmdParameters=config_overrides
GresTypes=gpu
ReturnToService=2
SlurmdTimeout=$SILENCE
TCPTimeout=30
MessageTimeout=$SILENCE
BatchStartTimeout=$SILENCE
UnkillableStepTimeout=$SILENCE
KillWait=2
# SLURM's default, on which \`slurm-status-command: squeue\` relies.
MinJobAge=300
# As on most clusters: what profiles/slurm has to switch off.
JobRequeue=1
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0,bf_interval=2
PartitionName=cpu Nodes=ALL Default=YES MaxTime=10-0 State=UP
PartitionName=gpu Nodes=ALL MaxTime=10-0 State=UP
CONF
    # By their weights, n2 gets what n1 has no room for, and what comes while a job on n1 is ending.
    for name in $NODES; do
      number=$((number + 1))
      echo "NodeName=$name NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[number]} CPUs=$CPUS Boards=1" \
        "SocketsPerBoard=1 CoresPerSocket=$CPUS ThreadsPerCore=1 RealMemory=$MEMORY_MB Gres=gpu:$GPUS Weight=$number State=UNKNOWN"
    done
  } > "$SLURM_CONF"
  echo "Name=gpu File=$(gpu_files)" > "$state/etc/gres.conf"
  echo "CgroupPlugin=cgroup/v1" > "$state/etc/cgroup.conf"
}

# Snakemake's executor inside a job drops SLURM_CONF, and its srun would look in /etc. These wrappers put it back.
write_wrappers() {
  local name
  for name in srun sbatch squeue scancel scontrol sinfo sacct sacctmgr sshare; do
    printf '#!/bin/sh\nexport SLURM_CONF=%s\nexec /usr/bin/%s "$@"\n' "$SLURM_CONF" "$name" > "$state/bin/$name"
    chmod 755 "$state/bin/$name"
  done
}

start_munged() {
  running "$state/run/munged.pid" munged && return
  [[ -s $state/munge/key ]] || (umask 077; head -c 1024 /dev/urandom > "$state/munge/key")
  rm -f "$state/munge/socket"
  munged --force --socket="$state/munge/socket" --key-file="$state/munge/key" --pid-file="$state/run/munged.pid" \
    --seed-file="$state/munge/seed" --log-file="$state/log/munged.log"
  wait_until $SILENCE munge --no-input --socket="$state/munge/socket" || fail "munged does not answer"
}

start_node() {  # NODE
  running "$state/run/$1.pid" slurmd && return
  mkdir -p "$state/spool/$1"
  slurmd -N "$1" </dev/null >> "$state/log/$1.out" 2>&1 || fail "slurmd of $1 does not start"
}

all_idle() { [[ $(sinfo --noheader --Node --partition cpu --format %t | sort | uniq -c | xargs) == "2 idle" ]]; }

# The processes of a node's jobs, with the slurmstepd above each of them.
job_processes() {  # NODE
  local file pid parent
  for file in /proc/[0-9]*/environ; do
    [[ $(tr '\0' '\n' < "$file" | grep -cxF -e "SLURM_CONF=$SLURM_CONF" -e "SLURMD_NODENAME=$1") == 2 ]] || continue
    pid=${file//[^0-9]/}
    parent=$(awk '$1 == "PPid:" { print $2 }' "/proc/$pid/status")
    [[ $(cat "/proc/$parent/comm") != slurmstepd ]] || echo "$parent"
    echo "$pid"
  done 2>/dev/null
}

kill_node() {  # NODE
  local slurmd; slurmd=$(cat "$state/run/$1.pid" 2>/dev/null || true)
  # shellcheck disable=SC2046
  kill -9 $slurmd $(job_processes "$1" | sort -u) 2>/dev/null || true
  rm -f "$state/run/$1.pid"
}

stop() {
  [[ -d $state/etc ]] || return 0
  local name
  for name in $NODES; do kill_node "$name"; done
  end "$state/run/slurmctld.pid" slurmctld
  end "$state/run/munged.pid" munged
}

case $command in
  start)
    write_configuration
    write_wrappers
    start_munged
    running "$state/run/slurmctld.pid" slurmctld || slurmctld </dev/null >> "$state/log/slurmctld.out" 2>&1 \
      || fail "slurmctld does not start, see $state/log"
    for name in $NODES; do start_node "$name"; done
    wait_until $SILENCE all_idle || fail "the nodes are not idle after $SILENCE s, see $state/log" ;;
  stop) stop ;;
  env) echo "export SLURM_CONF=$SLURM_CONF; export PATH=$state/bin:\$PATH" ;;
  kill-node) kill_node "$node"; scontrol update NodeName="$node" State=DOWN Reason=killed ;;
  start-node) start_node "$node" ;;
  *) sed -n '2,10p' "$0"; exit 2 ;;
esac
