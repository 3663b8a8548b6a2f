"""Recorded answers instead of an endpoint's: out of the log, or of a cassette.

Inside, imports run player > cassettes, differences.
"""
