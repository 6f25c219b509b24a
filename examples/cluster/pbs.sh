#!/bin/bash
# A worker on a study in a job of PBS: qsub -v STUDY=/shared/results/batches_20260101T000000Z pbs.sh (docs/cluster.md).
#PBS -l select=1:ncpus=16:ngpus=1
#PBS -l place=excl
#PBS -l walltime=04:00:00
#PBS -r y
cd "$PBS_O_WORKDIR" || exit 1
# What cannot end within this time is not begun; the rest is for putting away what is there.
llem worker "$STUDY" --time-limit 03:50:00
code=$?
# Time was over, and something is left.
if [ "$code" = 75 ]; then
  qsub -v STUDY="$STUDY" "$PBS_O_WORKDIR/pbs.sh"
fi
exit "$code"
