"""The encrypted store: unreadable without its key, and never torn by a crash."""

from __future__ import annotations

import os
import signal
import stat
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr

from autoscaler.core.errors import IntegrationError
from autoscaler.core.integration import Integration
from autoscaler.integrations.store import EncryptedStore

CLOUD = Integration(
    endpoint="cloud:7233",
    namespace="shop.a1b2c",
    api_key="planted-secret",
    metadata={"x-tenant": "planted-secret"},
)
MTLS = Integration(
    endpoint="mtls:7233",
    tls_cert="PEM of cert",
    tls_key="planted-secret",
    tls_server_name="temporal",
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path of a store whose folder does not exist yet."""
    return tmp_path / "var" / "integrations"


@pytest.fixture
def store(file: Path) -> EncryptedStore:
    """A store with one integration, whose key is beside it."""
    made = EncryptedStore(file)
    made.add("cloud", CLOUD)
    return made


def given(file: Path, *keys: str) -> EncryptedStore:
    """Open a store with keys from a variable."""
    return EncryptedStore(file, SecretStr(",".join(keys)))


def key() -> str:
    return Fernet.generate_key().decode()


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


class TestContent:
    def test_while_there_is_no_store_nothing_is_stored(self, file: Path) -> None:
        assert EncryptedStore(file).all() == {}
        assert not file.parent.exists()

    def test_what_is_added_is_there_also_for_others(
        self, store: EncryptedStore, file: Path
    ) -> None:
        store.add("Mtls-EU", MTLS)
        assert store.all() == EncryptedStore(file).all() == {"cloud": CLOUD, "mtls_eu": MTLS}

    def test_nothing_of_it_can_be_read_in_the_file(self, store: EncryptedStore, file: Path) -> None:
        store.add("planted_name", MTLS)
        # Encrypted text is random base64: a short word, as "PEM", is in it by chance now and then.
        for plain in (b"planted-secret", b"planted_name", b"cloud:7233", b"shop.a1b2c", b"PEM of"):
            assert plain not in file.read_bytes()

    def test_one_that_is_there_is_not_replaced_by_mistake(self, store: EncryptedStore) -> None:
        with pytest.raises(IntegrationError, match="integration Cloud is already in the store"):
            store.add("Cloud", MTLS)
        assert store.all() == {"cloud": CLOUD}
        store.add("Cloud", MTLS, replace=True)
        assert store.all() == {"cloud": MTLS}

    def test_what_is_removed_is_gone(self, store: EncryptedStore) -> None:
        store.remove("CLOUD")
        assert store.all() == {}

    def test_what_is_not_there_cannot_be_removed(self, store: EncryptedStore) -> None:
        with pytest.raises(
            IntegrationError, match=r"claud is not in the store .* \(there: cloud\)"
        ):
            store.remove("claud")

    def test_a_change_by_another_process_is_seen_at_once(
        self, store: EncryptedStore, file: Path
    ) -> None:
        EncryptedStore(file).add("mtls", MTLS)
        assert set(store.all()) == {"cloud", "mtls"}


class TestFiles:
    def test_store_and_key_are_nobody_elses_to_read(
        self, store: EncryptedStore, file: Path
    ) -> None:
        assert [mode(file), mode(store.key_file), mode(file.parent)] == [0o600, 0o600, 0o700]

    def test_nothing_else_is_left_beside_them(self, store: EncryptedStore, file: Path) -> None:
        store.rekey()
        assert sorted(file.parent.iterdir()) == [file, store.key_file]

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_written_by_root_they_belong_to_whom_the_folder_belongs_to(self, file: Path) -> None:
        file.parent.mkdir()
        os.chown(file.parent, 10001, 10002)
        store = EncryptedStore(file)
        store.add("cloud", CLOUD)
        assert {(each.stat().st_uid, each.stat().st_gid) for each in (file, store.key_file)} == {
            (10001, 10002)
        }

    def test_a_place_that_cannot_be_used_is_one_clear_line(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(IntegrationError, match="AUTOSCALER_STORE says where the store is"):
            EncryptedStore(tmp_path / "file" / "integrations").add("cloud", CLOUD)


class TestKey:
    def test_the_first_add_makes_one_and_says_so(self, file: Path) -> None:
        store = EncryptedStore(file)
        assert store.add("cloud", CLOUD) is True
        assert store.add("mtls", MTLS) is False

    def test_one_that_is_given_is_used_and_none_is_made(self, file: Path) -> None:
        mine = key()
        assert given(file, mine).add("cloud", CLOUD) is False
        assert given(file, mine).all() == {"cloud": CLOUD}
        assert list(file.parent.iterdir()) == [file]

    def test_one_can_be_given_in_a_file(self, file: Path, tmp_path: Path) -> None:
        (tmp_path / "key").write_text(key() + "\n")
        store = EncryptedStore(file, key_file=tmp_path / "key")
        assert store.add("cloud", CLOUD) is False
        assert store.all() == {"cloud": CLOUD}

    def test_a_file_for_it_that_is_not_there_is_not_made(self, file: Path, tmp_path: Path) -> None:
        with pytest.raises(IntegrationError, match="is missing"):
            EncryptedStore(file, key_file=tmp_path / "key").add("cloud", CLOUD)
        assert not file.exists()
        assert not (tmp_path / "key").exists()

    def test_plain_base64_as_openssl_prints_it_is_a_key(self, file: Path) -> None:
        plain = "+/" * 21 + "+="
        given(file, plain).add("cloud", CLOUD)
        assert given(file, plain).all() == {"cloud": CLOUD}

    def test_a_key_file_that_is_no_text_holds_no_key(self, file: Path) -> None:
        EncryptedStore(file).add("cloud", CLOUD)
        file.with_name(file.name + ".key").write_bytes(b"\x80")
        with pytest.raises(IntegrationError, match="holds no key: 32 bytes"):
            EncryptedStore(file).all()

    @pytest.mark.parametrize("wrong", ["password", "", "x" * 44])
    def test_what_is_no_key_is_named_without_being_shown(self, file: Path, wrong: str) -> None:
        with pytest.raises(IntegrationError) as caught:
            given(file, wrong).add("cloud", CLOUD)
        assert "AUTOSCALER_ENCRYPTION_KEY holds no key: 32 bytes" in str(caught.value)
        assert not wrong or wrong not in str(caught.value)
        assert not file.exists()

    @pytest.mark.parametrize("act", ["all", "add", "remove", "rekey"])
    @pytest.mark.parametrize("loss", ["wrong", "lost", "damaged"])
    def test_without_the_right_one_nothing_is_overwritten(
        self, store: EncryptedStore, file: Path, loss: str, act: str
    ) -> None:
        wrong = EncryptedStore(file)
        if loss == "wrong":
            wrong = given(file, key(), key())
        elif loss == "lost":
            store.key_file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:-10])
        before = file.read_bytes()
        deeds: dict[str, Callable[[], object]] = {
            "all": wrong.all,
            "add": lambda: wrong.add("mtls", MTLS, replace=True),
            "remove": lambda: wrong.remove("cloud"),
            "rekey": wrong.rekey,
        }
        with pytest.raises(IntegrationError) as caught:
            deeds[act]()
        assert ("is missing" if loss == "lost" else "cannot be decrypted") in str(caught.value)
        assert "\n" not in str(caught.value)
        assert file.read_bytes() == before
        assert store.key_file.exists() is (loss != "lost")

    @pytest.mark.parametrize(
        "content",
        [b'{"integrations": {"cloud": {"new-part": 1}}}', b"[" * 100_000],
        ids=["a new part", "deeper than can be read"],
    )
    def test_a_store_of_another_version_is_not_overwritten(
        self, file: Path, content: bytes
    ) -> None:
        mine = key()
        file.parent.mkdir()
        file.write_bytes(Fernet(mine).encrypt(content))
        before = file.read_bytes()
        with pytest.raises(IntegrationError, match="another version"):
            given(file, mine).add("cloud", CLOUD, replace=True)
        assert file.read_bytes() == before


class TestRekey:
    def test_the_key_beside_the_store_is_replaced(self, store: EncryptedStore, file: Path) -> None:
        old = store.key_file.read_text()
        store.rekey()
        assert store.key_file.read_text() != old
        assert mode(store.key_file) == 0o600
        assert EncryptedStore(file).all() == {"cloud": CLOUD}
        with pytest.raises(IntegrationError):
            given(file, old).all()

    def test_one_that_is_given_needs_its_successor_before_it(self, file: Path) -> None:
        old, new = key(), key()
        given(file, old).add("cloud", CLOUD)
        with pytest.raises(IntegrationError, match="put a new one and a comma before it"):
            given(file, old).rekey()
        given(file, new, old).rekey()
        assert given(file, new).all() == {"cloud": CLOUD}

    def test_both_keys_read_before_and_after(self, file: Path) -> None:
        old, new = key(), key()
        given(file, old).add("cloud", CLOUD)
        assert given(file, new, old).all() == {"cloud": CLOUD}
        given(file, new, old).rekey()
        assert given(file, new, old).all() == {"cloud": CLOUD}

    def test_without_a_store_there_is_nothing_to_rekey(self, file: Path) -> None:
        with pytest.raises(IntegrationError, match="nothing to rekey"):
            EncryptedStore(file).rekey()


def in_child(work: Callable[[], object]) -> int:
    """Run something in a process of its own; return 0, or the signal that ended it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(call: int, work: Callable[[], object]) -> Callable[[], object]:
    """Return `work` so that the process is killed at the n-th call to the file system."""

    def doomed() -> None:
        calls = count()

        def fatal(original: Callable[..., object]) -> Callable[..., object]:
            def stand_in(*arguments: object, **options: object) -> object:
                if next(calls) == call:
                    os.kill(os.getpid(), signal.SIGKILL)
                return original(*arguments, **options)

            return stand_in

        for name in ("open", "fdopen", "fsync", "fchown", "replace", "rename", "mkdir"):
            setattr(os, name, fatal(getattr(os, name)))
        Path.replace = fatal(Path.replace)  # type: ignore[method-assign, assignment]
        work()

    return doomed


class TestCrash:
    @pytest.mark.parametrize("act", ["first add", "add", "remove", "rekey"])
    def test_killed_at_any_point_the_store_has_the_old_content_or_the_new(
        self, file: Path, act: str
    ) -> None:
        old = {} if act == "first add" else {"cloud": CLOUD}
        new = {"add": {"cloud": CLOUD, "mtls": MTLS}, "remove": {}, "rekey": old}.get(
            act, {"mtls": MTLS}
        )
        seen = []
        for call in count():
            for left in (file, file.with_name("integrations.key"), file.with_name("x")):
                left.unlink(missing_ok=True)
            if act != "first add":
                EncryptedStore(file).add("cloud", CLOUD)

            def work() -> None:
                store = EncryptedStore(file)
                if act == "remove":
                    store.remove("cloud")
                elif act == "rekey":
                    store.rekey()
                else:
                    store.add("mtls", MTLS)

            ended = in_child(killed_at(call, work))
            found = EncryptedStore(file).all()
            assert found in (old, new)
            EncryptedStore(file).add("after", CLOUD)
            assert EncryptedStore(file).all() == {**found, "after": CLOUD}
            seen.append(dict(found))
            if ended == 0:
                break
            assert ended == -signal.SIGKILL
        assert seen[0] == old
        assert seen[-1] == new
        assert len(seen) > 5, "it was hardly ever killed"


def test_writers_at_the_same_time_come_one_after_the_other(store: EncryptedStore) -> None:
    def write(writer: int) -> None:
        for number in range(5):
            EncryptedStore(store.path).add(f"w{writer}_{number}", CLOUD)

    children = []
    for writer in range(4):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                write(writer)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
    assert len(store.all()) == 1 + 4 * 5
