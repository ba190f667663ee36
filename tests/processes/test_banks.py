"""What two processes learn from a bank, in a folder or in memory, is what one learns from it."""

import json

import banked
import torch
from forks import fork_ranks


def test_two_processes_learn_from_a_bank_what_one_does_and_no_pass_is_another_view(tmp_path):
    (tmp_path / "two").mkdir()
    code, said = fork_ranks(tmp_path / "two", banked.answer)
    assert code == 0, said[-3000:]
    alone = [banked.student(True, tmp_path / "one"), banked.student(True, None)]
    assert alone[0] == alone[1]
    for rank in (0, 1):
        for found in json.loads((tmp_path / "two" / f"answers_{rank}.json").read_text()):
            for name, value in alone[0].items():
                torch.testing.assert_close(torch.tensor(found[name]), torch.tensor(value), rtol=1e-9, atol=1e-12)


def test_passes_that_repeat_are_not_passes_that_do_not():
    """The live teachers see new views in the third pass, the bank shows those of the first again."""
    stored, live = (banked.student(from_bank, None)["weight"] for from_bank in (True, False))
    assert not torch.allclose(torch.tensor(stored), torch.tensor(live))
