"""The log as DataFrames, sums and plots.

Inside, imports run plots > analysis, figure > sums > frames > threads > filters > query; totals > filters.
"""
