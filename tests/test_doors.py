"""The files by which other tools start a check: each names a command that there is, and runs no text of a stranger."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from torchcost.cli import main

ROOT = Path(__file__).parents[1]
ACTION = ROOT / "scripts" / "action"
yaml = pytest.importorskip("yaml")
in_bash = pytest.mark.skipif(os.name != "posix" or not shutil.which("bash"), reason="the action's shell is bash")


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_the_hook_of_pre_commit_runs_the_check() -> None:
    (hook,) = read(".pre-commit-hooks.yaml")
    program, *words = hook["entry"].split()
    assert (program, hook["language"], hook["pass_filenames"]) == ("torchcost", "system", False)
    assert CliRunner().invoke(main, [*words, "--help"]).exit_code == 0


def test_the_recipes_of_readme_name_what_there_is() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    recipes = set(re.findall(r"torchcost (check[ \w.-]*)", text))
    assert "check --junit cost.xml" in recipes
    for recipe in recipes:
        assert CliRunner().invoke(main, [*recipe.split(), "--help"]).exit_code == 0, recipe
    assert {"comment", "comment-key"} <= read("scripts/action/action.yml")["inputs"].keys()


# --- the action ------------------------------------------------------------------------------------------------------


def test_the_action_uses_each_of_its_inputs_and_runs_no_text_of_them() -> None:
    action = read("scripts/action/action.yml")
    steps = action["runs"]["steps"]
    assert not [step for step in steps if "${{" in step["run"]]  # an input in a script would be run as one
    assert {name for name in action["inputs"] if f"inputs.{name}" in str(steps)} == set(action["inputs"])


def test_the_action_comments_after_a_failed_check_too_and_the_check_decides() -> None:
    check, comment = read("scripts/action/action.yml")["runs"]["steps"]
    assert comment["if"] == "${{ !cancelled() && inputs.comment == 'true' }}"
    assert (check.get("continue-on-error", False), comment["continue-on-error"]) == (False, True)


class Job:
    """Runs the steps of the action as GitHub does, with a stub in the place of torchcost."""

    def __init__(self, folder: Path) -> None:
        self.project, self.temp, programs = (folder / name for name in ("project", "a temp", "bin"))
        for made in (self.project, self.temp, programs):
            made.mkdir()
        self.told = folder / "told.json"
        stub = programs / "torchcost"
        stub.write_text(
            f"#!{sys.executable}\n"
            "import json, pathlib, sys\n"
            f"pathlib.Path({str(self.told)!r}).write_text(json.dumps(sys.argv[1:]))\n"
            "if '--markdown' in sys.argv and '--crash' not in sys.argv:\n"
            "    pathlib.Path(sys.argv[sys.argv.index('--markdown') + 1]).write_text('### all cheaper')\n"
            "sys.exit(5 if '--dear' in sys.argv else 0)\n",
            encoding="utf-8",
        )
        stub.chmod(0o755)
        path = os.pathsep.join((str(programs), str(Path(sys.executable).parent), os.environ["PATH"]))
        self.environment = {
            **os.environ,
            "PATH": path,
            "RUNNER_TEMP": str(self.temp),
            "GITHUB_ACTION_PATH": str(ACTION),
        }

    def step(self, number: int, **inputs: str) -> subprocess.CompletedProcess[str]:
        """One step of the action, by its place, with the inputs that a workflow gives."""
        action = read("scripts/action/action.yml")
        given = {name: declared["default"] for name, declared in action["inputs"].items()} | {
            name.replace("_", "-"): value for name, value in inputs.items()
        }
        step = action["runs"]["steps"][number]
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.project,
            env=self.environment | {name: filled(value, given) for name, value in step["env"].items()},
            capture_output=True,
            text=True,
            check=False,
        )

    def words(self) -> list[str]:
        """What the stub was called with."""
        words: list[str] = json.loads(self.told.read_text(encoding="utf-8"))
        return words


def filled(value: str, inputs: dict[str, str]) -> str:
    """The two expressions that the action has in an environment: an input, and whether one is true."""
    (name, true) = re.fullmatch(r"\$\{\{ inputs\.([\w-]+)( == 'true')? \}\}", value).groups()  # type: ignore[union-attr]
    return str(inputs[name].lower() == "true").lower() if true else inputs[name]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


@in_bash
def test_the_words_of_args_reach_the_check_one_by_one(job: Job) -> None:
    assert job.step(0, args="net  --exact\n--junit cost.xml\n").returncode == 0
    assert job.words() == ["check", "net", "--exact", "--junit", "cost.xml"]


@in_bash
def test_no_word_of_args_is_run_or_stands_for_files(job: Job) -> None:
    (job.project / "some.json").touch()
    job.step(0, args="*.json ; touch $(touch ran) `touch ran` $HOME")
    assert job.words() == ["check", "*.json", ";", "touch", "$(touch", "ran)", "`touch", "ran`", "$HOME"]
    assert [path.name for path in job.project.iterdir()] == ["some.json"]


@in_bash
@pytest.mark.parametrize("comment", ["false", "true", "True"])
def test_a_comment_needs_the_verdicts_as_markdown(comment: str, job: Job) -> None:
    job.step(0, args="net", comment=comment)
    flags = ["--markdown", str(job.temp / "torchcost.md")]
    assert job.words() == ["check", "net", *(flags if comment != "false" else [])]


@in_bash
@pytest.mark.parametrize("comment", ["false", "true"])
def test_the_exit_code_of_the_check_is_that_of_its_step(comment: str, job: Job) -> None:
    assert job.step(0, args="--dear", comment=comment).returncode == 5
    assert job.step(0, comment=comment).returncode == 0


# --- its comment -----------------------------------------------------------------------------------------------------


class GitHub(ThreadingHTTPServer):
    """The comments of pull request 7, two on a page, for the token "secret"; `fails` says which methods do."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.comments: list[dict[str, Any]] = []
        self.fails: dict[str, tuple[int, bytes]] = {}
        self.login: str | None = None  # as of a token that a workflow is given

    def add(self, body: str, *, by: str, kind: str = "User") -> dict[str, Any]:
        place = len(self.comments) + 1
        user = {"login": by, "type": kind}
        self.comments.append({"id": place, "body": body, "user": user, "html_url": f"https://github.test/7#{place}"})
        return self.comments[-1]

    def bodies(self) -> list[str]:
        return [comment["body"] for comment in self.comments]


