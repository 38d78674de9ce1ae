"""What loads beside the weights: what a merge takes from the recipient, and that it is verified."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from turnswap.core.errors import UserError

from ..conftest import Turnswap
from .folder_files import CHATML, check, edit_json
from .models import merge, recipe


def test_a_merge_has_every_deciding_file_of_the_recipient_byte_for_byte(merged_folders: Path) -> None:
    recipient, out = merged_folders / "recipient", merged_folders / "merged"
    names = {str(path.relative_to(recipient)) for path in recipient.rglob("*") if path.is_file()}
    names -= {"config.json", "model.safetensors", "training_args.bin"}
    assert {"additional_chat_templates/rag.jinja", "vocab.json", "preprocessor_config.json"} <= names
    assert [name for name in sorted(names) if (recipient / name).read_bytes() != (out / name).read_bytes()] == []
    assert not (out / "training_args.bin").exists()


@pytest.mark.parametrize("template", ["chatml", "{% for m in messages %}{{ m.content }} declared{% endfor %}"])
@pytest.mark.parametrize("stored", ["files", "settings", "list"])
def test_a_declared_template_is_the_default_one_and_all_else_the_recipients(
    merged_folders: Path, tmp_path: Path, turnswap: Turnswap, template: str, stored: str
) -> None:
    recipient = Path(shutil.copytree(merged_folders / "recipient", tmp_path / "recipient"))
    if stored != "files":
        shutil.rmtree(recipient / "additional_chat_templates")
        (recipient / "chat_template.jinja").unlink()
        both = [{"name": "default", "template": CHATML}, {"name": "rag", "template": "{{ documents }}"}]
        edit_json(recipient / "tokenizer_config.json", chat_template=CHATML if stored == "settings" else both)
    merge(recipe(recipient, merged_folders / "donor", chat_template=template), tmp_path / "out")
    assert check(turnswap, tmp_path / "out") == []
    loaded = AutoTokenizer.from_pretrained(tmp_path / "out").chat_template
    default = loaded if stored == "settings" else loaded.pop("default")
    assert "<|im_start|>" in default if template == "chatml" else default == template
    assert stored == "settings" or loaded == {"rag": "{{ documents }}"}
    assert "chat_template" not in json.loads((tmp_path / "out" / "tokenizer_config.json").read_text())
    (tmp_path / "out" / "chat_template.jinja").write_text(CHATML)
    assert any("the chat template is not the declared one" in problem for problem in check(turnswap, tmp_path / "out"))


def test_a_tokenizer_of_vocab_and_merges_is_copied_and_compared(
    merged_folders: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    for name in ("recipient", "donor"):
        shutil.copytree(merged_folders / name, tmp_path / name)
        (tmp_path / name / "tokenizer.json").unlink()
        edit_json(tmp_path / name / "tokenizer_config.json", tokenizer_class="GPT2Tokenizer")
    out = merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out")
    assert (out / "merges.txt").read_bytes() == (tmp_path / "recipient" / "merges.txt").read_bytes()
    assert not (out / "tokenizer.json").exists()
    assert check(turnswap, out) == []
    (out / "merges.txt").write_text("#version: 0.2\n! !\n")
    assert any(problem.startswith("merges.txt") for problem in check(turnswap, out))


def test_code_is_copied_compared_and_run_only_if_it_is_the_recipients(
    merged_folders: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    for name in ("recipient", "donor"):
        shutil.copytree(merged_folders / name, tmp_path / name)
        (tmp_path / name / "modeling_x.py").write_text(
            "from transformers import LlamaForCausalLM\nclass Model(LlamaForCausalLM):\n    pass\n"
        )
        edit_json(tmp_path / name / "config.json", auto_map={"AutoModelForCausalLM": "modeling_x.Model"})
    out = merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out", trust_remote_code=True)
    assert (out / "modeling_x.py").is_file()
    assert check(turnswap, out, "--load", "--trust-remote-code") == []
    marker = tmp_path / "ran"
    (out / "modeling_x.py").write_text(f"open({str(marker)!r}, 'w')\nclass Model: pass\n")
    problems = check(turnswap, out, "--load", "--trust-remote-code")
    assert any(problem.startswith("modeling_x.py: is not, byte for byte") for problem in problems)
    assert not marker.exists()


def test_a_tokenizer_of_its_own_code_is_loaded_for_those_who_trust_it(
    merged_folders: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    for name in ("recipient", "donor"):
        shutil.copytree(merged_folders / name, tmp_path / name)
        (tmp_path / name / "tokenization_x.py").write_text(
            "from transformers import PreTrainedTokenizerFast\nclass Words(PreTrainedTokenizerFast):\n    pass\n"
        )
        settings = {"tokenizer_class": "Words", "auto_map": {"AutoTokenizer": [None, "tokenization_x.Words"]}}
        edit_json(tmp_path / name / "tokenizer_config.json", **settings)
    out = merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out")
    done = turnswap("verify", out)
    assert (done.exit_code, "Note: the recipient's tokenizer could not be loaded" in done.stdout) == (0, True)
    done = turnswap("verify", out, "--trust-remote-code")
    assert (done.exit_code, "Note" in done.stdout) == (0, False)
    (out / "tokenization_x.py").unlink()
    assert check(turnswap, out) == ["tokenization_x.py: missing; the recipient has it"]


DATA = ("rwkv_vocab_v20230424.txt", "source.spm", "target.spm", "bpe.codes", "word_shape.json")


def test_data_of_the_recipients_tokenizer_is_copied_and_compared(
    merged_folders: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    recipient = Path(shutil.copytree(merged_folders / "recipient", tmp_path / "recipient"))
    for name in (*DATA, "LICENSE.txt", "plan.png"):
        (recipient / name).write_text('["theirs"]')
    out = merge(recipe(recipient, merged_folders / "donor"), tmp_path / "out")
    assert [name for name in DATA if not (out / name).is_file()] == []
    (out / "LICENSE.txt").write_text("another licence")
    assert check(turnswap, out) == []
    for name in (*DATA, "plan.png"):
        (out / name).write_text('["ours"]')
    assert {problem.split(":")[0] for problem in check(turnswap, out)} == {*DATA, "plan.png"}


def test_a_template_that_is_none_is_refused_before_the_merge(
    merged_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("turnswap.merge_methods.merge_run._check_space", lambda *_: pytest.fail("it merges"))
    with pytest.raises(UserError, match="chat_template"):
        merge(
            recipe(merged_folders / "recipient", merged_folders / "donor", chat_template="nonsense"), tmp_path / "out"
        )


def test_a_merge_without_tokenizer_says_so_and_what_verify_asks_for(
    merged_folders: Path, tmp_path: Path, turnswap: Turnswap, caplog: pytest.LogCaptureFixture
) -> None:
    configuration = recipe(merged_folders / "recipient", merged_folders / "donor")
    out = merge(configuration, tmp_path / "out", copy_tokenizer=False)
    assert "has no tokenizer, as asked: turnswap verify" in caplog.text
    problems = check(turnswap, out)
    assert (
        "tokenizer.json: missing; the recipient has it; copy it, or merge again without --no-copy-tokenizer" in problems
    )
    shutil.copytree(
        merged_folders / "recipient",
        out,
        ignore=shutil.ignore_patterns("*.safetensors", "*.bin", "c*.json", "R*"),
        dirs_exist_ok=True,
    )
    assert check(turnswap, out) == []


def test_a_recipient_with_parts_of_a_tokenizer_gives_what_it_has(
    merged_folders: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    for name in ("recipient", "donor"):
        shutil.copytree(merged_folders / name, tmp_path / name)
        for file in ("tokenizer.json", "vocab.json", "merges.txt"):
            (tmp_path / name / file).unlink()
    out = merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out")
    assert (out / "tokenizer_config.json").is_file()
    assert check(turnswap, out) == []


def test_a_folder_in_place_of_the_recipients_settings_is_refused(
    merged_folders: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    recipient = Path(shutil.copytree(merged_folders / "recipient", tmp_path / "recipient"))
    configuration = recipe(recipient, merged_folders / "donor")
    out = merge(configuration, tmp_path / "before")
    (recipient / "tokenizer_config.json").unlink()
    (recipient / "tokenizer_config.json").mkdir()
    with pytest.raises(UserError, match=r"tokenizer_config\.json is a folder"):
        merge(configuration, tmp_path / "out")
    done = turnswap("verify", out)
    assert (done.exit_code, "is a folder" in " ".join(done.stderr.split())) == (1, True)
