"""Every URL of a repository has one key, and what is no repository's URL is refused."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.matching.repository import InvalidRepositoryUrl, key_of, repository_key, without_credentials

SAME_KEY = {
    "github.com/acme/app": [
        "https://github.com/Acme/App.git",
        "https://github.com/Acme/App",
        "http://github.com/acme/app/",
        "  https://github.com/acme/app\n",
        "HTTPS://github.com/acme/app",
        "https://www.github.com/acme/app",
        "https://github.com//acme//app",
        "git@github.com:Acme/App.git",
        "github.com:acme/app",
        "ssh://git@github.com/acme/app.git",
        "ssh://git@github.com:22/acme/app.git",
        "ssh://git@ssh.github.com:443/acme/app.git",
        "git://github.com/acme/app.git",
        "git+ssh://git@github.com/acme/app.git",
        "https://x-access-token:ghs_abc@github.com/acme/app.git",
        "https://github.com:443/acme/app.git",
        "https://GitHub.com./acme/app",
        "https://github.com/acme%2Fapp",
    ],
    "gitlab.com/group/sub/proj": [
        "https://oauth2:tok@gitlab.com/group/sub/proj.git",
        "git@gitlab.com:group/sub/proj.git",
        "ssh://git@altssh.gitlab.com:443/group/sub/proj.git",
    ],
    "gitlab.com/scm/sub/proj": ["https://gitlab.com/scm/sub/proj.git"],
    "git.example.com/acme/app": [
        "ssh://git@git.example.com:2222/acme/app.git",
        "https://git.example.com:8443/acme/app.git",
    ],
    "example.com/gitea/acme/app": ["https://example.com/gitea/acme/app.git"],
    "codeberg.org/acme/app": ["https://codeberg.org/Acme/app.git", "ssh://git@codeberg.org/acme/app.git"],
    "localhost/alice/moonlanding": ["ssh://alice@localhost:2222/alice/moonlanding.git"],
    "bitbucket.org/team/repo": [
        "https://user@bitbucket.org/team/repo.git",
        "git@bitbucket.org:team/repo.git",
        "ssh://git@altssh.bitbucket.org:443/team/repo.git",
    ],
    "bitbucket.example.com/prj/my-repo": [
        "https://bitbucket.example.com/scm/PRJ/my-repo.git",
        "ssh://git@bitbucket.example.com:7999/prj/my-repo.git",
        "https://bitbucket.example.com/projects/PRJ/repos/my-repo/browse",
    ],
    "bitbucket.example.com/~jdoe/my-repo": [
        "https://bitbucket.example.com/scm/~jdoe/my-repo.git",
        "https://bitbucket.example.com/users/jdoe/repos/my-repo",
    ],
    "dev.azure.com/org/proj/repo": [
        "https://org@dev.azure.com/org/proj/_git/repo",
        "git@ssh.dev.azure.com:v3/org/proj/repo",
        "https://org.visualstudio.com/DefaultCollection/proj/_git/repo",
        "https://org.visualstudio.com/proj/_git/repo",
        "org@vs-ssh.visualstudio.com:v3/org/proj/repo",
    ],
    "dev.azure.com/org/repo/repo": ["https://dev.azure.com/org/_git/repo", "https://org.visualstudio.com/_git/repo"],
    "dev.azure.com/org/my proj/repo": ["https://dev.azure.com/org/My%20Proj/_git/repo"],
    "git-codecommit.us-east-1.amazonaws.com/app": [
        "https://git-codecommit.us-east-1.amazonaws.com/v1/repos/app",
        "ssh://git-codecommit.us-east-1.amazonaws.com/v1/repos/app",
    ],
    "git.sr.ht/~user/app": ["git@git.sr.ht:~user/app", "https://git.sr.ht/~user/app"],
    "2001:db8::1/acme/app": ["https://[2001:db8::1]:3000/acme/app.git", "git@[2001:db8::1]:acme/app.git"],
    "git.example.com/acme/app.git": ["https://git.example.com/acme/app.git.git"],
    "host.example/srv/git/app": ["git@host.example:/srv/git/app.git"],
}

REFUSED = [
    "",
    "   ",
    "github.com/acme/app",
    "/srv/git/app.git",
    "C:\\repos\\app",
    "C:/repos/app",
    "-oProxyCommand=x",
    "ssh://-oProxyCommand=x/acme/app",
    "https://github.com/acme/app?x=1",
    "https://github.com/acme/app#readme",
    "https://github.com/acme/../evil/app",
    "https://github.com/acme/%2e%2e/evil",
    "https://github.com/acme/..git",
    "https://github.com/acme/...git",
    "https://github.com/acme/.git",
    "https://github.com/",
    "https://github.com",
    "https:///acme/app",
    "https://./acme/app",
    "https://github.com:port/acme/app",
    "https://[::1/acme/app",
    "https://github.com/acme/a%00pp",
    "https://github.com/acme/a%0app",
    "https://github.com/acme/a%5Cpp",
    "https://github.com/acme/%ff",
    "https://github.com/ac me/app",
    "https://github.com/acme/app\x7f",
    "file:///srv/git/app.git",
    "ext::sh -c id",
    "ext::sh",
    "javascript://github.com/acme/app",
    "https://github.com/" + "a" * 2_000,
]


@pytest.mark.parametrize(("url", "key"), [(url, key) for key, urls in SAME_KEY.items() for url in urls])
def test_every_way_to_write_a_repository_has_the_same_key(url: str, key: str) -> None:
    assert repository_key(url) == key


@pytest.mark.parametrize("url", REFUSED)
def test_what_is_not_a_remote_repository_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(InvalidRepositoryUrl) as refusal:
        repository_key(url)

    assert "ProxyCommand" not in str(refusal.value)


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://git.example.com:8443/acme/app.git", "git.example.com:8443/acme/app"),
        ("https://git.example.com:443/acme/app.git", "git.example.com/acme/app"),
        ("ssh://git@git.example.com:2222/acme/app.git", "git.example.com/acme/app"),
    ],
)
def test_an_unusual_web_port_can_tell_two_forges_on_one_host_apart(url: str, key: str) -> None:
    assert repository_key(url, keep_port=True) == key


@pytest.mark.parametrize(
    ("git_provider", "repo", "key"),
    [
        ("github.com", "Acme/App", "github.com/acme/app"),
        ("localhost:3000", "acme/app", "localhost/acme/app"),
        ("example.com/gitea", "acme/app", "example.com/gitea/acme/app"),
        ("http://git.example.com", "acme/app.git", "git.example.com/acme/app"),
        ("dev.azure.com", "org/My Proj/_git/repo", "dev.azure.com/org/my proj/repo"),
        (" github.com ", " acme/app ", "github.com/acme/app"),
    ],
)
def test_komodos_two_fields_make_the_key_that_the_events_url_makes(git_provider: str, repo: str, key: str) -> None:
    assert key_of(git_provider, repo) == key


@pytest.mark.parametrize(
    ("git_provider", "repo"), [("", "acme/app"), ("github.com", ""), ("github.com", "../app"), ("a b", "c")]
)
def test_fields_that_name_no_repository_have_no_key(git_provider: str, repo: str) -> None:
    with pytest.raises(InvalidRepositoryUrl):
        key_of(git_provider, repo)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://oauth2:tok@gitlab.com/group/proj.git", "https://gitlab.com/group/proj.git"),
        ("https://ghs_abc@github.com/acme/app", "https://github.com/acme/app"),
        ("ssh://git:pw@github.com:22/acme/app", "ssh://git@github.com:22/acme/app"),
        ("git@github.com:acme/app.git", "git@github.com:acme/app.git"),
        ("https://github.com/acme/app@v1", "https://github.com/acme/app@v1"),
    ],
)
def test_a_shown_url_holds_no_credentials(url: str, shown: str) -> None:
    assert without_credentials(url) == shown


hosts = st.from_regex(r"[a-z][a-z0-9-]{1,20}(\.[a-z]{2,5}){1,2}", fullmatch=True)
names = st.text(string.ascii_letters + string.digits + "-_~", min_size=1, max_size=20)


@given(hosts, names, names, st.integers(1, 65535), st.sampled_from(["", ".git", "/", ".git/"]))
def test_ssh_and_web_urls_of_one_repository_agree(host: str, owner: str, name: str, port: int, ending: str) -> None:
    key = repository_key(f"https://{host}/{owner}/{name}")

    assert repository_key(f"ssh://git@{host}:{port}/{owner}/{name}{ending}") == key
    assert repository_key(f"git@{host}:{owner}/{name}{ending}") == key
    assert repository_key(f"https://user:token@{host.upper()}:{port}/{owner}/{name}{ending}") == key
    assert key_of(host, f"{owner}/{name}") == key
    assert repository_key(f"https://{key}") == key


@given(
    st.one_of(
        st.text(max_size=200), st.text(max_size=50).map("https://h.example/".__add__), st.text().map("git@h:".__add__)
    )
)
def test_any_text_has_a_key_of_safe_segments_or_is_refused(text: str) -> None:
    try:
        key = repository_key(text)
    except InvalidRepositoryUrl:
        return

    host, *segments = key.split("/")
    assert host
    assert segments
    assert not {"", ".", ".."} & set(segments)
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in key)
