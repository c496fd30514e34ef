"""Ensembles: the exact decompositions, the two callbacks against their definitions and PyTorch, and runs that are resumed."""

import itertools
from types import SimpleNamespace

import ensemble_grids as script
import numpy as np
import pytest

from reference_impl import (
    SGD,
    Affine,
    BatchNorm,
    Checkpoint,
    Conv2D,
    Dropout,
    Flatten,
    Momentum,
    ReLU,
    Sequential,
    accuracy,
    constant,
    cyclic,
    digits,
    ema,
    fit,
    measured,
    polyak_average,
    softmax,
)
from reference_impl.generalization.ensembles import (
    Snapshots,
    WeightAverage,
    ambiguity,
    average,
    correlated_variance,
    recompute_statistics,
)

DATA = digits(0)
X, Y = DATA.inputs[:60], DATA.labels[:60]


def network(seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return Sequential(Affine(64, 8, rng=rng, dtype=dtype), ReLU(), Affine(8, 10, rng=rng, dtype=dtype))


def run(*callbacks, epochs=4, optimizer=None, model=None, checkpoint=None):
    model = model or network()
    fit(model, X, Y, optimizer or Momentum(lr=0.1), epochs=epochs, batch_size=20, rng=np.random.default_rng(1),
        callbacks=[*callbacks, *([checkpoint] if checkpoint else [])])
    return model


def follow(callback, path):
    """Show `callback` the weights of `path` (steps, n), one after the other; a model whose weights are the last."""
    model = Sequential(Affine(1, path.shape[1], rng=np.random.default_rng(0), bias=False, dtype=path.dtype))
    callback.before_fit(SimpleNamespace(model=model, step=0))
    for step, w in enumerate(path, start=1):
        model.params["0.W"][0] = w
        callback.after_step(SimpleNamespace(model=model, step=step))
    return model


def averages(callback, path):
    """The callback's average after each step of a path."""
    return np.array([follow(callback, path[:count]) and callback.weights["0.W"][0].copy() for count in range(1, len(path) + 1)])


# The squared error


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("shape", [(1,), (7, 3), (2, 5, 4), ()])
def test_the_ensembles_error_is_the_members_less_the_ambiguity(seed, shape):
    rng = np.random.default_rng(seed)
    predictions, targets = rng.normal(size=(6, *shape)) * 10 ** rng.uniform(-3, 3), rng.normal(size=shape)
    for weights in (None, rng.random(6), np.eye(6)[2], [1, 0, 2, 0, 0, 5]):
        found = ambiguity(predictions, np.asarray(targets), weights)
        assert found.ensemble == pytest.approx(found.members - found.ambiguity, rel=1e-12, abs=1e-12 * found.members)
        assert 0 <= found.ambiguity <= found.members * (1 + 1e-12)


def test_the_three_terms_are_what_they_say():
    predictions, targets = np.random.default_rng(0).normal(size=(5, 40, 3)), np.random.default_rng(1).normal(size=(40, 3))
    found, mean = ambiguity(predictions, targets), predictions.mean(axis=0)
    assert found.ensemble == pytest.approx(((mean - targets) ** 2).mean(), rel=1e-13)
    assert found.members == pytest.approx(((predictions - targets) ** 2).mean(), rel=1e-13)
    assert found.ambiguity == pytest.approx(predictions.var(axis=0).mean(), rel=1e-13)


def test_the_ambiguity_needs_no_targets():
    predictions = np.random.default_rng(0).normal(size=(5, 40))
    assert ambiguity(predictions, np.zeros(40)).ambiguity == ambiguity(predictions, np.full(40, 1e6)).ambiguity


def test_weights_count_by_their_ratio_and_a_weight_is_so_many_copies():
    predictions, targets = np.random.default_rng(0).normal(size=(3, 20)), np.zeros(20)
    weighted = ambiguity(predictions, targets, [1, 2, 1])
    assert weighted == ambiguity(predictions, targets, [0.25, 0.5, 0.25])
    np.testing.assert_allclose(weighted, ambiguity(predictions[[0, 1, 1, 2]], targets), rtol=1e-13)


def test_equal_members_have_no_ambiguity():
    one = np.random.default_rng(0).normal(size=20)
    found = ambiguity(np.stack([one] * 4), np.zeros(20))
    assert found.ambiguity == 0 and found.ensemble == found.members == pytest.approx((one**2).mean(), rel=1e-14)


def test_a_nan_is_seen():
    assert np.isnan(ambiguity(np.array([[np.nan], [1.0]]), np.zeros(1))).all()


# Averages of probabilities


def test_an_ensemble_of_one_model_is_that_model_bit_for_bit():
    model = network()
    probabilities = softmax(model.forward(X))
    for copies in (1, 2, 4):  # sums of powers of two do not round
        np.testing.assert_array_equal(average([model] * copies, X), probabilities)


def test_the_average_is_a_distribution_and_its_order_is_no_matter():
    models = [network(seed) for seed in range(5)]
    mean = average(models, X)
    np.testing.assert_allclose(mean.sum(axis=1), 1, rtol=1e-12)
    np.testing.assert_allclose(average(models[::-1], X), mean, rtol=1e-13)


def test_the_log_of_the_mean_is_never_worse_than_the_mean_of_the_logs():
    models, rows = [network(seed) for seed in range(7)], np.arange(len(X))
    members = np.mean([-np.log(softmax(m.forward(X)))[rows, Y] for m in models], axis=0)
    ensemble = -np.log(average(models, X))[rows, Y]
    assert (ensemble <= members).all() and ensemble.mean() < members.mean() - 0.01


def test_the_average_keeps_single_precision():
    models = [network(seed, np.float32) for seed in range(3)]
    assert average(models, X.astype(np.float32)).dtype == np.float32


# Variance


@pytest.mark.parametrize("rho", [-0.2, 0.0, 0.3, 1.0])
@pytest.mark.parametrize("members", [1, 2, 6])
def test_the_variance_of_the_mean_is_the_quadratic_form_of_the_covariance(rho, members):
    covariance = 2.5 * (rho * np.ones((members, members)) + (1 - rho) * np.eye(members))
    share = np.full(members, 1 / members)
    assert correlated_variance(2.5, rho, members) == pytest.approx(share @ covariance @ share, rel=1e-12, abs=1e-15)


def test_the_correlation_is_the_floor():
    variances = correlated_variance(4.0, 0.3, np.arange(1, 2000))
    assert (np.diff(variances) < 0).all() and variances[0] == 4.0
    assert variances[-1] == pytest.approx(4.0 * 0.3, rel=1e-2) and variances[-1] > 4.0 * 0.3


def test_the_most_negative_correlation_leaves_nothing():
    assert correlated_variance(4.0, -0.25, 5) == pytest.approx(0, abs=1e-12)


def test_numbers_with_a_part_in_common_obey_it():
    """The part in common, as of networks with the same data, has nine tenths of the variance: the correlation."""
    rng = np.random.default_rng(0)
    shared, own = rng.normal(size=(40_000, 1)) * 3, rng.normal(size=(40_000, 8))
    said = shared + own
    for count in (1, 2, 8):
        assert said[:, :count].mean(axis=1).var() == pytest.approx(correlated_variance(10.0, 0.9, count), rel=0.03)


# What the chapter says of its runs


@pytest.fixture(scope="module")
def chapter():
    return script.chapter()


@pytest.fixture(scope="module")
def gaps(chapter):
    """By digits and rate: five members and their team, on training and on test digits, for ten training sets."""
    data, found = chapter["data"], {}
    for n, lr in ((100, 0.1), (50, 0.02)):
        rows = []
        for k in range(10):
            x, y = data.inputs[100 * k:100 * k + n], data.labels[100 * k:100 * k + n]
            models = [chapter["member"](x, y, [k, m], lr=lr) for m in range(5)]
            for inputs, labels in ((x, y), (data.test_inputs, data.test_labels)):
                said = np.array([softmax(m.forward(inputs)) for m in models])
                alone = np.mean([accuracy(p, labels) for p in said])
                rows.append([alone, accuracy(said.mean(axis=0), labels), *ambiguity(said, np.eye(10)[labels])])
        found[n, lr] = np.array(rows).reshape(10, 2, 5).transpose(2, 1, 0)
    return found


def standard_error(paired):
    return paired.std(ddof=1) / np.sqrt(len(paired))


def test_the_gap_shrinks_by_the_ambiguity_on_new_digits_less_that_on_training_digits(gaps):
    for _, _, ensemble, members, spread in gaps.values():
        np.testing.assert_allclose(ensemble[1] - ensemble[0], members[1] - members[0] - (spread[1] - spread[0]), rtol=1e-9)


def test_an_ensemble_narrows_the_gap_of_networks_that_know_their_digits_and_widens_that_of_networks_that_do_not(gaps):
    for (n, _), sign in zip(gaps, (1, -1)):
        one, together, *_, spread = gaps[n, 0.1 if n == 100 else 0.02]
        narrowed = (one[0] - one[1]) - (together[0] - together[1])
        assert sign * narrowed.mean() > 3 * standard_error(narrowed)
        assert sign * (spread[1] - spread[0]).mean() > 0 and (together[1] > one[1]).mean() > 0.8


def test_the_floor_of_the_variance_is_no_floor_of_the_gap(gaps):
    """The variance over seeds that five members average away is a far larger part of the variance than of the gap."""
    _, _, ensemble, members, _ = gaps[100, 0.1]
    kept = ((ensemble[1] - ensemble[0]) / (members[1] - members[0])).mean()
    assert 0.85 < kept < 0.95 and correlated_variance(1, 0.64, 5) < 0.75


def test_ten_are_right_more_often_than_nearly_all_of_their_members(chapter):
    """Counted in whole digits: a member with as many right is not beaten."""
    data, beaten = chapter["data"], 0
    for k in range(10):
        x, y = data.inputs[100 * k:100 * k + 100], data.labels[100 * k:100 * k + 100]
        said = np.array([softmax(chapter["member"](x, y, [k, m]).forward(data.test_inputs)) for m in range(10)])
        alone, together = ((p.argmax(axis=-1) == data.test_labels).sum(axis=-1) for p in (said, said.mean(axis=0)))
        beaten += (together > alone).sum()
    assert 90 <= beaten <= 97


def test_one_wide_network_matches_five_in_accuracy_and_either_may_lead_by_squared_error(chapter):
    data, eye = chapter["data"], np.eye(10)[chapter["data"].test_labels]
    for n, lr, sign in ((100, 0.1, 1), (50, 0.4, -1)):
        right, errors = [], []
        for k in range(10):
            x, y = data.inputs[100 * k:100 * k + n], data.labels[100 * k:100 * k + n]
            five = np.mean([softmax(chapter["member"](x, y, [k, m], lr=lr).forward(data.test_inputs)) for m in range(5)], axis=0)
            wide = softmax(chapter["member"](x, y, [k, 10], 150, lr).forward(data.test_inputs))
            right.append(accuracy(five, data.test_labels) - accuracy(wide, data.test_labels))
            errors.append(((five - eye) ** 2).mean() - ((wide - eye) ** 2).mean())
        right, errors = np.array(right), np.array(errors)
        assert abs(right.mean()) < 2 * standard_error(right)
        assert sign * errors.mean() > 2 * standard_error(errors)


def test_raw_pixels_kill_hidden_units_and_centred_ones_do_not(chapter):
    data, mean = chapter["data"], DATA.inputs.mean(axis=0)
    for k in range(5):
        x, y = data.inputs[100 * k:100 * k + 100], data.labels[100 * k:100 * k + 100]
        dead = [(chapter["member"](z, y, [k, 0]).layers[0].forward(z) <= 0).all(axis=0).sum() for z in (x, x + mean)]
        assert dead[0] <= 1 and dead[1] >= 3


def test_a_varied_team_beats_copies_of_a_setting_picked_blindly_by_the_variance_between_settings():
    """Over all picks of seeds, exactly: three settings of four seeds each, every team of three."""
    rng = np.random.default_rng(3)
    said = rng.normal(size=(3, 4, 5)) * [[[0.3]], [[1.0]], [[2.0]]] + 2 * rng.normal(size=(3, 1, 5))
    targets, picks = rng.normal(size=5), list(itertools.product(range(4), repeat=3))
    copies = np.mean([ambiguity(setting[list(pick)], targets) for setting in said for pick in picks], axis=0)
    varied = np.mean([ambiguity(said[range(3), pick], targets) for pick in picks], axis=0)
    between = said.mean(axis=1).var(axis=0).mean()
    assert varied[1] == pytest.approx(copies[1], rel=1e-12)
    assert copies[0] - varied[0] == pytest.approx(between, rel=1e-12)


def test_the_geometric_mean_wins_or_loses_by_whether_the_sure_member_is_right():
    for p, wins in (([0.99, 0.5], True), ([0.01, 0.5], False)):
        both = np.stack([p, 1 - np.array(p)])
        geometric = np.exp(np.log(both).mean(axis=1))
        assert (geometric[0] / geometric.sum() > np.mean(p)) == wins


def test_the_majority_of_many_is_right_where_the_right_class_is_the_most_frequent_answer():
    """Independent voters, more or less skilled from question to question: 0.6 on average, and no more than the easy ones right."""
    rng, skill = np.random.default_rng(0), np.repeat([0.9, 0.15], [6, 4])
    votes = rng.random((1001, 10)) < skill
    assert skill.mean() == pytest.approx(0.6) and (votes.mean(axis=0) > 0.5).tolist() == [True] * 6 + [False] * 4


STORED = measured("ensembles_grids")
PEAKS = STORED["peaks"]
RIGHT = {(float(wrong), way): np.array(runs) for wrong, ways in STORED["snapshots"].items() for way, runs in ways.items()}
LOSSES = {float(rate): np.array(runs) for rate, runs in STORED["averages"]["losses"].items()}


def lead(wrong, ours, theirs, peak=None):
    """Test digits that one way has right more than another, for each split: at one peak, or each at its validated one."""
    scores = []
    for way in (ours, theirs):
        runs = RIGHT[wrong, way]
        at = runs[..., 0].sum(axis=1).argmax() if peak is None else PEAKS.index(peak)
        scores.append(runs[at, :, 1] / 449)
    return scores[0] - scores[1]


def test_the_file_holds_what_the_script_makes(chapter):
    assert script.PEAKS == PEAKS and list(LOSSES) == script.RATES and script.WRONG == [0.0, 0.3]
    assert all(runs.shape == (len(PEAKS), script.SPLITS, 2) for runs in RIGHT.values()) and script.SPLITS >= 10
    for way, right in script.snapshots(chapter, 3, 0.3, 0.4).items():  # elsewhere a digit or two may fall to the other side
        assert np.abs(RIGHT[0.3, way][PEAKS.index(0.4), 3] - right).max() <= 6, way
    np.testing.assert_allclose(script.averages(chapter, 2, 0.3), LOSSES[0.3][2], rtol=0.1)


def test_snapshots_win_at_one_peak_with_wrong_labels_and_not_where_each_way_has_its_own():
    others = "the last of them", "constant rate, five", "one long cosine"
    for way in others:
        at_one_peak, tuned = lead(0.3, "five snapshots", way, 0.2), lead(0.3, "five snapshots", way)
        assert at_one_peak.mean() > 5 * standard_error(at_one_peak)
        assert abs(tuned.mean()) < 2 * standard_error(tuned)
    alone = lead(0.3, "one short run", "five snapshots")  # with a fifth of the steps
    assert abs(alone.mean()) < 2 * standard_error(alone)
    short = lead(0.3, "five short runs", "five snapshots")
    assert short.mean() > 3 * standard_error(short)
    last = lead(0.0, "the last of them", "five snapshots")
    assert last.mean() > 2 * standard_error(last)


def test_averaged_weights_are_worse_than_the_last_at_low_rates_and_better_at_high_ones():
    for rate, sign in ((0.01, 1), (0.03, 1), (0.1, -1), (0.3, -1)):
        changed = LOSSES[rate][:, 0, 2] - LOSSES[rate][:, 0, 0]
        assert sign * changed.mean() > 1.5 * standard_error(changed)
        assert (abs(changed.mean()) < 2 * standard_error(changed)) == (rate == 0.03)
    assert all((LOSSES[rate][:, 0, 1] - LOSSES[rate][:, 0, 0]).mean() > 0 for rate in (0.01, 0.03))
    for rate, runs in LOSSES.items():  # under a cosine: either average less the last
        changed = (runs[:, 1, 1:] - runs[:, 1, :1]).mean(axis=0)
        assert (changed > 0.003).all() if rate < 0.1 else (np.abs(changed) < 0.003).all()
    for rate, sign in ((0.01, -1), (0.03, -1), (0.1, -1), (0.3, 1)):
        against_cosine = LOSSES[rate][:, 0, 2] - LOSSES[rate][:, 1, 0]
        assert sign * against_cosine.mean() > 1.5 * standard_error(against_cosine)


def test_most_of_the_hump_between_two_runs_is_their_numbering(chapter):
    runs = [chapter["noisy_run"](seed, 0.1)[0] for seed in range(4)]
    for a, b in itertools.pairwise(runs):
        again = chapter["renumbered"](a, b)
        np.testing.assert_allclose(again.forward(X), b.forward(X), rtol=1e-9, atol=1e-9)
        ends = (chapter["test_loss"](a) + chapter["test_loss"](b)) / 2
        hump, left = (chapter["test_loss"](chapter["between"](a, end, 0.5)) - ends for end in (b, again))
        assert hump > 0.1 and left < hump / 2


# Snapshots


def test_snapshots_are_the_weights_at_the_end_of_each_cycle():
    snapshots = Snapshots(every=6)
    model = run(snapshots, optimizer=SGD(lr=cyclic(0.2, steps=6)))
    assert len(snapshots.states) == 2
    early, late = snapshots.models(model)
    np.testing.assert_array_equal(late.forward(X), model.forward(X))
    np.testing.assert_array_equal(early.forward(X), run(epochs=2, optimizer=SGD(lr=cyclic(0.2, steps=6))).forward(X))
    assert np.abs(early.forward(X) - late.forward(X)).max() > 0.1


def test_a_snapshot_is_a_copy():
    snapshots = Snapshots(every=12)
    model = run(snapshots)
    before = snapshots.states[0]["0.W"].copy()
    model.params["0.W"][:] = 0
    snapshots.models(model)[0].params["0.W"][:] = 7
    np.testing.assert_array_equal(snapshots.states[0]["0.W"], before)


def test_an_incomplete_cycle_leaves_no_snapshot_and_a_new_run_none_of_the_old():
    snapshots = Snapshots(every=5)
    run(snapshots)
    run(snapshots)
    assert len(snapshots.states) == 2
    run(snapshots, epochs=1)
    assert snapshots.states == []
    assert snapshots.models(network()) == []


def test_snapshots_more_than_ten_keep_their_order():
    snapshots, again = Snapshots(every=1), Snapshots(every=1)
    run(snapshots)
    again.load_state_dict(snapshots.state_dict())
    assert len(again.states) == 12
    for ours, theirs in zip(again.states, snapshots.states):
        np.testing.assert_array_equal(ours["0.W"], theirs["0.W"])


# Averages of weights


PATH = np.random.default_rng(5).normal(size=(40, 3))


def test_with_decay_one_it_is_polyaks_average():
    np.testing.assert_allclose(averages(WeightAverage(), PATH), polyak_average(PATH), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("decay", [0.01, 0.5, 0.9, 0.999])
def test_below_it_is_the_corrected_moving_average(decay):
    from_zero = ema(np.concatenate([np.zeros((1, 3)), PATH]), decay)[1:]
    corrected = from_zero / (1 - decay ** np.arange(1, len(PATH) + 1))[:, None]
    np.testing.assert_allclose(averages(WeightAverage(decay), PATH), corrected, rtol=1e-9, atol=1e-14)


def test_the_shares_of_all_weights_add_up_to_one_from_the_first_step_on():
    for decay in (0.3, 0.99, 1.0):
        shares = averages(WeightAverage(decay), np.eye(12))
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-12)
        np.testing.assert_allclose(shares[-1, :-1] / shares[-1, 1:], decay, rtol=1e-12)


def test_a_decay_next_to_one_is_polyaks_average_nearly():
    np.testing.assert_allclose(averages(WeightAverage(1 - 1e-9), PATH), polyak_average(PATH), rtol=0, atol=1e-6)


@pytest.mark.parametrize("decay", [1e-300, 0.3, 0.999, 1.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_average_of_constant_weights_is_constant_bit_for_bit(decay, dtype):
    path = np.repeat(np.array([[0.1, -1e-3, 3e4]], dtype), 50, axis=0)
    averaged = WeightAverage(decay)
    model = follow(averaged, path)
    np.testing.assert_array_equal(averaged.model(model).params["0.W"], path[:1])
    assert averaged.model(model).params["0.W"].dtype == dtype


def test_it_begins_at_start():
    averaged = WeightAverage(start=11)
    follow(averaged, PATH)
    assert averaged.count == 30
    np.testing.assert_allclose(averaged.weights["0.W"][0], PATH[10:].mean(axis=0), rtol=1e-12)


def test_half_precision_does_not_stand_still():
    path = np.ones((3000, 1), np.float16)
    path[0] = 0
    averaged = WeightAverage()
    follow(averaged, path)
    assert averaged.weights["0.W"].item() == pytest.approx(2999 / 3000, rel=1e-12)


def test_weights_that_move_no_more_are_their_own_average():
    averaged = WeightAverage(0.9, start=7)
    model = network()
    run(averaged, model=model, optimizer=SGD(lr=constant(1e-300)))
    np.testing.assert_array_equal(averaged.model(model).forward(X), model.forward(X))


def test_frozen_layers_and_the_model_itself_stay_as_they_are():
    model, averaged = network(), WeightAverage()
    model.layers[0].frozen = True
    run(averaged, model=model)
    last, mean = model.state_dict(), averaged.model(model)
    assert set(averaged.weights) == {"2.W", "2.b"}
    np.testing.assert_array_equal(mean.layers[0].params["W"], last["0.W"])
    assert np.abs(mean.params["2.W"] - last["2.W"]).max() > 1e-4
    mean.params["2.W"][:] = 0
    np.testing.assert_array_equal(model.params["2.W"], last["2.W"])
    assert averaged.weights["2.W"].any()


def test_a_new_run_begins_a_new_average():
    averaged = WeightAverage(0.9)
    run(averaged, epochs=2)
    run(averaged)
    fresh = WeightAverage(0.9)
    run(fresh)
    assert averaged.count == fresh.count == 12
    np.testing.assert_array_equal(averaged.weights["0.W"], fresh.weights["0.W"])


@pytest.mark.peers
def test_with_decay_one_it_is_torchs_averaged_model():
    torch = pytest.importorskip("torch")
    theirs = _torch_average(torch, None)
    np.testing.assert_allclose(averages(WeightAverage(), PATH)[-1], theirs, rtol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize("decay", [0.5, 0.95])
def test_torchs_moving_average_is_ours_with_more_of_the_first_weights(decay):
    torch = pytest.importorskip("torch")
    theirs = _torch_average(torch, torch.optim.swa_utils.get_ema_multi_avg_fn(decay))
    early = decay ** len(PATH)
    np.testing.assert_allclose((1 - early) * averages(WeightAverage(decay), PATH)[-1] + early * PATH[0], theirs, rtol=1e-9)


def _torch_average(torch, multi_avg_fn):
    layer = torch.nn.Linear(3, 1, bias=False, dtype=torch.float64)
    averaged = torch.optim.swa_utils.AveragedModel(layer, multi_avg_fn=multi_avg_fn)
    for w in PATH:
        with torch.no_grad():
            layer.weight[0] = torch.from_numpy(w)
        averaged.update_parameters(layer)
    return averaged.module.weight[0].detach().numpy()


# Runs that are resumed


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_gathers_the_same_bit_for_bit(tmp_path, stop):
    def gather():
        return Snapshots(every=4), WeightAverage(0.9), WeightAverage(start=8)

    whole, parts = gather(), gather()
    model = run(*whole)
    file = tmp_path / "run.npz"
    run(*parts, epochs=stop, checkpoint=Checkpoint(file))
    parts = gather()
    resumed = run(*parts, checkpoint=Checkpoint(file, resume=True))
    np.testing.assert_array_equal(resumed.forward(X), model.forward(X))
    for ours, theirs in zip(parts, whole):
        a, b = ours.state_dict(), theirs.state_dict()
        assert list(a) == list(b) and len(a) > 4
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_a_run_resumed_within_an_epoch_gathers_the_same(tmp_path):
    class Cut(Exception):
        pass

    class Cutter(Snapshots):
        def after_step(self, run):
            if run.step == 8:
                raise Cut
            super().after_step(run)

    Cutter.__name__ = "Snapshots"  # the checkpoint remembers what kinds of callbacks there were
    whole, averaged = Snapshots(every=2), WeightAverage(0.9)
    run(whole, averaged)
    file = tmp_path / "run.npz"
    with pytest.raises(Cut):
        run(Cutter(every=2), WeightAverage(0.9), checkpoint=Checkpoint(file, every=7))
    again, averaged_again = Snapshots(every=2), WeightAverage(0.9)
    run(again, averaged_again, checkpoint=Checkpoint(file, every=7, resume=True))
    assert len(again.states) == len(whole.states) == 6
    for ours, theirs in zip([*again.states, averaged_again.weights], [*whole.states, averaged.weights]):
        for key in theirs:
            np.testing.assert_array_equal(ours[key], theirs[key])


def test_what_a_callback_hands_out_is_a_copy():
    averaged = WeightAverage(0.9)
    run(averaged)
    saved = averaged.state_dict()
    before = saved["weights/0.W"].copy()
    other = WeightAverage(0.9)
    other.load_state_dict(saved)
    follow_on = SimpleNamespace(model=network(3), step=99)
    averaged.after_step(follow_on)
    other.after_step(follow_on)
    np.testing.assert_array_equal(saved["weights/0.W"], before)
    np.testing.assert_array_equal(other.weights["0.W"], averaged.weights["0.W"])
    assert np.abs(other.weights["0.W"] - before).max() > 0


# Refusals


@pytest.mark.parametrize(("call", "message"), [
    (lambda: ambiguity(np.zeros((3, 4)), np.zeros(3)), r"targets must have the shape of each .*, got \(3,\) for \(3, 4\)"),
    (lambda: ambiguity(np.zeros((0, 4)), np.zeros(4)), r"targets must have the shape .* for \(0, 4\)"),
    (lambda: ambiguity(np.zeros((3, 0)), np.zeros(0)), r"targets must have the shape .* for \(3, 0\)"),
    (lambda: ambiguity(np.array(1.0), np.array(1.0)), r"targets must have the shape"),
    (lambda: ambiguity(np.zeros((3, 4)), np.zeros(4), [1, 2]), r"weights must be as many as the members, \(3,\), got \(2,\)"),
    (lambda: ambiguity(np.zeros((2, 4)), np.zeros(4), [2, -1]), r"weights must be a non-empty vector of finite numbers in \[0, inf\) or None, got \[2, -1\]"),
    (lambda: ambiguity(np.zeros((2, 4)), np.zeros(4), [0, 0]), r"weights must not all be 0, got \[0. 0.\]"),
    (lambda: ambiguity(np.zeros((2, 4)), np.zeros(4), [np.nan, 1]), r"weights must be .* finite numbers"),
    (lambda: average([], X), r"models must hold one model or more, got \[\]"),
    (lambda: correlated_variance(1.0, 0.5, 0), r"members must be finite numbers in \[1, inf\), got 0"),
    (lambda: correlated_variance(-1.0, 0.5, 2), r"variance must be finite numbers in \[0, inf\), got -1.0"),
    (lambda: correlated_variance(1.0, 1.5, 2), r"correlation must be finite numbers in \[-1, 1\], got 1.5"),
    (lambda: correlated_variance(1.0, -0.6, 3), r"correlation must lie in \[-1 / \(members - 1\), 1\], got -0.6 for members 3"),
    (lambda: correlated_variance(1.0, np.nan, 3), "correlation must be finite"),
    (lambda: Snapshots(0), "every must be a whole number from 1 up, got 0"),
    (lambda: Snapshots(2.5), "every must be a whole number from 1 up, got 2.5"),
    (lambda: WeightAverage(0.0), r"decay must be a number in \(0, 1\], got 0.0"),
    (lambda: WeightAverage(1.5), r"decay must be a number in \(0, 1\], got 1.5"),
    (lambda: WeightAverage(np.nan), r"decay must be a number in \(0, 1\], got nan"),
    (lambda: WeightAverage(start=0), "start must be a whole number from 1 up, got 0"),
])
def test_what_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_no_average_before_the_first_weights():
    averaged = WeightAverage(start=100)
    model = run(averaged)
    with pytest.raises(RuntimeError, match="must have seen a step from start=100 on, got none"):
        averaged.model(model)


def test_another_models_weights_are_refused():
    snapshots, averaged = Snapshots(every=1), WeightAverage()
    run(snapshots, averaged)
    other = Sequential(Affine(64, 10, rng=np.random.default_rng(0)))
    for give in (snapshots.models, averaged.model):
        with pytest.raises(ValueError, match=r"(saved|model) must have the (keys|parameters) .*got \["):
            give(other)


# Statistics of its own


def normalised(seed=0, ddof=0, dtype=np.float64):
    made = np.random.default_rng(seed)
    return Sequential(Affine(64, 6, rng=made, dtype=dtype), BatchNorm(6, ddof=ddof, dtype=dtype), ReLU(),
                      Affine(6, 4, rng=made, dtype=dtype), BatchNorm(4, ddof=ddof, dtype=dtype))


@pytest.mark.parametrize("ddof", [0, 1])
def test_new_statistics_in_one_batch_are_those_that_the_activations_have(ddof):
    model = normalised(ddof=ddof)
    params = {key: w.copy() for key, w in model.params.items()}
    recompute_statistics(model, X, batch_size=len(X))
    x = X
    for layer in model.layers:
        if isinstance(layer, BatchNorm):
            np.testing.assert_allclose(layer.buffers["mean"], x.mean(axis=0), rtol=1e-10, atol=1e-13)
            np.testing.assert_allclose(layer.buffers["var"], x.var(axis=0, ddof=ddof), rtol=1e-10)
        x = layer.forward(x, train=True, rng=np.random.default_rng(0)) if not isinstance(layer, BatchNorm) else (
            (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + layer.eps))
    for key, w in model.params.items():
        np.testing.assert_array_equal(w, params[key])


@pytest.mark.parametrize("batch_size", [2, 7, 33])
def test_the_first_layers_statistics_do_not_depend_on_the_batches(batch_size):
    whole, parts = normalised(ddof=1), normalised(ddof=1)
    data = X[:51]
    used = data[:50] if batch_size == 2 else data  # a last one alone is left out
    recompute_statistics(whole, used, batch_size=len(used))
    recompute_statistics(parts, data, batch_size=batch_size)
    for name in ("mean", "var"):
        np.testing.assert_allclose(parts.layers[1].buffers[name], whole.layers[1].buffers[name], rtol=1e-11, atol=1e-14)


def test_images_frozen_layers_and_chance():
    made = np.random.default_rng(0)
    model = Sequential(Conv2D(1, 2, 3, rng=made), BatchNorm(2), Dropout(0.5), Flatten(), Affine(72, 3, rng=made), BatchNorm(3))
    model.layers[5].frozen = True
    images, kept = X.reshape(-1, 8, 8, 1), model.layers[5].buffers["mean"].copy()
    recompute_statistics(model, images, rng=np.random.default_rng(1))
    out = model.layers[0].forward(images)
    np.testing.assert_allclose(model.layers[1].buffers["var"], out.var(axis=(0, 1, 2)), rtol=1e-10)
    np.testing.assert_array_equal(model.layers[5].buffers["mean"], kept)
    before = model.state_dict()
    with pytest.raises(ValueError, match="rng must be"):
        recompute_statistics(model, 2 * images)
    for key, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


def test_far_from_zero_nothing_is_lost():
    model = Sequential(BatchNorm(1))
    x = 1e8 + np.random.default_rng(0).normal(size=(1000, 1))
    recompute_statistics(model, x, batch_size=64)
    np.testing.assert_allclose(model.layers[0].buffers["var"], x.var(axis=0), rtol=1e-9)


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"model": network()}, ValueError, "model must have a BatchNorm layer that is not frozen, got Sequential"),
    ({"inputs": X[:1]}, ValueError, "inputs must hold two examples or more, got one"),
    ({"inputs": X.tolist()}, TypeError, "inputs must be an array of numbers"),
    ({"batch_size": 1}, ValueError, "batch_size must be a whole number from 2 up, got 1"),
    ({"rng": 0}, TypeError, r"rng must be a numpy\.random\.Generator or None, got 0"),
    ({"model": None}, TypeError, "model must be a Sequential, got None"),
])
def test_statistics_are_refused_and_nothing_is_changed(change, error, message):
    given = {"model": normalised(), "inputs": X} | change
    before = given["model"] and given["model"].state_dict()
    with pytest.raises(error, match=message):
        recompute_statistics(**given)
    for key, array in (before or {}).items():
        np.testing.assert_array_equal(given["model"].state_dict()[key], array)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: Snapshots("2"), "every must be a whole number from 1 up, got '2'"),
    (lambda: WeightAverage(None), r"decay must be a number in \(0, 1\], got None"),
    (lambda: WeightAverage(start=None), "start must be a whole number from 1 up, got None"),
    (lambda: average(network(), X), "models must be a list of Sequentials, got Sequential"),
    (lambda: average([None], X), r"models must be a list of Sequentials, got \[None\]"),
    (lambda: ambiguity("x", X), "predictions must be an array of numbers, got 'x'"),
    (lambda: correlated_variance(None, 0.5, 2), r"variance must be finite numbers in \[0, inf\), got None"),
])
def test_what_is_of_another_kind_is_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_squares_of_half_precision_stay_in_range():
    predictions = (np.random.default_rng(0).normal(size=(5, 400)) * 3000).astype("f2")
    np.testing.assert_allclose(ambiguity(predictions, predictions[0]), ambiguity(predictions.astype(float), predictions[0].astype(float)), rtol=1e-5)