class Answers(BaseHTTPRequestHandler):
    server: GitHub

    def do_GET(self) -> None:
        if self.path == "/user":
            login = self.server.login
            return self.answer(200, {"login": login}) if login else self.answer(403, {"message": "not for you"})
        path, _, query = self.path.partition("?")
        assert path == "/repos/me/net/issues/7/comments"
        last = 2 * int(re.search(r"\bpage=(\d+)", query)[1])  # type: ignore[index]
        link = '<https://elsewhere.test>; rel="prev"'
        if last < len(self.server.comments):
            link = '<https://elsewhere.test>; rel="next", <https://elsewhere.test>; rel="last"'
        return self.answer(200, self.server.comments[last - 2 : last], Link=link)

    def do_POST(self) -> None:
        assert self.path == "/repos/me/net/issues/7/comments"
        body, login = self.body(), self.server.login
        if "POST" in self.server.fails:
            return self.answer(201, None)
        return self.answer(201, self.server.add(body, by=login or "actions[bot]", kind="User" if login else "Bot"))

    def do_PATCH(self) -> None:
        place = int(self.path.removeprefix("/repos/me/net/issues/comments/"))
        changed = self.server.comments[place - 1]
        changed["body"] = self.body()
        self.answer(200, changed)

    def body(self) -> str:
        body: str = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["body"]
        return body

    def answer(self, status: int, content: Any, **headers: str) -> None:
        status, text = self.server.fails.get(self.command, (status, json.dumps(content).encode()))
        if self.headers["Authorization"] != "Bearer secret":
            status, text = 401, b'{"message": "Bad credentials"}'
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def github() -> Iterator[GitHub]:
    with GitHub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


Comment = Callable[..., tuple[int, str]]


