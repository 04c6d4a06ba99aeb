"""Evidence against a plain formula and its promise by simulation, and ranks against plain counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import bernoulli, beta, kstest

from skpadim.evidence import (
    N_CHECK_BETS,
    N_RANK_BETS,
    Evidence,
    RankGame,
    Ranking,
    check_factors,
    rank_factors,
)

DENSITIES = [beta(1, b) for b in (1.5, 3, 8)] + [beta(b, 1) for b in (1.5, 3, 8)]


def plain_capital(factors) -> float:
    """Return what was put on each bet before each photo, times its gains since, and what waits."""
    n, n_bets = factors.shape
    waiting = [1 / (1 + math.log(1 + k)) for k in range(n + 2)]
    capital = waiting[n + 1]
    for start in range(n + 1):
        capital += (waiting[start] - waiting[start + 1]) / n_bets * factors[start:].prod(axis=0).sum()
    return capital


@pytest.mark.parametrize("n", [0, 1, 2, 57])
def test_capital_against_the_plain_sum(n):
    factors = np.random.default_rng(n).lognormal(size=(n, 4))
    evidence = Evidence(4)
    for row in factors:
        evidence.update(np.log(row))
    assert_allclose(np.exp(evidence.log_total), plain_capital(factors), rtol=1e-12)


def test_lines_side_by_side_are_lines_of_their_own():
    factors = np.random.default_rng(0).normal(size=(20, 3, 2))
    together, alone = Evidence(2, (3,)), [Evidence(2) for _ in range(3)]
    for step in factors:
        together.update(step)
        for line, row in zip(alone, step, strict=True):
            line.update(row)
    assert_allclose(together.log_total, [line.log_total for line in alone])


def test_bets_on_ranks_are_densities():
    p = np.linspace(0.001, 0.999, 7)
    expected = np.stack([density.pdf(p) for density in DENSITIES], axis=-1)
    assert_allclose(np.exp(rank_factors(p)), expected)
    for bet in range(N_RANK_BETS):
        assert_allclose(quad(lambda q, bet=bet: np.exp(rank_factors(q))[bet], 0, 1)[0], 1)
    assert np.isfinite(rank_factors([0.0, 1.0])).all()


@pytest.mark.parametrize("expected", [0.01, 0.05, 0.5])
def test_bets_on_checks_gain_nothing_while_no_more_is_unusual_than_expected(expected):
    unusual, usual = (np.exp(check_factors(value, expected)) for value in (True, False))
    for share in (0, expected / 2, expected):
        assert (share * unusual + (1 - share) * usual <= 1 + 1e-12).all()
    assert_allclose(expected * unusual + (1 - expected) * usual, 1)
    likelier = expected + (1 - expected) * np.array([0.1, 0.5, 0.9])
    assert_allclose(unusual, bernoulli(likelier).pmf(1) / bernoulli(expected).pmf(1))
    assert len(unusual) == N_CHECK_BETS


def test_evidence_rarely_reaches_a_level_in_vain():
    """Ville's bound, at any of 1,500 photos, within the error of the simulation."""
    n_runs = 2000
    rng = np.random.default_rng(0)
    evidence, largest = Evidence(N_RANK_BETS, (n_runs,)), np.zeros(n_runs)
    for _ in range(1500):
        evidence.update(rank_factors(rng.random(n_runs)))
        largest = np.maximum(largest, evidence.log_total)
    for level in (5, 20, 100):
        share = np.mean(largest >= np.log(level))
        assert 0 < share < 1 / level + 3 * math.sqrt(1 / level / n_runs)


def test_a_change_is_noticed_after_many_photos_nearly_as_soon_as_after_few():
    delays = []
    for before in (0, 20_000):
        rng, evidence = np.random.default_rng(0), Evidence(N_RANK_BETS)
        for _ in range(before):
            evidence.update(rank_factors(rng.random()))
        begun = evidence.n_photos
        while evidence.log_total < np.log(1000):
            evidence.update(rank_factors(rng.uniform(0, 0.05)))
        delays.append(evidence.n_photos - begun)
    assert delays[0] < delays[1] < 4 * delays[0]


def test_p_values_against_plain_counting():
    rng = np.random.default_rng(0)
    scores = rng.gamma(4, size=300).round(1)
    ranking, seen = Ranking(scores[:50]), list(scores[:50])
    for score, tie in zip(scores[50:], rng.random(250), strict=True):
        seen.append(score)
        n_higher, n_equal = sum(s > score for s in seen), sum(s == score for s in seen)
        assert ranking.p_value(score, tie) == pytest.approx((n_higher + tie * n_equal) / len(seen))


@pytest.mark.parametrize("digits", [0, 1, 9])
def test_p_values_of_exchangeable_scores_are_uniform_and_independent(digits):
    """However many scores are equal, of a reference as small as three."""
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(4000):
        scores = rng.gamma(2, size=8).round(digits)
        ranking = Ranking(scores[:3])
        p_values.append([ranking.p_value(score, rng.random()) for score in scores[3:]])
    for column in np.transpose(p_values):
        assert kstest(column, "uniform").pvalue > 0.001
    correlations = np.corrcoef(p_values, rowvar=False)[np.triu_indices(5, 1)]
    assert np.abs(correlations).max() < 4 / math.sqrt(4000)


def test_a_game_of_ranks_is_bets_on_p_values():
    numbers, ties = np.random.default_rng(0).gamma(4, size=(2, 60))
    game, ranking, evidence = RankGame(numbers[:20]), Ranking(numbers[:20]), Evidence(N_RANK_BETS)
    for number, tie in zip(numbers[20:] - 2, ties % 1, strict=False):
        game.update(number, tie)
        evidence.update(rank_factors(ranking.p_value(number, tie)))
    assert game.evidence.log_total == evidence.log_total
    assert game.direction == "lower"


def test_memory_of_scores_is_bounded():
    ranking = Ranking([])
    for score in np.random.default_rng(0).uniform(1, 1.001, 2000):
        ranking.p_value(score, 0.5)
    assert len(ranking.values) <= 12
    assert ranking.counts.sum() == 2000
