"""What the chapter on groups measures of Muon: the file is the script's, the script's rules are the package's, and what is concluded from it."""

import muon_rates as script
import numpy as np

from reference_impl import AdamW, Groups, Muon, digits, measured

STORED = measured("muon_rates")
TABLES = {way: {(float(rest), float(hidden)): np.array(found) for rest, row in STORED[way].items() for hidden, found in row.items()}
          for way in script.HIDDEN}


def best(way, one_rate=False):
    """The pair with the least validation loss, in the mean over the splits."""
    return min((pair for pair in TABLES[way] if not one_rate or pair[0] == pair[1]), key=lambda pair: TABLES[way][pair][:, 1].mean())


def test_the_file_holds_what_the_script_makes():
    for way, hidden in script.HIDDEN.items():
        assert list(TABLES[way]) == [(outer, inner) for outer in script.REST for inner in hidden]
        assert all(found.shape == (script.SPLITS, 3) for found in TABLES[way].values())
        pairs = [(0.003, 0.003), (0.003, 0.01)]
        for pair, found in zip(pairs, script.train(way, pairs, script.FIRST + 1)[0]):  # elsewhere rounding may tell two runs apart
            stored = TABLES[way][pair][1]
            np.testing.assert_allclose(found[:2], stored[:2], rtol=0.1)
            assert abs(found[2] - stored[2]) <= 4


def test_the_scripts_rules_are_the_packages():
    data, rng = digits(3), np.random.default_rng(1003)
    params = {str(i): p.astype("f8") for i, p in enumerate(script.initial(rng))}
    others = AdamW(lr=0.003, weight_decay=0)
    rules = {"AdamW": AdamW(lr=0.01, weight_decay=0), "Muon": Muon(lr=0.01)}
    for way, inner in rules.items():
        ours, rule = {key: p.copy() for key, p in params.items()}, Groups({"[12]": inner, "*": others})
        order = np.random.default_rng(1003)
        script.initial(order)
        order = order.permutation(script.TRAINED_ON)
        for start in range(0, script.TRAINED_ON, script.BATCH):
            batch = order[start:start + script.BATCH]
            _, found = script.gradients([p[None] for p in ours.values()], data.inputs[batch], data.labels[batch])
            rule.update(ours, {key: g[0] for key, g in zip(ours, found)})
        _, theirs = script.train(way, [(0.003, 0.01)], 3, epochs=1)
        for p, q in zip(ours.values(), theirs):
            np.testing.assert_allclose(p, q[0], atol=2e-3)


def test_the_chosen_rates_lie_inside_their_grids():
    for way, one_rate in (("AdamW", True), ("AdamW", False), ("Muon", False)):
        rest, hidden = best(way, one_rate)
        assert rest in script.REST[1:-1] and hidden in script.HIDDEN[way][1:-1], (way, rest, hidden)


def test_a_second_rate_gains_adamw_most_of_what_muon_gains():
    together = {"one": TABLES["AdamW"][best("AdamW", one_rate=True)], "two": TABLES["AdamW"][best("AdamW")], "Muon": TABLES["Muon"][best("Muon")]}
    tables = {"one": [found for pair, found in TABLES["AdamW"].items() if pair[0] == pair[1]],
              "two": list(TABLES["AdamW"].values()), "Muon": list(TABLES["Muon"].values())}
    by_itself = {way: np.stack(of)[np.stack(of)[..., 1].argmin(0), np.arange(script.SPLITS)] for way, of in tables.items()}

    def lead(found, ours, theirs):
        gap = (found[ours] - found[theirs])[:, 2] / STORED["test digits"]
        return gap.mean(), gap.std(ddof=1) / len(gap) ** 0.5

    for found in together, by_itself:
        for way in ("Muon", "two"):
            gain, error = lead(found, way, "one")
            assert gain > 2 * error
        assert lead(found, "two", "one")[0] > lead(found, "Muon", "one")[0] / 2
    (gain, error), (rest, its_error) = lead(together, "Muon", "two"), lead(by_itself, "Muon", "two")
    assert gain > 3 * error and abs(rest) < its_error  # with one pair for all splits, and with each split's own
