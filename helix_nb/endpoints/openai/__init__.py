"""Servers that speak the OpenAI protocol over HTTP.

Inside, imports run endpoint > answer_reader, model_list > errors > error_body; endpoint > the rest.
"""
