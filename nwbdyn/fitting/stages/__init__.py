"""The stages that a fit may run after training, one file each, in the order they run."""

from nwbdyn.fitting.stage import Stage
from nwbdyn.fitting.stages.attention_maps import AttentionMaps
from nwbdyn.fitting.stages.benchmark import BenchmarkScores
from nwbdyn.fitting.stages.benchmark_submission import BenchmarkSubmission
from nwbdyn.fitting.stages.cell_type_pairs import CellTypePairs
from nwbdyn.fitting.stages.common_input_warning import CommonInputWarning
from nwbdyn.fitting.stages.coupling_ablation import CouplingAblation
from nwbdyn.fitting.stages.edge_tests import EdgeRefits
from nwbdyn.fitting.stages.few_shot import FewShot
from nwbdyn.fitting.stages.folds import Folds
from nwbdyn.fitting.stages.heldout_resamples import HeldoutResamples
from nwbdyn.fitting.stages.lagged_coupling import LaggedCoupling
from nwbdyn.fitting.stages.nested_tests import NestedQuestions
from nwbdyn.fitting.stages.simultaneous_coupling import SimultaneousCoupling
from nwbdyn.fitting.stages.spike_coupling import SpikeCoupling
from nwbdyn.fitting.stages.state_change_test import StateChangeTest
from nwbdyn.fitting.stages.state_gate import StateGate
from nwbdyn.fitting.stages.static_control import StaticControl
from nwbdyn.fitting.stages.time_following import FollowTime

STAGES: tuple[type[Stage], ...] = (
    CouplingAblation,
    FewShot,
    BenchmarkScores,
    AttentionMaps,
    CommonInputWarning,
    EdgeRefits,
    LaggedCoupling,
    NestedQuestions,
    StaticControl,
    CellTypePairs,
    SpikeCoupling,
    SimultaneousCoupling,
    StateChangeTest,
    StateGate,
    FollowTime,
    BenchmarkSubmission,
    Folds,
    HeldoutResamples,
)