@pytest.fixture
def comment(github: GitHub, tmp_path: Path) -> Comment:
    """Runs the script: its exit code and what it printed."""

    def run(
        text: str | None = "### all fine", *, key: str = "default", event: Any = None, token: str = "secret"
    ) -> tuple[int, str]:
        verdicts, told = tmp_path / "verdicts.md", tmp_path / "event.json"
        if text is not None:
            verdicts.write_text(text, encoding="utf-8")
        told.write_text(json.dumps(event or {"pull_request": {"number": 7}}), encoding="utf-8")
        environment = {
            "GITHUB_API_URL": f"http://127.0.0.1:{github.server_port}",
            "GITHUB_REPOSITORY": "me/net",
            "GITHUB_EVENT_PATH": str(told),
            "GITHUB_TOKEN": token,
        }
        done = subprocess.run(
            [sys.executable, ACTION / "comment.py", verdicts, key],
            env={**os.environ, "no_proxy": "127.0.0.1", **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not done.stderr
        return done.returncode, done.stdout

    return run


MARK = "<!-- torchcost comment default -->"


def test_the_first_run_posts_a_comment_under_a_hidden_mark(github: GitHub, comment: Comment) -> None:
    assert comment("### all fine ✅") == (0, "torchcost: https://github.test/7#1\n")
    assert github.bodies() == [f"{MARK}\n### all fine ✅"]


def test_the_second_run_writes_the_same_comment_anew(github: GitHub, comment: Comment) -> None:
    comment("before")
    assert comment("after") == (0, "torchcost: https://github.test/7#1\n")
    assert github.bodies() == [f"{MARK}\nafter"]


def test_a_comment_on_a_later_page_is_found(github: GitHub, comment: Comment) -> None:
    for place in range(4):
        github.add(f"a remark {place}", by="someone")
    comment("before")
    comment("after")
    assert github.bodies()[4:] == [f"{MARK}\nafter"]


def test_a_comment_that_quotes_the_mark_is_left_alone(github: GitHub, comment: Comment) -> None:
    github.add(f"> {MARK}\nIs this right?", by="actions[bot]", kind="Bot")
    comment()
    assert github.bodies() == [f"> {MARK}\nIs this right?", f"{MARK}\n### all fine"]


def test_a_comment_that_someone_else_begins_with_the_mark_is_left_alone(github: GitHub, comment: Comment) -> None:
    github.add(f"{MARK}\nAll is fine, believe me.", by="someone")
    github.add(f"{MARK}\nof an account that is gone", by="")["user"] = None
    comment("before")
    comment("after")
    assert github.bodies()[0] == f"{MARK}\nAll is fine, believe me."
    assert github.bodies()[2:] == [f"{MARK}\nafter"]


def test_a_token_of_a_person_finds_the_comment_of_this_person(github: GitHub, comment: Comment) -> None:
    github.login = "writer"
    github.add(f"{MARK}\nof a workflow", by="actions[bot]", kind="Bot")
    comment("before")
    comment("after")
    assert github.bodies() == [f"{MARK}\nof a workflow", f"{MARK}\nafter"]


def test_each_key_has_a_comment_of_its_own(github: GitHub, comment: Comment) -> None:
    for key in ("cpu", "gpu", "cpu"):
        comment(f"on {key}", key=key)
    assert github.bodies() == [f"<!-- torchcost comment {key} -->\non {key}" for key in ("cpu", "gpu")]


def test_no_key_ends_the_mark(github: GitHub, comment: Comment) -> None:
    comment(key="a --> [b](c)\nd")
    assert github.bodies() == ["<!-- torchcost comment a%20--%3E%20%5Bb%5D%28c%29%0Ad -->\n### all fine"]


def test_a_check_without_verdicts_takes_back_those_of_before(github: GitHub, comment: Comment, tmp_path: Path) -> None:
    comment()
    (tmp_path / "verdicts.md").unlink()
    assert comment(None)[0] == 0
    assert github.bodies() == [
        f"{MARK}\n### ❌ torchcost: no verdicts\n\nThe check ended before it had any; the log says why.\n"
    ]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_token_that_may_not_write_is_told_and_fails_nothing(method: str, github: GitHub, comment: Comment) -> None:
    github.fails[method] = 403, b'{"message": "Resource not accessible\\nby 100 % of integrations"}'
    code, told = comment()
    assert (code, github.comments, len(told.splitlines())) == (0, [], 1)
    assert told.startswith("::notice title=torchcost::The token may not write to pull request #7: 403 Resource not ")
    assert "accessible%0Aby 100 %25 of integrations. A fork's never may; " in told
    assert told.endswith("pull-requests: write}. No comment is written; the step summary has all.\n")


def test_a_token_that_a_fork_does_not_get_fails_nothing(github: GitHub, comment: Comment) -> None:
    code, told = comment(token="")
    assert (code, github.comments) == (0, [])
    assert told.startswith("::notice title=torchcost::The token may not write to pull request #7: it is empty. ")


def test_a_run_of_no_pull_request_fails_nothing(github: GitHub, comment: Comment) -> None:
    code, told = comment(event={"ref": "refs/heads/main"})
    assert (code, github.comments) == (0, [])
    assert told.startswith("::notice title=torchcost::This run is of no pull request. No comment is written; ")


@pytest.mark.parametrize(
    ("answer", "told"), [((500, b"<html>"), "500 Internal Server Error"), ((404, b'{"message": "Gone"}'), "404 Gone")]
)
def test_any_other_refusal_is_an_error(answer: Any, told: str, github: GitHub, comment: Comment) -> None:
    github.fails["POST"] = answer
    assert comment() == (
        1,
        f"::error title=torchcost::GitHub answered {told}. No comment is written; the step summary has all.\n",
    )


def test_a_token_of_nobody_is_an_error(github: GitHub, comment: Comment) -> None:
    assert comment(token="wrong")[0] == 1
    assert github.comments == []


def test_an_answer_that_is_none_is_an_error(github: GitHub, comment: Comment) -> None:
    github.fails["GET"] = 200, b"<html>Sign in to the network</html>"
    code, told = comment()
    assert code == 1
    assert told.startswith("::error title=torchcost::GitHub cannot be asked: ")


@in_bash
def test_the_steps_together_comment_what_the_check_said(github: GitHub, job: Job, tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"pull_request": {"number": 7}}', encoding="utf-8")
    job.environment |= {
        "GITHUB_API_URL": f"http://127.0.0.1:{github.server_port}",
        "GITHUB_REPOSITORY": "me/net",
        "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
        "no_proxy": "127.0.0.1",
    }
    inputs = {"comment": "true", "comment_key": '"; $(touch ran)', "token": "secret"}
    assert job.step(0, **inputs, args="--dear").returncode == 5
    assert job.step(1, **inputs).returncode == 0
    assert github.bodies() == ["<!-- torchcost comment %22%3B%20%24%28touch%20ran%29 -->\n### all cheaper"]
    job.step(0, **inputs, args="--crash")
    assert job.step(1, **inputs).returncode == 0
    assert "no verdicts" in github.bodies()[0]
    assert not list(job.project.iterdir())
