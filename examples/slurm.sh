#!/bin/bash
# A Slurm array that extracts features: sbatch examples/slurm.sh VIDEOS WORKSPACE, both on a file system that all nodes
# see. Task 7 does the share 7/64; a task that is lost or run again changes nothing. Afterwards the same command without
# --shard puts together what all have found, and tells of what failed:
#   sbatch --dependency=afterany:JOB --wrap 'hcq extract VIDEOS -w WORKSPACE && hcq encode -w WORKSPACE'
#SBATCH --array=1-64
#SBATCH --cpus-per-task=8
#SBATCH --mem=32G
#SBATCH --requeue
hcq extract "$1" -w "$2" --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --workers "$SLURM_CPUS_PER_TASK"
code=$?; [ $code = 3 ] || exit $code # 3: done, but some files gave nothing
