"""Keeps one comment of a pull request: comment.py FILE KEY

FILE holds the verdicts of a check as Markdown, and KEY tells its comment from those of other checks. The comment of an
earlier run is written anew: it begins with a hidden mark, and is by whoever the token stands for.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

NO_VERDICTS = "### ❌ torchcost: no verdicts\n\nThe check ended before it had any; the log says why.\n"
NOT_ALLOWED = (
    "The token may not write to pull request #{number}: {why}. A fork's never may; for others the job needs "
    "permissions: {{contents: read, pull-requests: write}}"
)
TIMEOUT_SECONDS = 30


def main(file: str, key: str, environment: Mapping[str, str] = os.environ) -> int:
    """0 if the comment stands or there can be none, which is told; 1 if GitHub failed."""
    event = json.loads(Path(environment["GITHUB_EVENT_PATH"]).read_text(encoding="utf-8"))
    number, token = event.get("pull_request", {}).get("number"), environment.get("GITHUB_TOKEN", "")
    if number is None:
        return notice("This run is of no pull request")
    if not token:
        return notice(NOT_ALLOWED.format(number=number, why="it is empty"))
    thread = Thread(environment["GITHUB_API_URL"], environment["GITHUB_REPOSITORY"], number, token)
    try:
        say(f"torchcost: {thread.keep(text_of(Path(file)), mark_of(key))}")
    except urllib.error.HTTPError as error:
        if error.code == 403:
            return notice(NOT_ALLOWED.format(number=number, why=words_of(error)))
        return failure(f"GitHub answered {words_of(error)}")
    except (OSError, ValueError) as error:  # no way to GitHub, or something else answers in its place
        return failure(f"GitHub cannot be asked: {error}")
    return 0


class Thread(NamedTuple):
    """The comments of one pull request."""

    api: str
    repository: str
    number: int
    token: str

    def keep(self, text: str, mark: str) -> str:
        """Writes the comment of this mark, its own of before or a new one: its address."""
        content, issues = {"body": f"{mark}\n{text}"}, f"repos/{self.repository}/issues"
        marked = [comment for comment in self.comments(issues) if begins_with(mark, comment)]
        login = self.login() if marked else None
        own = next((comment for comment in marked if is_by(login, comment)), None)
        if own is None:
            answer, _ = self.ask("POST", f"{issues}/{self.number}/comments", content)
        else:
            answer, _ = self.ask("PATCH", f"{issues}/comments/{own['id']}", content)
        return str(answer["html_url"])

    def comments(self, issues: str) -> Iterator[Any]:
        page, more = 1, True
        while more:
            found, more = self.ask("GET", f"{issues}/{self.number}/comments?per_page=100&page={page}")
            yield from found
            page += 1

    def login(self) -> str | None:
        """Whom the token stands for; None for a workflow or an app, to which GitHub does not tell its name."""
        try:
            return str(self.ask("GET", "user")[0]["login"])
        except urllib.error.HTTPError as error:
            if error.code == 403:
                return None
            raise

    def ask(self, method: str, path: str, content: Mapping[str, str] | None = None) -> tuple[Any, bool]:
        """GitHub's answer, and whether there is one more page of it."""
        request = urllib.request.Request(
            f"{self.api}/{path}",
            method=method,
            data=None if content is None else json.dumps(content).encode(),
            headers={
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            return json.load(answer), 'rel="next"' in answer.headers.get("Link", "")


def begins_with(mark: str, comment: Any) -> bool:
    """Whether a comment has the mark, and does not only quote one."""
    return str(comment["body"]).startswith(mark)


def is_by(login: str | None, comment: Any) -> bool:
    user = comment["user"] or {}  # null for one who left GitHub
    return bool(user.get("login") == login if login else user.get("type") == "Bot")


def mark_of(key: str) -> str:
    """A hidden line; quoted, a key cannot end it."""
    return f"<!-- torchcost comment {urllib.parse.quote(key)} -->"


def text_of(file: Path) -> str:
    """The verdicts, or that there are none: what an earlier run wrote is no longer true."""
    return file.read_text(encoding="utf-8") if file.exists() else NO_VERDICTS


def words_of(error: urllib.error.HTTPError) -> str:
    """A status, and what GitHub says of it."""
    try:
        said = json.loads(error.read())["message"]
    except (ValueError, KeyError, TypeError):  # the answer of a proxy
        said = error.reason
    return f"{error.code} {said}"


def notice(text: str) -> int:
    say(f"::notice title=torchcost::{escaped(f'{text}. No comment is written; the step summary has all.')}")
    return 0


def failure(text: str) -> int:
    say(f"::error title=torchcost::{escaped(f'{text}. No comment is written; the step summary has all.')}")
    return 1


def escaped(text: str) -> str:
    """Text that ends no command of GitHub's."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
