"""The log as DataFrames, sums and plots.

Inside, imports run plots > analysis > sums > frames > threads > filters; totals > filters.
"""
