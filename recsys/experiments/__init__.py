"""Experiments: users in arms (assign), two rankings in one slate (interleave), both at work (live), and what came of it
(results). Pure; arms are a setting of `recsys.policy.Policy`, results are printed by `headwater experiment results`.
"""
