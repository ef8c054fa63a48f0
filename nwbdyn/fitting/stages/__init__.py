"""The stages that a fit may run after training, one file each, in the order they run."""

from nwbdyn.fitting.stage import Stage
from nwbdyn.fitting.stages.attention_maps import AttentionMaps
from nwbdyn.fitting.stages.benchmark import BenchmarkScores
from nwbdyn.fitting.stages.benchmark_submission import BenchmarkSubmission
from nwbdyn.fitting.stages.common_input_warning import CommonInputWarning
from nwbdyn.fitting.stages.coupling_ablation import CouplingAblation
from nwbdyn.fitting.stages.few_shot import FewShot
from nwbdyn.fitting.stages.folds import Folds
from nwbdyn.fitting.stages.heldout_resamples import HeldoutResamples
from nwbdyn.fitting.stages.hypothesis_tests import HypothesisTests
from nwbdyn.fitting.stages.simultaneous_coupling import SimultaneousCoupling
from nwbdyn.fitting.stages.spike_coupling import SpikeCoupling
from nwbdyn.fitting.stages.state_change_test import StateChangeTest
from nwbdyn.fitting.stages.state_gate import StateGate

STAGES: tuple[type[Stage], ...] = (
    CouplingAblation,
    FewShot,
    BenchmarkScores,
    AttentionMaps,
    CommonInputWarning,
    HypothesisTests,
    SpikeCoupling,
    SimultaneousCoupling,
    StateChangeTest,
    StateGate,
    BenchmarkSubmission,
    Folds,
    HeldoutResamples,
)
