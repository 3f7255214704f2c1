"""Add the links of the project page, which depend on the repository that builds a release."""

import os
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Links(MetadataHookInterface):
    """Link the repository in which GitHub builds the distribution; elsewhere, link the papers alone."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the links of the metadata."""
        links = {
            "Paper": "https://arxiv.org/abs/2408.10536",
            "MTEB": "https://github.com/embeddings-benchmark/mteb",
        }
        repository = os.environ.get("GITHUB_REPOSITORY")
        if repository:
            source = f"{os.environ.get('GITHUB_SERVER_URL', 'https://github.com')}/{repository}"
            links |= {
                "Source": source,
                "Documentation": f"{source}/blob/main/docs/index.md",
                "Changelog": f"{source}/blob/main/CHANGELOG.md",
                "Issues": f"{source}/issues",
            }
        metadata["urls"] = links
