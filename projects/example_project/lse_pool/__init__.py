"""A CAM head with log-sum-exp pooling."""
from lse_pool.head import LSECAMHead, log_sum_exp_pool

__all__ = ['LSECAMHead', 'log_sum_exp_pool']
