"""Jobs without imports: processes that have imported what stages need, of which each job is a copy (a fork).

To import torch and TRL takes a job of a small study longer than its work. Snakemake starts one warm process (`start`)
that waits at a socket for each kind of jobs (`kinds`). At the first job of a kind it makes a process that imports what
the kind needs; that job is charged for it. From then on a job is a fork of that process (`server`), and the command
that Snakemake runs (`client`) only passes its words, its environment and its streams on, waits, and ends as the job
did. Where anything differs that a library may look at when it is imported, such as a variable or a limit, or where a
file of the code has changed (`standing`), the command does the work itself, as without warm processes.

Nobody outlives anybody: a job ends with its command, and warm processes with Snakemake, after the jobs that still run.
"""
