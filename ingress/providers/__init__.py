"""Every way to authenticate at `/listener/{auth}/…`, by the name it has in the URL."""

from collections.abc import Mapping

from ingress.providers.acr import AzureContainerRegistry
from ingress.providers.azure import AzureDevOps
from ingress.providers.bitbucket import Bitbucket
from ingress.providers.bitbucket_dc import BitbucketDataCenter
from ingress.providers.cloudevents import CloudEvents
from ingress.providers.dockerhub import DockerHub
from ingress.providers.generic import Generic, GenericOptions
from ingress.providers.gitea import GiteaFamily
from ingress.providers.github import GitHub
from ingress.providers.gitlab import GitLab
from ingress.providers.harbor import Harbor
from ingress.providers.oidc import Oidc
from ingress.providers.provider import Provider
from ingress.providers.quay import Quay
from ingress.providers.registry import Registry
from ingress.providers.standard import Standard

PROVIDERS: Mapping[str, Provider] = {
    "github": GitHub(),
    "gitlab": GitLab(),
    "gitea": GiteaFamily("gitea"),
    "forgejo": GiteaFamily("forgejo"),
    "gogs": GiteaFamily("gogs"),
    "bitbucket": Bitbucket(),
    "bitbucket-dc": BitbucketDataCenter(),
    "azure": AzureDevOps(),
    "dockerhub": DockerHub(),
    "harbor": Harbor(),
    "quay": Quay(),
    "registry": Registry(),
    "acr": AzureContainerRegistry(),
    "standard": Standard(),
    "cloudevents": CloudEvents(),
    "generic": Generic(GenericOptions()),
    "oidc": Oidc(),
}

__all__ = ["PROVIDERS", "Provider"]
