"""The nf-core linter on this pipeline, without a network; `make nf-core-lint` runs it.

`nf-core pipelines lint` runs the same checks, but clones nf-core/modules first, of which nothing is used here.
`.nf-core.yml` says which checks are off, and why.
"""

import sys
from pathlib import Path

from nf_core.pipelines.lint import PipelineLint


def main() -> int:
    """Print what failed and what was warned of; 1 where a check failed."""
    lint = PipelineLint(str(Path(__file__).parents[1]), hide_progress=True)
    lint._load()
    lint._lint_pipeline()
    for kind in ("warned", "failed"):
        for check, message in getattr(lint, kind):
            print(f"{kind}: {check}: {message}")
    print(f"nf-core's linter: {len(lint.passed)} checks passed, {len(lint.failed)} failed")
    return int(bool(lint.failed))


if __name__ == "__main__":
    sys.exit(main())
