#!/usr/bin/env bash
# Judges the kernel tree in the current folder, for `git bisect run`: builds it, boots it on the emulated GPU, runs a scenario.
#
#   git bisect start BAD GOOD
#   git bisect run .../lab/bisect.sh SCENARIO [more arguments of "amdgpu-lab run"]
#
# AMDGPU_LAB  the lab's program [amdgpu-lab]
# JOBS        how many jobs make runs at once [the number of processors]
set -uo pipefail

# To git 0 is good and 1 is bad; 125 skips the commit; 128 and above ends the bisection.
readonly SKIP=125 ABORT=128

# The lab ends in order when it is interrupted and then says "cannot tell", which must not make git go on.
trap 'exit 130' INT TERM

skip() {
    printf 'bisect: %s: skipped\n' "$1" >&2
    exit "$SKIP"
}

if [ $# -eq 0 ]; then
    printf 'usage: git bisect run %s SCENARIO [more arguments of "amdgpu-lab run"]\n' "$0" >&2
    exit "$ABORT"
fi

lab=${AMDGPU_LAB:-amdgpu-lab}
# A scenario that cannot be read would make every commit one to skip, after hours of building them.
if ! "$lab" list "$1" >/dev/null; then
    printf 'bisect: "%s list %s" fails\n' "$lab" "$1" >&2
    exit "$ABORT"
fi

jobs=${JOBS:-$(nproc)}
# Options that this commit has and the last one had not take their defaults, without a question.
make olddefconfig >/dev/null || skip "this commit cannot be configured"
make -s -j"$jobs" bzImage modules || skip "this commit does not build"

status=0
"$lab" run "$@" --kernel arch/x86/boot/bzImage --modules . || status=$?
case $status in
    0 | 1) exit "$status" ;;
    "$SKIP") skip "this commit cannot be judged" ;;
    *)
        # No program, a wrong argument, a crash of the lab: nothing that a commit is to blame for.
        printf 'bisect: the lab ended with status %s\n' "$status" >&2
        exit "$ABORT"
        ;;
esac
