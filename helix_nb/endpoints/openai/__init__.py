"""Servers that speak the OpenAI protocol over HTTP.

Inside, imports run endpoint > model_list, answer_reader > errors, profiles > the rest.
"""
