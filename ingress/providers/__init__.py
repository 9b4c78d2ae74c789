"""Every way to authenticate at `/listener/{auth}/…`, by the name it has in the URL."""

from collections.abc import Mapping

from ingress.providers.gitea import GiteaFamily
from ingress.providers.github import GitHub
from ingress.providers.gitlab import GitLab
from ingress.providers.provider import Provider

PROVIDERS: Mapping[str, Provider] = {
    "github": GitHub(),
    "gitlab": GitLab(),
    "gitea": GiteaFamily("gitea"),
    "forgejo": GiteaFamily("forgejo"),
    "gogs": GiteaFamily("gogs"),
}

__all__ = ["PROVIDERS", "Provider"]
