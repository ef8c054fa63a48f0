"""Sentences on the nested questions: does coupling help to predict, does the gain change?"""

from collections.abc import Mapping
from typing import Any

_WORDS = {  # question -> supported, not supported
    "coupling": (
        "Other neurons help to predict: additive coupling (M2) improves on own dynamics (M1)",
        "Coupling is not supported",
    ),
    "gain": (
        "The gain of neurons changes with the population: M4 improves on M3",
        "A change of gain is not supported",
    ),
}


def sentences(answers: Mapping[str, Mapping[str, Any]] | None) -> list[str]:
    """One sentence per nested question; none without such tests.

    Args:
        answers: metrics["nested"].
    """
    return [] if answers is None else [_sentence(name, one) for name, one in answers.items()]


def _sentence(question: str, answer: Mapping[str, Any]) -> str:
    supported, not_supported = _WORDS[question]
    if not answer["supported"]:
        return f"{not_supported}: {answer['reason']}."
    text = (
        f"{supported} by {answer['gain']:.4f} +- {answer['error']:.4f} {answer['unit']} on test, "
        f"more than in {len(answer['rotations'])} rotated recordings."
    )
    if question != "coupling":
        return text
    return f"{text}{_beside(answer['sensitivity'])} Common input would help as much."


def _beside(sensitivity: Mapping[str, Any] | None) -> str:
    """Number of neurons that improve, and the gain beside the population."""
    if sensitivity is None:
        return ""
    words = f" It improves {sensitivity['improved']:.0%} of the neurons that it changes"
    if sensitivity["population"] is not None:
        gain = f"{sensitivity['population']:.4f}"
        words += f"; with the population mean and components as covariates {gain}"
    return f"{words}; {sensitivity['shared']:.0%} of the residuals is shared by all neurons."
